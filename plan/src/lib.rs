//! What a manifest means: a raw `DaskJob` becomes a [`ResolvedJob`], or a list of refusals that each
//! name the field, the reason and the remedy.
//!
//! Pure: no client, no clock, no file system. Total: any input gives one of the two. The CRD schema
//! and its CEL rules refuse the same at an API server as far as they can say it; `refusals.yaml` is
//! the table of cases that both must pass.

mod distance;
mod environment;
mod files;
pub mod life;
mod locate;
pub mod manifest;
pub mod names;
pub mod objects;
mod quantity;
mod refusal;
mod resolve;
mod resolved;
mod roles;
mod structure;
mod workers;

pub use distance::nearest;
pub use environment::{EnvValue, ResolvedEnv, defaults, expand};
pub use files::{Files, RelativePath, TOTAL_MAXIMUM_BYTES};
pub use manifest::{Document, Outcome, read};
pub use quantity::{Amount, QuantityError};
pub use refusal::{Location, Refusal};
pub use resolve::{Defaults, resolve, resolve_manifest};
pub use resolved::{
    Deadlines, JobName, ResolvedJob, ResolvedRole, ResolvedWorkerGroup, Resources, Runner, Scaling,
};

#[cfg(test)]
mod tests;
