//! What pods ask for, added up as Kubernetes adds it: containers together, init containers one after the other, side cars
//! beside both. Pure.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use plan::Amount;
use std::collections::BTreeMap;

/// Amounts by the name of the resource.
pub type Amounts = BTreeMap<String, Amount>;

/// Amounts as the API server writes them. What cannot be read asks for nothing.
pub fn read(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let all = quantities.into_iter().flatten();
    all.filter_map(|(name, quantity)| Some((name.clone(), quantity.0.parse().ok()?)))
        .collect()
}

/// One more of everything.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let before = sum.entry(name.clone()).or_default();
        *before = before.plus(*amount);
    }
}

/// The same, so many times.
pub fn times(amounts: &Amounts, count: u64) -> Amounts {
    amounts
        .iter()
        .map(|(name, amount)| (name.clone(), amount.times(count)))
        .collect()
}

/// What a pod reserves. A request that is unset is the limit, as the API server has it.
pub fn requests_of(pod: &PodSpec) -> Amounts {
    of_pod(pod, |container| {
        let resources = container.resources.as_ref();
        let mut amounts = read(resources.and_then(|resources| resources.limits.as_ref()));
        amounts.extend(read(
            resources.and_then(|resources| resources.requests.as_ref()),
        ));
        amounts
    })
}

/// What a pod may take at most; of a resource that a container leaves open, the others' limits alone.
pub fn limits_of(pod: &PodSpec) -> Amounts {
    of_pod(pod, |container| {
        read(
            container
                .resources
                .as_ref()
                .and_then(|resources| resources.limits.as_ref()),
        )
    })
}

fn of_pod(pod: &PodSpec, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut beside = Amounts::new();
    let mut starting = Amounts::new();
    for container in pod.init_containers.iter().flatten() {
        let own = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut beside, &own);
            continue;
        }
        let mut at_once = beside.clone();
        add(&mut at_once, &own);
        keep_largest(&mut starting, at_once);
    }
    let mut running = beside;
    for container in &pod.containers {
        add(&mut running, &of(container));
    }
    keep_largest(&mut running, starting);
    add(&mut running, &read(pod.overhead.as_ref()));
    running
}

fn keep_largest(largest: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let before = largest.entry(name).or_default();
        *before = (*before).max(amount);
    }
}

/// `cpu 500m, memory 2Gi`; `nothing` for none.
pub fn text(amounts: &Amounts) -> String {
    let all: Vec<String> = amounts
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(name, amount)| format!("{name} {}", amount.to_quantity(name)))
        .collect();
    match all.is_empty() {
        true => "nothing".to_owned(),
        false => all.join(", "),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub fn amounts(pairs: &[(&str, &str)]) -> Amounts {
        pairs
            .iter()
            .map(|(name, amount)| ((*name).to_owned(), amount.parse().unwrap()))
            .collect()
    }

    pub fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn containers_add_up_and_a_limit_stands_for_an_unset_request() {
        let pod = spec(json!({"containers": [
            container(json!({"cpu": "500m"}), json!({"memory": "1Gi"})),
            container(json!({"cpu": 1, "memory": "1Gi"}), json!({})),
        ]}));
        assert_eq!(
            requests_of(&pod),
            amounts(&[("cpu", "1500m"), ("memory", "2Gi")])
        );
        assert_eq!(limits_of(&pod), amounts(&[("memory", "1Gi")]));
        assert_eq!(text(&requests_of(&pod)), "cpu 1500m, memory 2Gi");
    }

    #[test]
    fn init_containers_count_where_they_need_more_and_side_cars_always() {
        let pod = spec(json!({
            "initContainers": [
                container(json!({"cpu": 3}), json!({})),
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": 1}}},
                container(json!({"cpu": "2500m"}), json!({})),
            ],
            "containers": [container(json!({"cpu": 2}), json!({}))],
            "overhead": {"cpu": "250m"},
        }));
        // 3 alone, 1 + 2.5 at the start, 1 + 2 while it runs; with the overhead.
        assert_eq!(requests_of(&pod), amounts(&[("cpu", "3750m")]));
    }

    #[test]
    fn a_pod_that_asks_for_nothing_says_so() {
        assert_eq!(
            text(&requests_of(&spec(json!({"containers": [{"name": "c"}]})))),
            "nothing"
        );
    }
}
