//! What a task's annotations mean to the core. The whole map goes to the worker as it came.

use protocol::Value;
use scheduler_core::Annotations;
use std::sync::Arc;

/// Reads merged annotations; a value of an unusable type is left to the worker, as in stock.
pub fn parse(merged: Value) -> Annotations {
    let mut parsed = Annotations::default();
    for (name, value) in merged.as_map().unwrap_or_default() {
        match name.as_str().unwrap_or_default() {
            "restrictions" | "workers" => parsed.workers = items(value),
            "loose_restrictions" | "allow_other_workers" => {
                parsed.allow_other_workers = value.is_truthy()
            }
            "resources" => parsed.resources = Some(resources(value).into()),
            "retries" => parsed.retries = retries(value),
            "priority" => parsed.priority = value.as_f64(),
            _ => {}
        }
    }
    parsed.wire = merged.detached();
    parsed
}

/// One value, or the items of a list, tuple or set.
fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items.clone(),
        Value::Nil => Vec::new(),
        one => vec![one.clone()],
    }
}

fn resources(value: &Value) -> Vec<(Arc<str>, f64)> {
    let entries = value.as_map().unwrap_or_default().iter();
    entries
        .filter_map(|(name, amount)| Some((Arc::from(name.as_str()?), amount.as_f64()?)))
        .collect()
}

fn retries(value: &Value) -> u32 {
    let count = value.as_i64().unwrap_or_default().max(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{array, map};

    #[test]
    fn annotations_the_core_uses_are_read_and_all_reach_the_worker() {
        let merged = map! {
            "workers" => array!["alice"], "allow_other_workers" => true, "retries" => 3_i64, "priority" => 2.5,
            "resources" => map! {"GPU" => 1_i64}, "mine" => "kept",
        };
        let parsed = parse(merged.clone());
        assert_eq!(parsed.workers, [Value::from("alice")]);
        assert!(parsed.allow_other_workers);
        assert_eq!((parsed.retries, parsed.priority), (3, Some(2.5)));
        assert_eq!(
            parsed.resources.as_deref(),
            Some(&[(Arc::from("GPU"), 1.0)][..])
        );
        assert_eq!(parsed.wire, merged);
    }

    #[test]
    fn a_single_worker_needs_no_list() {
        assert_eq!(
            parse(map! {"workers" => "bob"}).workers,
            [Value::from("bob")]
        );
    }
}
