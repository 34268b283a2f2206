//! The operator: from what is seen of a job, through `plan::life`, to calls that change the world.
//!
//! ```text
//! watch ─► store ─► queue ─► reconcile ─► api          (creates, status, deletes)
//!            ▲                   │ ▲
//!            └── own creates ────┘ └── facts ◄─► schedulers, beside the path
//! ```
//!
//! It decides nothing: what is to happen stands in the plan. It sees to it that a plan rests on what is so, that its parts
//! happen in their order, and that whatever fails is tried again.

pub mod api;
pub mod clock;
pub mod config;
mod create;
mod definitions;
pub mod events;
pub mod facts;
mod leader;
pub mod metrics;
mod observe;
mod operator;
mod program;
mod queue;
pub mod read;
mod reconcile;
mod server;
pub mod store;
mod watch;

pub use config::{Config, OperatorArgs};
pub use operator::{Operator, Running};
pub use program::{main, serve};

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
