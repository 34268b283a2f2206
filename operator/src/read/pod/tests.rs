//! One pod a line, as kubelets, schedulers and evictions leave them.

use super::*;
use contract::labels as keys;
use plan::life::Time;
use serde_json::{Value, json};

fn json_of(role: &str, status: Value) -> Value {
    let mut labels = json!({keys::JOB_UID: "job", keys::ATTEMPT: "2", keys::ROLE: role});
    if role == "worker" {
        labels[keys::WORKER_GROUP] = "gpu".into();
        labels[keys::WORKER_NUMBER] = "7".into();
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "namespace": "team", "uid": "u", "resourceVersion": "12", "labels": labels,
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            "ownerReferences": [{
                "apiVersion": "daskjob.dev/v1alpha1", "kind": "DaskJob", "name": "etl", "uid": "job", "controller": true,
            }],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": role, "image": "i"}]},
        "status": status,
    })
}

fn seen(json: Value) -> Option<Seen> {
    read_pod(serde_json::from_value(json).unwrap())
}

fn pod(role: &str, status: Value) -> Pod {
    match seen(json_of(role, status)).unwrap().child {
        Child::Pod(pod) => pod,
        Child::Object(_) => panic!("a pod is a pod"),
    }
}

#[test]
fn a_pod_says_whose_and_which_it_is() {
    let seen = seen(json_of(
        "worker",
        json!({"phase": "Pending", "podIP": "10.0.0.1"}),
    ))
    .unwrap();
    assert_eq!((&*seen.owner_uid, seen.owner_name.as_str()), ("job", "etl"));
    assert_eq!((seen.version, seen.address), (Some(12), None));
    let Child::Pod(pod) = seen.child else {
        panic!("a pod is a pod")
    };
    assert_eq!((pod.attempt, pod.role), (2, Role::Worker));
    assert_eq!(pod.worker, Some(("gpu".to_owned(), 7)));
    assert_eq!((pod.phase, pod.deleting), (PodPhase::Pending, false));
    assert_eq!(pod.node.as_deref(), Some("n1"));
}

#[test]
fn only_a_scheduler_has_an_address_to_ask() {
    let scheduler = seen(json_of("scheduler", json!({"podIP": "10.0.0.1"}))).unwrap();
    assert_eq!(scheduler.address.as_deref(), Some("10.0.0.1"));
}

#[test]
fn a_pod_of_somebody_else_is_none_of_ours() {
    let mut changed = json_of("runner", json!({}));
    changed["metadata"]["labels"][keys::ROLE] = "boss".into();
    assert_eq!(seen(changed), None);
    let mut stranger = json_of("runner", json!({}));
    stranger["metadata"]["ownerReferences"][0]["kind"] = "Job".into();
    assert_eq!(seen(stranger), None);
    let mut guest = json_of("runner", json!({}));
    guest["metadata"]["ownerReferences"][0]["controller"] = false.into();
    assert_eq!(seen(guest), None);
}

#[test]
fn a_container_that_the_kernel_killed_is_out_of_memory() {
    let pod = pod(
        "runner",
        json!({"phase": "Failed", "containerStatuses": [{"name": "runner", "state": {"terminated": {
            "exitCode": 137, "reason": "OOMKilled", "finishedAt": "1970-01-01T00:01:00Z", "message": "last line",
        }}}]}),
    );
    let end = pod.terminated().unwrap();
    assert_eq!(
        (end.exit_code, end.reason.as_deref(), end.finished),
        (137, Some("OOMKilled"), Some(Time(60)))
    );
    assert_eq!(end.message.as_deref(), Some("last line"));
    assert!(pod.is_over());
}

#[test]
fn a_side_car_that_runs_on_does_not_hold_the_role_up() {
    let pod = pod(
        "runner",
        json!({"phase": "Running", "containerStatuses": [
            {"name": "proxy", "ready": true, "state": {"running": {"startedAt": "1970-01-01T00:00:01Z"}}},
            {"name": "runner", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        ]}),
    );
    assert_eq!(pod.phase, PodPhase::Running);
    assert_eq!(pod.terminated().map(|end| end.exit_code), Some(0));
}

#[test]
fn an_image_that_cannot_be_had_is_told_also_of_an_init_container() {
    let pod = pod(
        "worker",
        json!({"phase": "Pending",
            "initContainerStatuses": [{"name": "daskjob-program", "state": {"waiting": {
                "reason": "ImagePullBackOff", "message": "no such image"}}}],
            "containerStatuses": [{"name": "worker", "state": {"waiting": {"reason": "PodInitializing"}}}],
        }),
    );
    let waiting = pod.waiting.unwrap();
    assert_eq!(waiting.reason, "ImagePullBackOff");
    assert_eq!(waiting.message.as_deref(), Some("no such image"));
    assert_eq!(pod.container, Container::Waiting);
}

#[test]
fn a_container_that_is_being_made_waits_for_nothing_special() {
    let pod = pod(
        "worker",
        json!({"phase": "Pending", "containerStatuses": [
            {"name": "worker", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
    );
    assert_eq!(pod.waiting, None);
}

#[test]
fn an_evicted_pod_says_so_without_any_container() {
    let pod = pod(
        "worker",
        json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory", "conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]}),
    );
    assert_eq!(pod.phase, PodPhase::Failed);
    assert_eq!(pod.reason.as_deref(), Some("Evicted"));
    assert_eq!(pod.message.as_deref(), Some("low on memory"));
    assert_eq!(pod.disruption.as_deref(), Some("TerminationByKubelet"));
    assert!(pod.is_over() && pod.terminated().is_none());
}

#[test]
fn a_disruption_that_passed_is_none() {
    let status =
        json!({"conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "x"}]});
    assert_eq!(pod("worker", status).disruption, None);
}

#[test]
fn a_pod_without_a_node_says_why() {
    let status = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    let unplaced = pod("worker", status);
    assert_eq!(unplaced.unschedulable.as_deref(), Some("0/3 nodes"));
    let status = json!({"conditions": [{"type": "PodScheduled", "status": "True"}]});
    assert_eq!(pod("worker", status).unschedulable, None);
}

#[test]
fn a_fake_node_says_nothing_of_containers() {
    let pod = pod(
        "runner",
        json!({"phase": "Running", "startTime": "1970-01-01T00:00:09Z", "conditions": [
            {"type": "Ready", "status": "True"}]}),
    );
    assert_eq!(pod.container, Container::Running { since: Time(9) });
    assert!(pod.ready);
}

#[test]
fn a_running_container_tells_since_when_and_whether_it_is_ready() {
    let pod = pod(
        "scheduler",
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [
            {"name": "scheduler", "ready": true, "state": {"running": {"startedAt": "1970-01-01T00:00:05Z"}}},
            {"name": "proxy", "ready": false, "state": {"running": {}}}]}),
    );
    assert_eq!(pod.container, Container::Running { since: Time(5) });
    assert!(pod.ready, "a slow side car does not count");
}

#[test]
fn a_pod_nobody_has_touched_yet_is_pending() {
    let mut bare = json_of("runner", json!({}));
    bare.as_object_mut().unwrap().remove("status");
    bare.as_object_mut().unwrap().remove("spec");
    let Child::Pod(pod) = seen(bare).unwrap().child else {
        panic!("a pod is a pod")
    };
    assert_eq!(pod.phase, PodPhase::Pending);
    assert_eq!(pod.container, Container::Waiting);
    assert!(!pod.ready && !pod.is_over());
}

#[test]
fn a_deleted_pod_is_on_its_way_out() {
    let mut going = json_of("runner", json!({"phase": "Running"}));
    going["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z".into();
    let Child::Pod(pod) = seen(going).unwrap().child else {
        panic!("a pod is a pod")
    };
    assert!(pod.deleting);
}

#[test]
fn null_lists_read_as_empty_ones() {
    let pod = pod("runner", json!({"phase": "Running", "podIP": null}));
    assert_eq!(pod.waiting, None);
}

#[test]
fn a_container_whose_init_containers_have_run_can_only_lack_its_image() {
    let status = |init: Value| {
        json!({"phase": "Pending",
            "initContainerStatuses": init,
            "containerStatuses": [{"name": "worker", "image": "example.com/etl:1", "state": {"waiting": {"reason": "PodInitializing"}}}],
        })
    };
    let creating = |init: Value| pod("worker", status(init)).creating.unwrap();
    let done = json!([{"name": "daskjob-program", "state": {"terminated": {"exitCode": 0}}}]);
    assert_eq!(creating(done.clone()).image, "example.com/etl:1");
    assert!(creating(done).only_image_is_missing);
    let runs = json!([{"name": "daskjob-program", "state": {"running": {}}}]);
    for init in [runs, json!([])] {
        assert!(!creating(init).only_image_is_missing);
    }
    let running = json!({"phase": "Running", "containerStatuses": [{"name": "worker", "image": "i", "state": {"running": {}}}]});
    assert_eq!(pod("worker", running).creating, None);
}
