//! Rules in a Python script, each shown as a test with stock's scheduler and, where DASKJOB_BIN names our program, with ours.
//!
//! The script gets a rule's name, the worker program and the scheduler program, which is empty for stock's.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

/// Shows a rule, with some more in the script's environment.
pub fn show(script: &str, rule: &str, environment: &[(&str, &Path)]) {
    let Some(python) = std::env::var_os("DASKJOB_PYTHON") else {
        println!("skipped: DASKJOB_PYTHON names no interpreter with distributed");
        return;
    };
    let mut schedulers = vec![OsString::new()];
    schedulers.extend(std::env::var_os("DASKJOB_BIN"));
    for scheduler in schedulers {
        let status = Command::new(&python)
            .args([script, rule, env!("CARGO_BIN_EXE_daskjob-worker")])
            .arg(&scheduler)
            .envs(environment.iter().copied())
            .status()
            .expect("the interpreter starts");
        assert!(
            status.success(),
            "{rule} with scheduler {scheduler:?}: {status}"
        );
    }
}

macro_rules! rules {
    ($script:ident: $($rule:ident)*) => {
        $(#[test]
        fn $rule() {
            crate::rules::show($script, stringify!($rule), &[]);
        })*
    };
}
pub(crate) use rules;
