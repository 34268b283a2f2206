//! Exit codes of `daskjob run` and of our programs inside a cluster.
//!
//! A job that ran hands on its own code: 0 to 255, or 128 + signal when it was killed. The codes
//! below are for what happened around it, so they stay out of the range programs commonly use.

/// The manifest was refused, or an argument was wrong.
pub const REFUSED: u8 = 2;
/// A prerequisite is missing or the cluster could not be brought up.
pub const INFRASTRUCTURE: u8 = 70;
/// A deadline of the manifest passed (the code `timeout(1)` uses).
pub const DEADLINE: u8 = 124;

/// The job's program was not found (the code a shell uses).
pub const NOT_FOUND: u8 = 127;

/// The code for a program that a signal ended.
pub fn of_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
