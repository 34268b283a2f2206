//! What a start waits for, in one sentence: quota, permission, an image, a node.

use super::observed::{Observed, Pod, WhyRefused};
use contract::status::{FailureClass, reason};

/// Why the cluster is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub reason: &'static str,
    pub message: String,
    /// The class of failure if the wait outlasts the deadline.
    pub class: FailureClass,
}

/// The most telling of all waits of an attempt: what was refused first, then what cannot start, then what finds no node.
pub(super) fn find(seen: &Observed, attempt: u32) -> Option<Wait> {
    let pods = || {
        seen.pods
            .iter()
            .filter(|pod| pod.attempt == attempt && !pod.is_over())
    };
    refused(seen)
        .or_else(|| pods().find_map(|pod| container(pod, IMAGE)))
        .or_else(|| pods().find_map(|pod| container(pod, CONFIG)))
        .or_else(|| {
            let all: Vec<&Pod> = pods().filter(|pod| pod.unschedulable.is_some()).collect();
            unschedulable(&all)
        })
}

/// What a start that has taken too long was busy with, where nothing said that it cannot go on: the class and the words.
/// No wait of its own, for every start is so for a moment.
pub(super) fn busy_with(seen: &Observed, attempt: u32) -> Option<(FailureClass, String)> {
    let creating = || {
        let pods = seen.pods.iter();
        pods.filter(move |pod| pod.attempt == attempt && !pod.is_over())
            .filter_map(|pod| Some((pod, pod.creating.as_ref()?)))
    };
    let image = creating().find(|(_, creating)| creating.only_image_is_missing);
    let of_image = image.map(|(pod, creating)| {
        let message = format!("{} waited for its image {}", pod.name, creating.image);
        (FailureClass::Image, message)
    });
    of_image.or_else(|| {
        let (pod, creating) = creating().next()?;
        let message = format!(
            "{} waited on its node for volumes, network or its image {}",
            pod.name, creating.image
        );
        Some((FailureClass::Deadline, message))
    })
}

const IMAGE: (&[&str], &str, FailureClass) = (
    &[
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    ],
    reason::IMAGE_UNAVAILABLE,
    FailureClass::Image,
);

const CONFIG: (&[&str], &str, FailureClass) = (
    &[
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PreCreateHookError",
        "PostStartHookError",
    ],
    reason::CONTAINER_CONFIG,
    FailureClass::Image,
);

fn refused(seen: &Observed) -> Option<Wait> {
    let first = seen
        .refused
        .iter()
        .find(|refused| refused.why != WhyRefused::Invalid)?;
    let more = match seen.refused.len() {
        1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    let reason = match first.why {
        WhyRefused::Quota => reason::QUOTA_EXCEEDED,
        WhyRefused::Failing => reason::CREATE_FAILED,
        WhyRefused::Forbidden | WhyRefused::Invalid => reason::FORBIDDEN,
    };
    let class = match first.why {
        WhyRefused::Failing => FailureClass::Deadline,
        WhyRefused::Quota | WhyRefused::Forbidden | WhyRefused::Invalid => FailureClass::Quota,
    };
    Some(Wait {
        reason,
        message: format!(
            "{} {}{more} cannot be made: {}",
            first.kind.as_str(),
            first.name,
            first.message
        ),
        class,
    })
}

fn container(
    pod: &Pod,
    (words, reason, class): (&[&str], &'static str, FailureClass),
) -> Option<Wait> {
    let waiting = pod.waiting.as_ref()?;
    if !words.contains(&waiting.reason.as_str()) {
        return None;
    }
    let said = waiting.message.as_deref().unwrap_or("no message");
    Some(Wait {
        reason,
        message: format!("{} does not start: {}: {said}", pod.name, waiting.reason),
        class,
    })
}

fn unschedulable(pods: &[&Pod]) -> Option<Wait> {
    let first = pods.first()?;
    let said = first.unschedulable.as_deref().unwrap_or_default();
    let more = match pods.len() {
        1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    Some(Wait {
        reason: reason::UNSCHEDULABLE,
        message: format!("no node takes {}{more}: {said}", first.name),
        class: FailureClass::Quota,
    })
}
