//! Dask's configuration: where users keep it, how values are written, and what is said of one that makes no sense.
//!
//! For the programs that take the place of Dask's own. Knows no key but those that were renamed: what a key means, and its
//! default, is the program's. `sources` gathers files and variables into a `tree`, `read` takes values out of it, `units`
//! and `literal` are how people write them, `interpreter` finds the Python whose `etc/dask` counts.

pub mod interpreter;
mod literal;
pub mod read;
pub mod sources;
pub mod tree;
pub mod units;

pub use sources::{Environment, SourceError};
