//! Cargo, run by a test that cargo runs.

use std::env;
use std::ffi::OsString;
use std::process::Command;

/// The cargo that runs us.
pub(crate) fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// `cargo xtask …`, which must not hear of our package: see `Run::cargo` there.
pub(crate) fn xtask(mut cargo: Command, arguments: &[&str]) -> Command {
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
        .arg("xtask")
        .args(arguments)
        .current_dir(crate::described::root());
    cargo
}
