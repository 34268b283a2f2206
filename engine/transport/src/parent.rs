//! The bond between a program and the process that started it, for those that must not outlive it.
//!
//! A look at the parent's number from time to time, not the kernel's signal at its death: that one comes when the *thread*
//! ends which started the program.

use rustix::process::{Signal, getpid, kill_process};
use std::os::unix::process::parent_id;
use std::thread;
use std::time::Duration;

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// For ending in good order.
const GRACE: Duration = Duration::from_secs(10);

/// Ends this program as SIGTERM does once `parent` is no longer the process above it, and by force if that takes too long.
/// A parent that was gone before this is noticed at once.
pub fn end_with(parent: u32) -> std::io::Result<()> {
    let watch = move || {
        while parent_id() == parent {
            thread::sleep(BETWEEN_LOOKS);
        }
        tracing::info!(parent, "the process that started this one is gone");
        // A signal to oneself arrives.
        let _sent = kill_process(getpid(), Signal::TERM);
        thread::sleep(GRACE);
        std::process::exit(1);
    };
    thread::Builder::new()
        .name("parent".into())
        .spawn(watch)
        .map(drop)
}
