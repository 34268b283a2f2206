//! Which nodes would take the pods of a job: by selector, affinity, taints and room. Pure.
//!
//! Knows what most schedulers look at and no more: affinity between pods, topology and volumes may rule out further nodes.

use super::demand::{self, Amounts};
use super::finding::Finding;
use super::planned::Planned;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use plan::Amount;
use std::collections::BTreeMap;

/// The resource that counts pods.
const PODS: &str = "pods";

/// A node and what is left of it.
#[derive(Debug, Clone)]
pub struct Room {
    node: Node,
    allocatable: Amounts,
    free: Amounts,
}

/// Nodes with what their pods leave. Without pods, all of a node counts as free.
pub fn rooms(nodes: Vec<Node>, pods: &[Pod]) -> Vec<Room> {
    let mut taken: BTreeMap<&str, Amounts> = BTreeMap::new();
    for pod in pods {
        let Some(spec) = &pod.spec else { continue };
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        if let Some(node) = &spec.node_name
            && !matches!(phase, Some("Succeeded" | "Failed"))
        {
            demand::add(taken.entry(node).or_default(), &of_one(spec));
        }
    }
    nodes
        .into_iter()
        .map(|node| {
            let status = node.status.as_ref();
            let allocatable = demand::read(status.and_then(|status| status.allocatable.as_ref()));
            let mut free = allocatable.clone();
            if let Some(taken) = taken.get(node.metadata.name.as_deref().unwrap_or_default()) {
                take(&mut free, taken);
            }
            Room {
                node,
                allocatable,
                free,
            }
        })
        .collect()
}

fn of_one(spec: &PodSpec) -> Amounts {
    let mut amounts = demand::requests_of(spec);
    amounts.insert(PODS.to_owned(), Amount::from_whole(1));
    amounts
}

fn take(free: &mut Amounts, amounts: &Amounts) {
    for (name, amount) in amounts {
        if let Some(left) = free.get_mut(name) {
            *left = left.minus(*amount);
        }
    }
}

fn holds(room: &Amounts, amounts: &Amounts) -> bool {
    amounts
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .all(|(name, amount)| room.get(name).is_some_and(|left| left >= amount))
}

/// Why a node does not take a pod, whatever room it has.
pub fn excluded(node: &Node, pod: &PodSpec) -> Option<String> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selector = pod.node_selector.iter().flatten();
    if let Some((key, value)) = selector
        .into_iter()
        .find(|(key, value)| labels.get(*key) != Some(value))
    {
        return Some(format!("no label {key}={value}"));
    }
    let required = pod
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if required.is_some_and(|required| {
        !required
            .node_selector_terms
            .iter()
            .any(|term| takes(term, &labels, name))
    }) {
        return Some("outside the node affinity".to_owned());
    }
    let spec = node.spec.as_ref();
    let taints = spec
        .and_then(|spec| spec.taints.as_ref())
        .into_iter()
        .flatten();
    let hard = taints.filter(|taint| taint.effect != "PreferNoSchedule");
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let untolerated = hard.into_iter().find(|taint| {
        !tolerations
            .iter()
            .any(|toleration| tolerates(toleration, taint))
    });
    if let Some(taint) = untolerated {
        return Some(match taint.key.as_str() {
            "node.kubernetes.io/unschedulable" => "cordoned".to_owned(),
            "node.kubernetes.io/not-ready" | "node.kubernetes.io/unreachable" => {
                "not ready".to_owned()
            }
            key => match &taint.value {
                Some(value) if !value.is_empty() => format!("taint {key}={value}"),
                Some(_) | None => format!("taint {key}"),
            },
        });
    }
    (spec.and_then(|spec| spec.unschedulable) == Some(true)).then(|| "cordoned".to_owned())
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => key.is_empty() || key == taint.key,
        _ => {
            key == taint.key
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
    }
}

fn takes(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let by_label = term.match_expressions.iter().flatten();
    let by_field = term.match_fields.iter().flatten();
    let fields = BTreeMap::from([("metadata.name".to_owned(), name.to_owned())]);
    // A term without a requirement takes no node.
    (term.match_expressions.is_some() || term.match_fields.is_some())
        && by_label
            .into_iter()
            .all(|requirement| meets(requirement, labels))
        && by_field
            .into_iter()
            .all(|requirement| meets(requirement, &fields))
}

fn meets(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let compared = number(value).zip(number(values.first()));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared.is_some_and(|(have, bound)| have > bound),
        "Lt" => compared.is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// What the nodes say to all pods of a job, placed one after the other as the operator makes them.
pub fn findings(mut rooms: Vec<Room>, planned: &[Planned], free_is_known: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for each in planned {
        let Some(spec) = each.pod_spec() else {
            continue;
        };
        let about = each.title();
        if let Some(finding) = never(&rooms, &spec, each) {
            findings.push(finding);
            continue;
        }
        let placed = place(&mut rooms, &spec, each.count);
        if placed == each.count || !free_is_known {
            continue;
        }
        let said = match each.count {
            1 => format!(
                "no node has room for it now ({})",
                demand::text(&demand::requests_of(&spec))
            ),
            count => format!(
                "{placed} of {count} find room now, at {} each; the others wait for it",
                demand::text(&demand::requests_of(&spec))
            ),
        };
        let remedy = "free room, add nodes (an autoscaler may do so by itself), or ask for less";
        findings.push(Finding::warns(about, said, remedy));
    }
    findings
}

/// No node would ever take such a pod.
fn never(rooms: &[Room], spec: &PodSpec, planned: &Planned) -> Option<Finding> {
    let about = planned.title();
    if rooms.is_empty() {
        return Some(Finding::blocks(
            about,
            "the cluster has no nodes",
            "add nodes, or wait for an autoscaler",
        ));
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for room in rooms {
        match excluded(&room.node, spec) {
            Some(why) => *reasons.entry(why).or_default() += 1,
            None => open.push(room),
        }
    }
    if open.is_empty() {
        let all: Vec<String> = reasons
            .iter()
            .map(|(why, count)| format!("{why} ({count})"))
            .collect();
        return Some(Finding::blocks(
            about,
            format!(
                "none of {} would take it: {}",
                nodes(rooms.len()),
                all.join(", ")
            ),
            format!(
                "change nodeSelector, affinity or tolerations in {}.template.spec",
                planned.field()
            ),
        ));
    }
    let asks = of_one(spec);
    if open.iter().any(|room| holds(&room.allocatable, &asks)) {
        return None;
    }
    let short: Vec<String> = asks
        .iter()
        .filter_map(|(name, amount)| {
            let largest = open
                .iter()
                .filter_map(|room| room.allocatable.get(name))
                .max()
                .copied()
                .unwrap_or_default();
            (*amount > largest).then(|| {
                format!(
                    "{name}: {} asked, {} on the largest",
                    amount.to_quantity(name),
                    largest.to_quantity(name)
                )
            })
        })
        .collect();
    let short = match short.is_empty() {
        true => "no single node has all of it".to_owned(),
        false => short.join(", "),
    };
    Some(Finding::blocks(
        about,
        format!("no node is large enough: {short}"),
        format!(
            "ask for less in {}.requests and limits, or add larger nodes",
            planned.field()
        ),
    ))
}

fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

/// Puts pods where there is room, and says how many found some.
fn place(rooms: &mut [Room], spec: &PodSpec, count: u64) -> u64 {
    let asks = of_one(spec);
    let mut placed = 0;
    for room in rooms
        .iter_mut()
        .filter(|room| excluded(&room.node, spec).is_none())
    {
        while placed < count && holds(&room.free, &asks) {
            take(&mut room.free, &asks);
            placed += 1;
        }
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::super::planned::tests::planned;
    use super::*;
    use serde_json::{Value, json};

    fn node(name: &str, cpu: &str, labels: Value, taints: Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints},
            "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
        }))
        .unwrap()
    }

    fn plain(name: &str, cpu: &str) -> Node {
        node(name, cpu, json!({}), json!([]))
    }

    fn job(template: Value) -> Vec<Planned> {
        planned(json!({
            "job": {"command": ["x"]}, "template": {"spec": template},
            "requests": {"cpu": "1", "memory": "1Gi"}, "workers": {"numberOfWorkers": 4},
        }))
    }

    fn texts(nodes: Vec<Node>, pods: &[Pod], template: Value) -> Vec<String> {
        findings(rooms(nodes, pods), &job(template), true)
            .iter()
            .map(Finding::text)
            .collect()
    }

    #[test]
    fn pods_are_counted_against_what_is_left() {
        assert!(texts(vec![plain("a", "4"), plain("b", "4")], &[], json!({})).is_empty());
        let running: Pod = serde_json::from_value(json!({
            "metadata": {}, "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": {"requests": {"cpu": "3"}}}]},
            "status": {"phase": "Running"},
        }))
        .unwrap();
        let mut over = running.clone();
        over.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
        let said = texts(
            vec![plain("a", "4"), plain("b", "4")],
            &[running, over],
            json!({}),
        );
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].starts_with("WARNS   worker: 3 of 4 find room now, at cpu 1, memory 1Gi each"),
            "{said:?}"
        );
    }

    #[test]
    fn a_pod_that_is_too_large_for_every_node_is_told_what_is_short() {
        let said = texts(vec![plain("a", "500m")], &[], json!({}));
        assert_eq!(said.len(), 3);
        assert!(
            said[0]
                .contains("scheduler: no node is large enough: cpu: 1 asked, 500m on the largest"),
            "{said:?}"
        );
        assert!(said[2].contains("spec.workers.requests"), "{said:?}");
    }

    #[test]
    fn selectors_taints_and_cordons_rule_nodes_out() {
        let why = |node: Node, template: Value| {
            let pods = job(template);
            let spec = pods.iter().find_map(Planned::pod_spec).unwrap();
            excluded(&node, &spec)
        };
        let gpu = || {
            node(
                "a",
                "4",
                json!({"pool": "gpu"}),
                json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
            )
        };
        assert_eq!(why(gpu(), json!({})).as_deref(), Some("taint gpu=yes"));
        let tolerates = json!([{"key": "gpu", "operator": "Exists"}]);
        assert_eq!(why(gpu(), json!({"tolerations": tolerates})), None);
        assert_eq!(
            why(
                gpu(),
                json!({"tolerations": tolerates, "nodeSelector": {"pool": "cpu"}})
            )
            .as_deref(),
            Some("no label pool=cpu")
        );
        let cordoned = node(
            "a",
            "4",
            json!({}),
            json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]),
        );
        assert_eq!(why(cordoned, json!({})).as_deref(), Some("cordoned"));
        let affinity = |operator: &str, values: Value| {
            json!({"tolerations": tolerates, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "pool", "operator": operator, "values": values}]}],
            }}}})
        };
        assert_eq!(why(gpu(), affinity("In", json!(["gpu", "x"]))), None);
        assert_eq!(
            why(gpu(), affinity("NotIn", json!(["gpu"]))).as_deref(),
            Some("outside the node affinity")
        );
        assert_eq!(why(gpu(), affinity("Exists", json!([]))), None);
    }

    #[test]
    fn a_job_no_node_takes_is_told_why_of_all_of_them() {
        let said = texts(
            vec![plain("a", "4"), plain("b", "4")],
            &[],
            json!({"nodeSelector": {"pool": "gpu"}}),
        );
        assert!(
            said[0].contains("none of 2 nodes would take it: no label pool=gpu (2)"),
            "{said:?}"
        );
        assert!(texts(vec![], &[], json!({}))[0].contains("the cluster has no nodes"));
    }
}
