//! Why a pod ended: from what the kubelet, the node and the container itself said to a [`Failure`].

use super::observed::{Pod, PodPhase, Terminated};
use contract::Role;
use contract::status::{Failure, FailureClass, log_tail, reason};
use contract::termination::TerminationMessage;
use std::borrow::Cow;

/// SIGKILL, as an exit code.
const KILLED: i32 = 137;

/// The failure a pod that ended badly stands for.
pub fn failure_of(pod: &Pod) -> Failure {
    let (class, reason, message) = cause(pod);
    let terminated = pod.terminated();
    Failure {
        role: pod.role,
        pod: Some(pod.name.clone()),
        class,
        reason: reason.into_owned(),
        message,
        exit_code: terminated.map(|terminated| terminated.exit_code),
        log: terminated.and_then(log_of),
        memory: (class == FailureClass::OutOfMemory)
            .then(|| own_words(terminated?)?.memory)
            .flatten(),
    }
}

/// The failure of a pod that is no longer there.
pub fn failure_of_missing(role: Role, name: &str) -> Failure {
    let class = match role {
        Role::Scheduler => FailureClass::SchedulerLost,
        Role::Worker | Role::Runner => FailureClass::Evicted,
    };
    Failure {
        role,
        pod: Some(name.to_owned()),
        class,
        reason: reason::POD_DELETED.to_owned(),
        message: format!("the pod {name} was deleted while the job needed it"),
        exit_code: None,
        log: None,
        memory: None,
    }
}

fn cause(pod: &Pod) -> (FailureClass, Cow<'static, str>, String) {
    match outside_cause(pod) {
        Some((class, reason, message)) if pod.role != Role::Scheduler => {
            (class, reason.into(), message)
        }
        Some((_, reason, message)) => (FailureClass::SchedulerLost, reason.into(), message),
        None => match pod.terminated() {
            Some(terminated) => own_cause(pod, terminated),
            None => unknown_cause(pod),
        },
    }
}

/// What happened to the pod, as opposed to in it.
fn outside_cause(pod: &Pod) -> Option<(FailureClass, &'static str, String)> {
    let said = pod.message.as_deref().unwrap_or_default();
    let on_node = pod
        .node
        .as_deref()
        .map_or_else(String::new, |node| format!(" on node {node}"));
    let sentence = |what: &str| match said {
        "" => format!("{} {what}{on_node}", pod.name),
        said => format!("{} {what}{on_node}: {said}", pod.name),
    };
    match (pod.disruption.as_deref(), pod.reason.as_deref()) {
        (Some("PreemptionByScheduler"), _) | (_, Some("Preempting" | "Preempted")) => Some((
            FailureClass::Evicted,
            reason::PREEMPTED,
            sentence("was pre-empted"),
        )),
        (Some("DeletionByPodGC" | "DeletionByTaintManager"), _)
        | (_, Some("NodeLost" | "NodeShutdown" | "Shutdown" | "NodeAffinity")) => Some((
            FailureClass::NodeLost,
            reason::NODE_LOST,
            sentence("lost its node"),
        )),
        (_, Some("DeadlineExceeded")) => Some((
            FailureClass::Deadline,
            reason::ACTIVE_DEADLINE_EXCEEDED,
            // Written when the pod was made: a deadline that was raised since holds for the next attempt.
            sentence("passed the deadline its pod was made with"),
        )),
        // The kubelet ends pods when its node shuts down.
        (Some("TerminationByKubelet"), reason) if reason != Some("Evicted") => Some((
            FailureClass::NodeLost,
            reason::NODE_LOST,
            sentence("was ended with its node"),
        )),
        (_, Some("Evicted")) | (Some(_), _) => Some((
            FailureClass::Evicted,
            reason::EVICTED,
            sentence("was evicted"),
        )),
        (None, _) if pod.deleting => Some((
            FailureClass::Evicted,
            reason::POD_DELETED,
            format!("the pod {} was deleted while the job needed it", pod.name),
        )),
        (None, _) => None,
    }
}

/// What the container did.
fn own_cause(pod: &Pod, terminated: &Terminated) -> (FailureClass, Cow<'static, str>, String) {
    let what = match pod.role {
        Role::Scheduler => "the scheduler",
        Role::Worker => "a worker",
        Role::Runner => "the job's program",
    };
    let (class, reason, message) = if terminated.reason.as_deref() == Some("OOMKilled") {
        let said = own_words(terminated).filter(|said| said.class == FailureClass::OutOfMemory);
        let sentence = || {
            format!(
                "{what} ({}) used more memory than its limit and was killed",
                pod.name
            )
        };
        (
            FailureClass::OutOfMemory,
            reason::OUT_OF_MEMORY,
            said.map_or_else(sentence, |said| {
                with_task(said.message, said.task.as_deref())
            }),
        )
    } else if let Some(said) = own_words(terminated) {
        let message = with_task(said.message, said.task.as_deref());
        return (
            class_for(pod.role, said.class),
            said_reason(said.class, said.reason),
            message,
        );
    } else if let Some(signal) = signal_of(terminated) {
        (
            FailureClass::Application,
            reason::KILLED_BY_SIGNAL,
            format!("{what} ({}) was ended by signal {signal}", pod.name),
        )
    } else if terminated.reason.as_deref() == Some("ContainerCannotRun")
        || terminated.reason.as_deref() == Some("StartError")
    {
        let said = terminated.message.as_deref().unwrap_or("no reason given");
        (
            FailureClass::Image,
            reason::START_FAILED,
            format!("the container of {} could not be started: {said}", pod.name),
        )
    } else {
        (
            FailureClass::Application,
            reason::NON_ZERO_EXIT,
            format!(
                "{what} ({}) ended with code {}",
                pod.name, terminated.exit_code
            ),
        )
    };
    (class_for(pod.role, class), reason.into(), message)
}

fn with_task(message: String, task: Option<&str>) -> String {
    match task {
        Some(task) => format!("{message}, while it ran {task}"),
        None => message,
    }
}

/// A scheduler is needed by all: whatever ended it, what counts is that it is gone, unless it ran out of its memory.
fn class_for(role: Role, class: FailureClass) -> FailureClass {
    match (role, class) {
        (Role::Scheduler, FailureClass::OutOfMemory) => FailureClass::OutOfMemory,
        (Role::Scheduler, _) => FailureClass::SchedulerLost,
        (Role::Worker | Role::Runner, class) => class,
    }
}

fn unknown_cause(pod: &Pod) -> (FailureClass, Cow<'static, str>, String) {
    let class = match pod.phase {
        PodPhase::Unknown => FailureClass::NodeLost,
        PodPhase::Pending | PodPhase::Running | PodPhase::Succeeded | PodPhase::Failed => {
            FailureClass::Evicted
        }
    };
    let said = pod.message.as_deref().or(pod.reason.as_deref());
    let message = format!("{} ended: {}", pod.name, said.unwrap_or("no reason given"));
    (
        class_for(pod.role, class),
        reason::NODE_LOST.into(),
        message,
    )
}

/// What our own programs leave behind.
pub fn own_words(terminated: &Terminated) -> Option<TerminationMessage> {
    TerminationMessage::from_json(terminated.message.as_deref()?)
}

/// The kernel's killer takes an executor, not the first process: our worker says so in its own words.
pub fn ran_out_of_memory(pod: &Pod) -> bool {
    pod.terminated().is_some_and(|terminated| {
        terminated.reason.as_deref() == Some("OOMKilled")
            || own_words(terminated).is_some_and(|said| said.class == FailureClass::OutOfMemory)
    })
}

fn signal_of(terminated: &Terminated) -> Option<i32> {
    let by_code = (129..=KILLED + 27).contains(&terminated.exit_code);
    terminated
        .signal
        .filter(|signal| *signal > 0)
        .or(by_code.then(|| terminated.exit_code - 128))
}

/// The last lines of the log, unless the message is our own.
fn log_of(terminated: &Terminated) -> Option<String> {
    let message = terminated.message.as_deref()?;
    (own_words(terminated).is_none() && !message.trim().is_empty()).then(|| log_tail(message))
}

/// The longest reason that is taken from a container.
const REASON_MAXIMUM_BYTES: usize = 64;

/// The container's own word, which may be one of a later release than ours. What the API server would not take as a
/// reason is no word of our programs: the class says as much.
fn said_reason(class: FailureClass, said: String) -> Cow<'static, str> {
    let is_word = said.starts_with(|first: char| first.is_ascii_uppercase())
        && said.len() <= REASON_MAXIMUM_BYTES
        && said.chars().all(|letter| letter.is_ascii_alphanumeric());
    if is_word {
        return Cow::Owned(said);
    }
    Cow::Borrowed(match class {
        FailureClass::Application => reason::NON_ZERO_EXIT,
        FailureClass::OutOfMemory => reason::OUT_OF_MEMORY,
        FailureClass::Evicted => reason::EVICTED,
        FailureClass::NodeLost => reason::NODE_LOST,
        FailureClass::SchedulerLost => reason::SCHEDULER_LOST,
        FailureClass::WorkersLost => reason::WORKERS_LOST,
        FailureClass::Image => reason::START_FAILED,
        FailureClass::Quota => reason::QUOTA_EXCEEDED,
        FailureClass::Deadline => reason::ACTIVE_DEADLINE_EXCEEDED,
        FailureClass::Cancelled => reason::CANCELLED,
        FailureClass::Invalid => reason::INVALID,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_later_release_is_kept_and_what_is_no_word_is_told_by_its_class() {
        let said = |class, text: &str| said_reason(class, text.to_owned()).into_owned();
        assert_eq!(said(FailureClass::Application, "DiskFull"), "DiskFull");
        for text in ["", "no such word", "lower", "Ünder", &"A".repeat(65)] {
            assert_eq!(said(FailureClass::OutOfMemory, text), reason::OUT_OF_MEMORY);
            assert_eq!(said(FailureClass::Application, text), reason::NON_ZERO_EXIT);
        }
    }
}
