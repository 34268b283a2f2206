//! How our program comes into a pod of another image: an init container of the worker image copies it.
//!
//! The copy is static and executable by everyone, so neither the other image's libc nor its user matters.

use super::{Attempt, Part, container};
use contract::{launch, paths};
use serde_json::{Map, Value, json};

/// Name of the volume and of the init container.
pub(super) const NAME: &str = "daskjob-program";

/// Request and limit of the init container where the role has not both: a quota may demand them of every container. The
/// request stays small, for it counts for as long as the pod lives.
const RESOURCES: [(&str, &str, &str); 2] = [("cpu", "10m", "250m"), ("memory", "16Mi", "64Mi")];

/// A bound, not an allocation: more than the program has.
const VOLUME_SIZE_LIMIT: &str = "256Mi";

/// Does a pod of this part need the copy?
pub(super) fn is_copied(attempt: Attempt<'_>, part: Part<'_>) -> bool {
    part.settings().image != attempt.config.worker_image
}

pub(super) fn volume() -> Value {
    json!({"name": NAME, "emptyDir": {"sizeLimit": VOLUME_SIZE_LIMIT}})
}

pub(super) fn mount() -> Value {
    json!({"name": NAME, "mountPath": paths::PROGRAM_DIRECTORY, "readOnly": true})
}

pub(super) fn init_container(attempt: Attempt<'_>, part: Part<'_>) -> Value {
    let mut security = container::security_context();
    security["readOnlyRootFilesystem"] = Value::Bool(true);
    let mut init_container = json!({
        "name": NAME,
        "image": attempt.config.worker_image,
        "command": [paths::PROGRAM_IN_IMAGE, launch::INSTALL, paths::PROGRAM_COPY],
        "resources": resources(part),
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": NAME, "mountPath": paths::PROGRAM_DIRECTORY}],
    });
    container::set_pull_policy(&mut init_container, attempt);
    init_container
}

/// What the role has: the pod then asks for no more than its main container, copying is not throttled more than the
/// program will be, and a limit range that takes the one takes the other.
fn resources(part: Part<'_>) -> Value {
    let of_role = &part.settings().resources;
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (name, request, limit) in RESOURCES {
        let both = of_role.requests.get(name).zip(of_role.limits.get(name));
        let (request, limit) = both.map_or_else(
            || (request.to_owned(), limit.to_owned()),
            |(request, limit)| (request.to_quantity(name), limit.to_quantity(name)),
        );
        requests.insert(name.to_owned(), request.into());
        limits.insert(name.to_owned(), limit.into());
    }
    json!({"requests": requests, "limits": limits})
}
