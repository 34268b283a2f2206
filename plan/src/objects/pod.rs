//! A pod of an attempt: the role's container, what it needs around it, and the user's templates merged into that.
//!
//! restartPolicy is Never everywhere: what replaces a pod, and whether it counts, the life cycle decides. Success is the end
//! of the container named `runner`, not of the pod: a side car that never ends does not hold a job up (one that should end
//! with the program is an init container with restartPolicy Always).

use super::{Attempt, Part, command, container, files, metadata, program, template};
use contract::Role;
use serde_json::{Value, json};

/// The volume behind `/tmp`.
pub(super) const SCRATCH_VOLUME: &str = "daskjob-scratch";

/// The volume of the runner's working directory.
pub(super) const WORK_VOLUME: &str = "daskjob-work";

pub(super) fn pod(attempt: Attempt<'_>, part: Part<'_>) -> Value {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata::of_pod(attempt, part),
        "spec": spec(attempt, part),
    });
    template::merge(pod, &part.settings().templates, part.role())
}

fn spec(attempt: Attempt<'_>, part: Part<'_>) -> Value {
    let mut spec = json!({
        "restartPolicy": "Never",
        // Variables for every Service of the namespace: a thousand jobs would fill each other's environment.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": attempt.config.termination_grace_seconds,
        "securityContext": security_context(attempt),
    });
    // A program may well talk to Kubernetes; tasks of anybody's graph should not, unless a template says so.
    if part.role() != Role::Runner {
        spec["automountServiceAccountToken"] = false.into();
    }
    if let Some(seconds) = attempt.job.deadlines.active_deadline_seconds {
        spec["activeDeadlineSeconds"] = (seconds + command::DEAD_MAN_MARGIN_SECONDS).into();
    }
    if !attempt.config.image_pull_secrets.is_empty() {
        let secrets = attempt.config.image_pull_secrets.iter();
        spec["imagePullSecrets"] = secrets.map(|name| json!({"name": name})).collect();
    }
    if program::is_copied(attempt, part) {
        spec["initContainers"] = json!([program::init_container(attempt, part)]);
    }
    spec["containers"] = json!([container::of_part(attempt, part)]);
    spec["volumes"] = volumes(attempt, part).into();
    spec
}

fn security_context(attempt: Attempt<'_>) -> Value {
    let mut context = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    if attempt.config.run_as_non_root {
        context["runAsNonRoot"] = true.into();
    }
    context
}

/// Every place we write to is a volume, so that a template may make the root file system read-only.
fn volumes(attempt: Attempt<'_>, part: Part<'_>) -> Vec<Value> {
    let mut volumes = vec![json!({"name": SCRATCH_VOLUME, "emptyDir": {}})];
    if program::is_copied(attempt, part) {
        volumes.push(program::volume());
    }
    if let Some(files) = files::volume(attempt) {
        volumes.push(files);
        if part.role() == Role::Runner {
            volumes.push(json!({"name": WORK_VOLUME, "emptyDir": {}}));
        }
    }
    volumes
}
