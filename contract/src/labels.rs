//! Labels and annotations on objects of Kubernetes that more than one program reads or writes.
//!
//! Everything with [`PREFIX`] is ours: users' labels and annotations with it are not copied to what a job owns.

/// Prefix of every label and annotation of ours.
pub const PREFIX: &str = "daskjob.dev/";

/// Name of the job; shortened with a hash where it is longer than a label's value may be.
pub const JOB_NAME: &str = "daskjob.dev/job-name";
/// `metadata.uid` of the job: what selectors go by, for a name may come back.
pub const JOB_UID: &str = "daskjob.dev/job-uid";
/// Number of the attempt, from 1.
pub const ATTEMPT: &str = "daskjob.dev/attempt";
/// [`crate::Role`]: `scheduler`, `worker` or `runner`. On pods and the scheduler's Service.
pub const ROLE: &str = "daskjob.dev/role";
/// Name of the worker group; on workers.
pub const WORKER_GROUP: &str = "daskjob.dev/worker-group";
/// Number of the worker in its group, from 0, never used twice in an attempt; on workers.
pub const WORKER_NUMBER: &str = "daskjob.dev/worker-number";

/// On everything the operator makes: what its watches go by. `(key, value)`.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "daskjob-operator");
/// What the objects belong to, for people and tools. `(key, value)`.
pub const NAME: (&str, &str) = ("app.kubernetes.io/name", "daskjob");
/// [`ROLE`] once more, under the name that dashboards know.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Annotation on a scheduler's Service: it has been given its selector. Of Services only the metadata is watched.
pub const HAS_SELECTOR: &str = "daskjob.dev/has-selector";

/// Annotation on a job: it is to end as Failed with reason Cancelled, and its record is kept. Any value counts but
/// `false`; the value is the reason for people.
pub const CANCEL: &str = "daskjob.dev/cancel";
