//! The custom resource on a real API server, and the control plane that the other tests on it rely on.

mod agreement;
mod control_plane;
mod definition;
mod edits;
mod kubectl;
mod refusals;
mod status;
mod table;
