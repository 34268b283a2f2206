//! What limit ranges make of pods: defaults, and bounds they refuse. Used where the API server may not be asked by a dry
//! run, which tells the same. Pure.

use super::demand::{self, Amounts};
use super::finding::Finding;
use super::planned::Planned;
use k8s_openapi::api::core::v1::{Container, LimitRange, LimitRangeItem, PodSpec};

/// What no pod of the job gets past.
pub fn findings(ranges: &[LimitRange], planned: &[Planned]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for range in ranges {
        let name = range.metadata.name.as_deref().unwrap_or_default();
        for item in range.spec.iter().flat_map(|spec| &spec.limits) {
            for each in planned {
                let Some(spec) = each.pod_spec() else {
                    continue;
                };
                let broken = broken(item, &spec);
                if !broken.is_empty() {
                    findings.push(Finding::blocks(
                        each.title(),
                        format!("limit range {name}: {}", broken.join(", ")),
                        format!("change {}.requests or limits", each.field()),
                    ));
                }
            }
        }
    }
    findings
}

fn broken(item: &LimitRangeItem, spec: &PodSpec) -> Vec<String> {
    let mut broken = match item.type_.as_str() {
        "Pod" => outside(item, &demand::requests_of(spec), &demand::limits_of(spec)),
        "Container" => {
            let all = spec
                .init_containers
                .iter()
                .flatten()
                .chain(&spec.containers);
            all.flat_map(|container| {
                let (requests, limits) = with_defaults(item, container);
                outside(item, &requests, &limits)
            })
            .collect()
        }
        _ => Vec::new(),
    };
    broken.dedup();
    broken
}

/// A container's amounts once the range's defaults are filled in.
fn with_defaults(item: &LimitRangeItem, container: &Container) -> (Amounts, Amounts) {
    let resources = container.resources.as_ref();
    let mut limits = demand::read(item.default.as_ref());
    limits.extend(demand::read(
        resources.and_then(|resources| resources.limits.as_ref()),
    ));
    let own_limits = demand::read(resources.and_then(|resources| resources.limits.as_ref()));
    let mut requests = demand::read(item.default_request.as_ref());
    requests.extend(own_limits);
    requests.extend(demand::read(
        resources.and_then(|resources| resources.requests.as_ref()),
    ));
    (requests, limits)
}

fn outside(item: &LimitRangeItem, requests: &Amounts, limits: &Amounts) -> Vec<String> {
    let mut broken = Vec::new();
    for (resource, most) in demand::read(item.max.as_ref()) {
        match limits.get(&resource) {
            None => broken.push(format!(
                "{resource} needs a limit, at most {}",
                most.to_quantity(&resource)
            )),
            Some(limit) if *limit > most => broken.push(format!(
                "the limit of {resource} is {}, at most {} is allowed",
                limit.to_quantity(&resource),
                most.to_quantity(&resource)
            )),
            Some(_) => {}
        }
    }
    for (resource, least) in demand::read(item.min.as_ref()) {
        match requests.get(&resource) {
            Some(request) if *request >= least => {}
            Some(request) => broken.push(format!(
                "the request of {resource} is {}, at least {} is needed",
                request.to_quantity(&resource),
                least.to_quantity(&resource)
            )),
            None => broken.push(format!(
                "{resource} needs a request, at least {}",
                least.to_quantity(&resource)
            )),
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::planned::tests::planned;
    use super::*;
    use serde_json::{Value, json};

    fn said(item: Value, spec: Value) -> Vec<String> {
        let range = serde_json::from_value(
            json!({"metadata": {"name": "bounds"}, "spec": {"limits": [item]}}),
        )
        .unwrap();
        let mut spec = spec;
        spec["job"] = json!({"command": ["x"]});
        findings(&[range], &planned(spec))
            .iter()
            .map(Finding::text)
            .collect()
    }

    #[test]
    fn bounds_are_kept_or_told_and_defaults_count() {
        let most =
            |default: Value| json!({"type": "Container", "max": {"cpu": "2"}, "default": default});
        assert!(said(most(json!({"cpu": "1"})), json!({})).is_empty());
        let unset = said(most(json!({})), json!({}));
        assert_eq!(unset.len(), 3, "{unset:?}");
        assert!(unset[0].contains("limit range bounds: cpu needs a limit, at most 2"));
        let large = said(
            most(json!({})),
            json!({"limits": {"cpu": "1"}, "workers": {"limits": {"cpu": "4"}}}),
        );
        assert_eq!(large.len(), 1);
        assert!(
            large[0].contains(
                "worker: limit range bounds: the limit of cpu is 4, at most 2 is allowed"
            ),
            "{large:?}"
        );
        assert!(large[0].contains("change spec.workers.requests or limits"));
    }

    #[test]
    fn a_pod_as_a_whole_may_be_too_small() {
        let least = json!({"type": "Pod", "min": {"memory": "1Gi"}});
        let small = said(least.clone(), json!({"requests": {"memory": "512Mi"}}));
        assert!(
            small[0].contains("the request of memory is 512Mi, at least 1Gi is needed"),
            "{small:?}"
        );
        assert!(said(least, json!({"requests": {"memory": "1Gi"}})).is_empty());
    }
}
