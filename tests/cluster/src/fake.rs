//! Pods for the fake nodes.

use serde_json::{Value, json};

/// The part of a pod's spec that brings it to a fake node, where it runs at once and costs nothing: for a pod, or for
/// `spec.template.spec` of a job. It ends where its annotation `daskjob.dev/test-exit-code` says so, after
/// `daskjob.dev/test-exit-after`.
pub fn on_fake_nodes() -> Value {
    json!({
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    })
}
