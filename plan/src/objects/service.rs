//! The scheduler's Service: one stable name from the first moment.
//!
//! It has an address of its own (not headless): its name resolves as soon as the Service exists. A headless one has no
//! record before its pod has an address, and whoever asks too early is told "no such name" for seconds by every cache on
//! the way. Not-ready addresses are published, so that nothing waits for the kubelet to call a pod ready: until somebody
//! listens, connections are refused, and all of ours ask again.
//!
//! Its selector comes later, when the pod has an address. A Service that selects nothing yet has an empty slice of
//! addresses all the same, and that is what every node would learn in the turn in which it could learn the address
//! (kube-proxy takes one a second). Until then nobody has to look for its pods either.

use super::{Attempt, ObjectConfig, Owner, labels, metadata};
use contract::{Role, ports};
use serde_json::{Value, json};

/// Where clients and workers reach the scheduler of an attempt.
pub fn scheduler_address(config: &ObjectConfig, owner: &Owner, attempt: u32) -> String {
    crate::names::scheduler_address(
        &owner.name,
        &owner.namespace,
        &config.cluster_domain,
        attempt,
    )
}

/// Name and number of each port of the scheduler; the prefixes tell service meshes what is spoken, and the first two are
/// the names of the dask-kubernetes operator.
pub(super) const SCHEDULER_PORTS: [(&str, u16); 3] = [
    ("tcp-comm", ports::CLIENT),
    ("http-dashboard", ports::DASHBOARD),
    ("tcp-lifeline", ports::LIFELINE),
];

pub(super) fn service(attempt: Attempt<'_>) -> Value {
    let role = Some(Role::Scheduler);
    let name = crate::names::service(&attempt.owner.name, attempt.number);
    // The protocol is written although it is the default: it is half of the key by which server-side apply merges.
    let ports = SCHEDULER_PORTS.map(
        |(name, port)| json!({"name": name, "port": port, "targetPort": port, "protocol": "TCP"}),
    );
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata::of_object(attempt, &name, role),
        "spec": {
            "type": "ClusterIP",
            "publishNotReadyAddresses": true,
            "ports": ports,
        },
    })
}

/// What makes the Service, and no other of its name, lead to the scheduler's pod: a merge patch.
pub(super) fn selector(attempt: Attempt<'_>, service_uid: &str) -> Value {
    json!({
        "metadata": {
            "uid": service_uid,
            "annotations": {contract::labels::HAS_SELECTOR: "true"},
        },
        "spec": {"selector": labels::selecting(attempt, Some(Role::Scheduler))},
    })
}
