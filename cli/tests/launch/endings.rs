//! The exit code and the termination message, by what became of the command.

use crate::harness::Place;

#[test]
fn a_code_is_handed_on_and_the_log_is_left_to_speak() {
    for code in [0, 1, 3, 42, 125, 255] {
        let ended = Place::new().run_script(&[], &format!("echo out; echo why >&2; exit {code}"));
        assert_eq!(
            (
                ended.code,
                ended.stdout.as_str(),
                ended.stderr.as_str(),
                ended.left.as_str()
            ),
            (code, "out\n", "why\n", "")
        );
    }
}

#[test]
fn a_command_that_a_signal_killed_is_named_with_it() {
    for (signal, code, name) in [
        ("KILL", 137, "SIGKILL"),
        ("SEGV", 139, "SIGSEGV"),
        ("ABRT", 134, "SIGABRT"),
    ] {
        let ended = Place::new().run_script(&[], &format!("kill -{signal} $$"));
        let message = ended.message();
        assert_eq!(
            (ended.code, message["exitCode"].as_i64()),
            (code, Some(code.into()))
        );
        assert_eq!(
            (message["class"].as_str(), message["reason"].as_str()),
            (Some("Application"), Some("KilledBySignal"))
        );
        assert!(
            message["message"].as_str().unwrap().contains(name),
            "{message}"
        );
    }
}

#[test]
fn a_command_that_is_not_there_says_where_it_was_looked_for() {
    let place = Place::new();
    let mut launcher = place.launcher(&[], &["pyhton", "main.py"]);
    launcher.env("PATH", "/opt/venv/bin:/usr/bin");
    let ended = place.start(launcher).end();
    let message = ended.message();
    assert_eq!(ended.code, 127);
    assert_eq!(
        (message["class"].as_str(), message["reason"].as_str()),
        (Some("Image"), Some("StartFailed"))
    );
    assert_eq!(
        message["message"].as_str(),
        Some(
            "pyhton was not found on PATH (/opt/venv/bin:/usr/bin); is it installed in this image?"
        )
    );
    // In the log too, for whoever looks there.
    assert!(
        ended.stderr.contains("pyhton was not found"),
        "{}",
        ended.stderr
    );
    let ended = Place::new().run(&[], &["/opt/nowhere/python"]);
    assert_eq!(ended.code, 127);
    assert!(
        ended.left.contains("there is no file /opt/nowhere/python"),
        "{}",
        ended.left
    );
}

#[test]
fn a_command_that_cannot_be_run_says_what_it_lacks() {
    let place = Place::new();
    std::fs::write(place.path().join("text"), "text").unwrap();
    let scripts = [
        (place.file("text"), 126, "mode 0644"),
        (
            place.script("no-format", "text"),
            126,
            "neither a program for this machine",
        ),
        (
            place.script("no-shell", "#!/opt/nowhere/sh -e\n"),
            127,
            "/opt/nowhere/sh is not in this image",
        ),
        (
            place.script("windows", "#!/bin/sh\r\nexit 0\r\n"),
            127,
            "its lines end as on Windows",
        ),
        (place.file(""), 126, "it is a directory"),
    ];
    for (script, code, said) in scripts {
        let ended = place.run(&[], &[&script]);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(ended.left.contains(said), "{}", ended.left);
    }
}

#[test]
fn the_commands_standard_input_is_the_containers() {
    let place = Place::new();
    let mut launcher = place.launcher(&[], &["cat"]);
    let mut child = launcher
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"through").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"through");
}

#[test]
fn no_file_is_made_where_no_kubelet_made_one() {
    let place = Place::new();
    let ended = place.run(&["--termination-log", &place.file("other")], &["/nowhere"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    std::fs::remove_file(place.path().join("termination-log")).unwrap();
    let status = place.launcher(&[], &["/nowhere"]).status().unwrap();
    assert_eq!(status.code(), Some(127));
    assert!(!place.path().join("termination-log").exists());
}

#[test]
fn wrong_flags_are_refused() {
    for flags in [
        &["--start-beside"][..],
        &["--hold-lifeline", "1"],
        &["--lifeline-port", "1"],
        &["--work-directory", "/x"],
        &["--scheduler", "tls://x:1"],
        &["--default-env", "A"],
    ] {
        assert_eq!(Place::new().run(flags, &["true"]).code, 2, "{flags:?}");
    }
}

#[test]
fn a_log_that_nobody_takes_ends_nothing() {
    let place = Place::new();
    let mut shell = std::process::Command::new("sh");
    shell
        .args([
            "-c",
            "\"$0\" \"$@\" 2>/dev/full; exit $?",
            crate::harness::program(),
        ])
        .args(place.words(&[], &["/nowhere"]));
    assert_eq!(place.start(shell).end().code, 127);
}
