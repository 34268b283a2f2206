//! The Helm chart and `manifests/install` on a real API server, with the program `helm` as a user has it.
//!
//! The cluster is shared, so a release here disturbs nobody: it runs jobs of its test's namespace alone, or holds still
//! because somebody else holds its Lease; names that belong to no namespace hold the test's; what happens to a definition
//! happens to one of the test's own, made from ours by other names ([`chart::Chart::with_own_definition`]). The definition
//! of DaskJob is there before (`install_definitions`) and stays what it is, whoever Helm believes owns it.

mod chart;
mod definition;
mod kubectl;
mod life;
mod operators;
mod preview;
mod refusals;
mod rendering;
mod rights;
