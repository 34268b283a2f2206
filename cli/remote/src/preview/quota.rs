//! What resource quotas leave for a job. Each pod alone may fit where all of them do not, which a dry run does not show.
//! Pure.

use super::demand::{self, Amounts};
use super::finding::Finding;
use super::planned::Planned;
use k8s_openapi::api::core::v1::{PodSpec, ResourceQuota, ScopedResourceSelectorRequirement};
use plan::Amount;

/// What is short in a quota, if the job were submitted now.
pub fn findings(quotas: &[ResourceQuota], planned: &[Planned]) -> Vec<Finding> {
    quotas
        .iter()
        .flat_map(|quota| of_quota(quota, planned))
        .collect()
}

fn of_quota(quota: &ResourceQuota, planned: &[Planned]) -> Vec<Finding> {
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let status = quota.status.as_ref();
    let hard = status
        .and_then(|status| status.hard.as_ref())
        .or(quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()));
    let (hard, used) = (
        demand::read(hard),
        demand::read(status.and_then(|status| status.used.as_ref())),
    );
    let needs = needs(quota, planned);
    hard.iter()
        .filter_map(|(resource, most)| {
            let needed = *needs.get(resource)?;
            let left = most.minus(used.get(resource).copied().unwrap_or_default());
            (needed > left).then(|| short(name, resource, needed, left, *most))
        })
        .collect()
}

fn short(quota: &str, resource: &str, needed: Amount, left: Amount, most: Amount) -> Finding {
    let kind = ["requests.", "limits.", "count/"]
        .iter()
        .find_map(|prefix| resource.strip_prefix(prefix))
        .unwrap_or(resource);
    let about = format!("quota {quota}");
    let said = format!(
        "{resource}: the job needs {}, {} of {} are left",
        needed.to_quantity(kind),
        left.to_quantity(kind),
        most.to_quantity(kind)
    );
    match needed > most {
        true => Finding::blocks(
            about,
            said,
            format!(
                "ask for less {kind}, or have the quota raised: it is too small even when nothing else runs"
            ),
        ),
        false => Finding::blocks(
            about,
            said,
            format!("wait until others are done, or ask for less {kind}"),
        ),
    }
}

/// What the job would take of a quota, by the names quotas use.
fn needs(quota: &ResourceQuota, planned: &[Planned]) -> Amounts {
    let mut needs = Amounts::new();
    for each in planned {
        let pod = each.pod_spec();
        if pod.as_ref().is_some_and(|pod| !counts(quota, pod))
            || (pod.is_none() && is_scoped(quota))
        {
            continue;
        }
        demand::add(
            &mut needs,
            &demand::times(&of_object(each, pod.as_ref()), each.count),
        );
    }
    needs
}

fn of_object(planned: &Planned, pod: Option<&PodSpec>) -> Amounts {
    let one: Amount = Amount::from_whole(1);
    let plain = planned.resource.split('.').next().unwrap_or_default();
    let mut amounts = Amounts::from([
        (format!("count/{}", planned.resource), one),
        (plain.to_owned(), one),
    ]);
    let Some(pod) = pod else {
        return amounts;
    };
    for (resource, amount) in demand::requests_of(pod) {
        // A bare name means requests, of these.
        if ["cpu", "memory", "ephemeral-storage"].contains(&resource.as_str()) {
            amounts.insert(resource.clone(), amount);
        }
        amounts.insert(format!("requests.{resource}"), amount);
    }
    for (resource, amount) in demand::limits_of(pod) {
        amounts.insert(format!("limits.{resource}"), amount);
    }
    amounts
}

fn is_scoped(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.scopes
            .as_ref()
            .is_some_and(|scopes| !scopes.is_empty())
            || spec.scope_selector.is_some()
    })
}

/// Whether a quota is about such a pod.
fn counts(quota: &ResourceQuota, pod: &PodSpec) -> bool {
    let Some(spec) = &quota.spec else {
        return true;
    };
    let requirements = spec
        .scope_selector
        .as_ref()
        .and_then(|selector| selector.match_expressions.as_ref());
    spec.scopes.iter().flatten().all(|scope| is_in(scope, pod))
        && requirements
            .into_iter()
            .flatten()
            .all(|requirement| meets(requirement, pod))
}

fn is_in(scope: &str, pod: &PodSpec) -> bool {
    let ends = pod.active_deadline_seconds.is_some();
    let mut asked = demand::requests_of(pod);
    demand::add(&mut asked, &demand::limits_of(pod));
    let asks = ["cpu", "memory"]
        .iter()
        .any(|name| asked.get(*name).is_some_and(|amount| !amount.is_zero()));
    match scope {
        "Terminating" => ends,
        "NotTerminating" => !ends,
        "BestEffort" => !asks,
        "NotBestEffort" => asks,
        "PriorityClass" => pod.priority_class_name.is_some(),
        // One that looks at affinity, or a newer one: not about what we make.
        _ => false,
    }
}

fn meets(requirement: &ScopedResourceSelectorRequirement, pod: &PodSpec) -> bool {
    if requirement.scope_name != "PriorityClass" {
        let inside = is_in(&requirement.scope_name, pod);
        return inside == (requirement.operator != "DoesNotExist");
    }
    let class = pod.priority_class_name.as_ref();
    let named = class.is_some_and(|class| {
        requirement
            .values
            .iter()
            .flatten()
            .any(|value| value == class)
    });
    match requirement.operator.as_str() {
        "In" => named,
        "NotIn" => class.is_some() && !named,
        "Exists" => class.is_some(),
        _ => class.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::planned::tests::planned;
    use super::*;
    use serde_json::{Value, json};

    fn quota(hard: Value, used: Value, scopes: Value) -> ResourceQuota {
        serde_json::from_value(json!({
            "metadata": {"name": "small"},
            "spec": {"hard": hard, "scopes": scopes},
            "status": {"hard": hard, "used": used},
        }))
        .unwrap()
    }

    fn job() -> Vec<Planned> {
        planned(json!({
            "job": {"command": ["x"]},
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "workers": {"numberOfWorkers": 4, "limits": {"cpu": 1, "memory": "2Gi"}},
        }))
    }

    fn said(hard: Value, used: Value) -> Vec<String> {
        findings(&[quota(hard, used, json!([]))], &job())
            .into_iter()
            .map(|finding| finding.said)
            .collect()
    }

    #[test]
    fn what_all_pods_need_together_counts() {
        assert_eq!(
            said(
                json!({"requests.cpu": 5, "pods": 6, "services": 1}),
                json!({})
            ),
            Vec::<String>::new()
        );
        assert_eq!(
            said(json!({"requests.cpu": 6}), json!({"requests.cpu": "1500m"})),
            ["requests.cpu: the job needs 5, 4500m of 6 are left"]
        );
        assert_eq!(
            said(json!({"memory": "9Gi"}), json!({})),
            ["memory: the job needs 10Gi, 9Gi of 9Gi are left"]
        );
        assert_eq!(
            said(json!({"limits.memory": "8Gi", "count/pods": 5}), json!({})),
            ["count/pods: the job needs 6, 5 of 5 are left"]
        );
        assert_eq!(
            said(json!({"persistentvolumeclaims": 0}), json!({})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_quota_that_can_never_do_is_told_from_one_that_is_full() {
        let remedy = |used| {
            findings(&[quota(json!({"pods": 6}), used, json!([]))], &job())
                .pop()
                .unwrap()
                .remedy
        };
        assert!(remedy(json!({"pods": 1})).starts_with("wait until others"));
        let never = findings(&[quota(json!({"pods": 5}), json!({}), json!([]))], &job());
        assert!(
            never[0]
                .remedy
                .contains("too small even when nothing else runs")
        );
    }

    #[test]
    fn a_quota_for_other_pods_does_not_count() {
        let scoped = |scope: &str| {
            findings(
                &[quota(json!({"pods": 0}), json!({}), json!([scope]))],
                &job(),
            )
            .len()
        };
        assert_eq!(
            (
                scoped("Terminating"),
                scoped("BestEffort"),
                scoped("PriorityClass")
            ),
            (0, 0, 0)
        );
        assert_eq!((scoped("NotTerminating"), scoped("NotBestEffort")), (1, 1));
    }
}
