//! The pods of a job in a line each: what they do, or what they wait for. Pure.

use crate::logs::{State, state_of};
use crate::times;
use contract::termination::TerminationMessage;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use plan::objects::labels;

/// Reasons of waiting that tell nothing.
const ORDINARY: [&str; 3] = ["ContainerCreating", "PodInitializing", "Pending"];

/// One pod as a row: name, state, age, node, and what there is to say.
pub fn row(pod: &Pod, now: u64) -> Vec<String> {
    let (state, why) = state_and_why(pod);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    vec![
        pod.metadata.name.clone().unwrap_or_default(),
        state,
        times::ago(pod.metadata.creation_timestamp.as_ref(), now),
        node.unwrap_or_else(|| "-".to_owned()),
        why.unwrap_or_default(),
    ]
}

pub const HEADINGS: [&str; 5] = ["POD", "STATE", "AGE", "NODE", "WHY"];

/// What a pod does in a word, and why where that is not ordinary.
pub fn state_and_why(pod: &Pod) -> (String, Option<String>) {
    if pod.metadata.deletion_timestamp.is_some() {
        return ("Ending".to_owned(), None);
    }
    let role = pod
        .metadata
        .labels
        .as_ref()
        .and_then(labels::read)
        .map(|identity| identity.role);
    let container = role.map_or("", contract::Role::as_str);
    match state_of(pod, container) {
        State::Running => ("Running".to_owned(), None),
        State::Ended => ended(pod, container),
        State::Waiting(why) => match (unschedulable(pod), waiting(pod)) {
            (Some(message), _) => ("Unschedulable".to_owned(), Some(message)),
            (None, Some((reason, message))) => (reason, message),
            // A fake node says of no container that it runs.
            (None, None) if why == "Running" => (why, None),
            (None, None) => ("Starting".to_owned(), None),
        },
    }
}

fn ended(pod: &Pod, container: &str) -> (String, Option<String>) {
    let status = pod.status.as_ref();
    let terminated = containers(pod)
        .find(|status| status.name == container)
        .and_then(|status| status.state.as_ref()?.terminated.as_ref());
    let of_pod = || {
        let status = status?;
        let reason = status.reason.clone()?;
        Some(match &status.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason,
        })
    };
    let Some(terminated) = terminated else {
        let phase = status
            .and_then(|status| status.phase.clone())
            .unwrap_or_default();
        return (phase, of_pod());
    };
    let own_words = terminated
        .message
        .as_deref()
        .and_then(TerminationMessage::from_json);
    let why = match own_words {
        Some(said) => Some(said.message),
        None if terminated.exit_code == 0 => None,
        None => of_pod().or_else(|| terminated.reason.clone().filter(|reason| reason != "Error")),
    };
    (format!("Ended ({})", terminated.exit_code), why)
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let placed = conditions
        .iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(
        placed
            .message
            .clone()
            .or_else(|| placed.reason.clone())
            .unwrap_or_default(),
    )
}

fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let of_init = status.and_then(|status| status.init_container_statuses.as_ref());
    let of_pod = status.and_then(|status| status.container_statuses.as_ref());
    of_init
        .into_iter()
        .flatten()
        .chain(of_pod.into_iter().flatten())
}

fn waiting(pod: &Pod) -> Option<(String, Option<String>)> {
    containers(pod)
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .find_map(|waiting| {
            let reason = waiting.reason.clone()?;
            (!ORDINARY.contains(&reason.as_str())).then(|| (reason, waiting.message.clone()))
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A worker's pod with this status.
    pub fn worker(name: &str, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "creationTimestamp": "2026-11-21T12:00:00Z",
                "labels": {
                    "daskjob.dev/role": "worker", "daskjob.dev/attempt": "1",
                    "daskjob.dev/worker-group": "default", "daskjob.dev/worker-number": "0",
                },
            },
            "spec": {"containers": [], "nodeName": "node-1"},
            "status": status,
        }))
        .unwrap()
    }

    pub fn container(name: &str, state: Value) -> Value {
        json!({"name": name, "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
    }

    fn of(status: Value) -> (String, Option<String>) {
        state_and_why(&worker("w", status))
    }

    #[test]
    fn what_a_pod_waits_for_is_told() {
        let unplaced = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
        assert_eq!(
            of(unplaced),
            ("Unschedulable".to_owned(), Some("0/3 nodes".to_owned()))
        );
        let image = json!({"phase": "Pending", "initContainerStatuses": [container("copy", json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}))]});
        assert_eq!(
            of(image),
            ("ErrImagePull".to_owned(), Some("no such image".to_owned()))
        );
        let starting = json!({"phase": "Pending", "containerStatuses": [container("worker", json!({"waiting": {"reason": "ContainerCreating"}}))]});
        assert_eq!(of(starting), ("Starting".to_owned(), None));
        assert_eq!(
            of(json!({"phase": "Running"})),
            ("Running".to_owned(), None)
        );
    }

    #[test]
    fn how_a_pod_ended_is_told_in_the_words_it_left() {
        let words = TerminationMessage {
            class: contract::status::FailureClass::OutOfMemory,
            reason: "OutOfMemory".to_owned(),
            message: "took 64 of 64 MiB".to_owned(),
            exit_code: Some(137),
            task: None,
            memory: None,
        };
        let ended = |state: Value| {
            of(
                json!({"phase": "Failed", "containerStatuses": [container("worker", json!({"terminated": state}))]}),
            )
        };
        assert_eq!(
            ended(json!({"exitCode": 137, "message": words.to_json()})),
            (
                "Ended (137)".to_owned(),
                Some("took 64 of 64 MiB".to_owned())
            )
        );
        assert_eq!(
            ended(json!({"exitCode": 1, "reason": "Error"})),
            ("Ended (1)".to_owned(), None)
        );
        assert_eq!(
            ended(json!({"exitCode": 137, "reason": "OOMKilled"})),
            ("Ended (137)".to_owned(), Some("OOMKilled".to_owned()))
        );
        assert_eq!(
            of(json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"})),
            (
                "Failed".to_owned(),
                Some("Evicted: low on memory".to_owned())
            )
        );
    }
}
