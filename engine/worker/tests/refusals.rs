//! What the program says and leaves behind where it cannot start.

use std::process::{Command, Output};

fn worker(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daskjob-worker"))
        .args(arguments)
        .env_remove("DASK_SCHEDULER_ADDRESS")
        .output()
        .expect("the program starts")
}

fn refusal(arguments: &[&str]) -> String {
    let output = worker(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_flag_that_is_not_served_is_refused_by_its_name() {
    let text = refusal(&["tcp://127.0.0.1:9", "--worker-class", "mine"]);
    assert!(text.contains("--worker-class"), "{text}");
}

#[test]
fn without_a_scheduler_there_is_a_remedy() {
    let text = refusal(&["--python", "/bin/sh"]);
    assert!(text.contains("--scheduler-file"), "{text}");
}

#[test]
fn a_value_that_makes_no_sense_is_named() {
    for (flag, value) in [
        ("--memory-limit", "much"),
        ("--worker-port", "x"),
        ("--resources", "GPU"),
    ] {
        let text = refusal(&["tcp://127.0.0.1:9", "--python", "/bin/sh", flag, value]);
        assert!(text.contains(flag) && text.contains(value), "{text}");
    }
}
