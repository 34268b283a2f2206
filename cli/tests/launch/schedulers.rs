//! Waiting for a scheduler: its handshake counts, not its port.

use crate::harness::{
    NO_PYTHON, Place, Running, free_port, now, program, python, skip_unless, tcp, until,
};
use rustix::process::Signal;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

/// Our scheduler on a port.
pub fn scheduler(place: &Place, port: u16) -> Running<'_> {
    let mut scheduler = Command::new(program());
    scheduler
        .args([
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ])
        .args(["--dashboard-address", "127.0.0.1:0"]);
    place.start(scheduler)
}

fn stock_scheduler<'a>(place: &'a Place, python: &str, port: u16) -> Running<'a> {
    let mut scheduler = Command::new(python);
    scheduler
        .args(["-m", "distributed.cli.dask_scheduler", "--no-dashboard"])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    place.start(scheduler)
}

fn address(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

/// Flags of a launcher that starts its command beside the wait, and more of them.
fn beside<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--scheduler", address, "--start-beside"], more].concat()
}

#[test]
fn the_command_starts_once_a_scheduler_comes_up() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let python = python.unwrap();
    for ours in [true, false] {
        let (place, port) = (Place::new(), free_port());
        let mut waiting = place.start(place.launcher(
            &["--scheduler", &address(port)],
            &["sh", "-c", ": > started; exit 3"],
        ));
        std::thread::sleep(Duration::from_millis(200));
        assert!(waiting.runs() && !place.path().join("started").exists());
        let _scheduler = if ours {
            scheduler(&place, port)
        } else {
            stock_scheduler(&place, &python, port)
        };
        place.wait_for("started");
        assert_eq!(waiting.end().code, 3);
    }
}

#[test]
fn a_port_that_takes_connections_and_says_nothing_is_no_scheduler() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(silent.local_addr().unwrap());
    let place = Place::new();
    let began = now();
    let flags = ["--scheduler", &address, "--scheduler-timeout", "2"];
    let ended = place.run(&flags, &["sh", "-c", ": > started"]);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert_eq!(ended.code, 70);
    let message = ended.message();
    assert_eq!(
        (message["class"].as_str(), message["reason"].as_str()),
        (Some("SchedulerLost"), Some("SchedulerLost"))
    );
    let text = format!("the scheduler at {address} did not answer within 2 s: no answer");
    assert_eq!(message["message"].as_str(), Some(text.as_str()));
    assert!(!place.path().join("started").exists());
}

#[test]
fn what_speaks_another_protocol_is_no_scheduler() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(other.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in other.incoming() {
            let _ = std::io::Write::write_all(
                &mut connection.unwrap(),
                b"HTTP/1.1 400 Bad Request\r\n\r\n",
            );
        }
    });
    let ended = Place::new().run(
        &["--scheduler", &address, "--scheduler-timeout", "1"],
        &["true"],
    );
    assert_eq!(ended.code, 70, "{ended:?}");
}

#[test]
fn what_is_waited_for_is_said_after_a_while() {
    let place = Place::new();
    let address = address(free_port());
    let ended = place.run(
        &["--scheduler", &address, "--scheduler-timeout", "7"],
        &["true"],
    );
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ended.stderr);
    let said = format!("daskjob: waiting for the scheduler at {address} for 5 s: ");
    assert!(
        lines[0].starts_with(&said) && lines[0].contains("refused"),
        "{}",
        lines[0]
    );
}

#[test]
fn a_name_that_does_not_exist_is_waited_for_like_a_port() {
    let place = Place::new();
    let flags = [
        "--scheduler",
        "tcp://a-1-scheduler.b.svc.cluster.invalid:8786",
        "--scheduler-timeout",
        "1",
    ];
    let ended = place.run(&flags, &["true"]);
    assert_eq!(ended.code, 70);
    assert!(
        ended.left.contains("a-1-scheduler.b.svc.cluster.invalid"),
        "{}",
        ended.left
    );
}

#[test]
fn a_signal_ends_a_launcher_that_waits() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let place = Place::new();
        let mut waiting =
            place.start(place.launcher(&["--scheduler", &address(free_port())], &["true"]));
        std::thread::sleep(Duration::from_millis(300));
        waiting.signal(Signal::USR1);
        std::thread::sleep(Duration::from_millis(100));
        assert!(waiting.runs());
        waiting.signal(signal);
        let ended = waiting.end();
        assert_eq!((ended.code, ended.left.as_str()), (code, ""));
    }
}

/// Fails as long as there is no file `up`, and counts how often it was started.
const FAILS_AT_FIRST: &str = "echo start; [ -e up ] || exit 1; exit 12";

#[test]
fn a_command_that_fails_before_the_scheduler_answers_is_started_again() {
    skip_unless!(python().is_some(), NO_PYTHON);
    let (place, port) = (Place::new(), free_port());
    let address = address(port);
    let flags = beside(&address, &[]);
    let mut waiting = place.start(place.launcher(&flags, &["sh", "-c", FAILS_AT_FIRST]));
    until("it failed once", || {
        waiting.stderr().contains("it is started again")
    });
    assert!(waiting.runs());
    assert_eq!(waiting.stdout(), "start\n");
    std::fs::write(place.path().join("up"), "").unwrap();
    let _scheduler = scheduler(&place, port);
    let ended = waiting.end();
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (12, "start\nstart\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_command_beside_is_started_once_where_it_does_not_fail() {
    skip_unless!(python().is_some(), NO_PYTHON);
    let (place, port) = (Place::new(), free_port());
    let address = address(port);
    let flags = beside(&address, &[]);
    let script = "echo start; while [ ! -e done ]; do sleep 0.02; done; exit 13";
    let waiting = place.start(place.launcher(&flags, &["sh", "-c", script]));
    let _scheduler = scheduler(&place, port);
    // A launcher that does not start beside tells when the scheduler answers.
    place.run(&["--scheduler", &address], &["true"]);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::write(place.path().join("done"), "").unwrap();
    let ended = waiting.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (13, "start\n"));
}

#[test]
fn a_command_beside_that_succeeds_or_is_told_to_end_is_not_started_again() {
    let address = address(free_port());
    let flags = beside(&address, &[]);
    assert_eq!(Place::new().run(&flags, &["true"]).code, 0);
    let place = Place::new();
    let running = place.start(place.launcher(&flags, &["sh", "-c", ": > ready; exec sleep 60"]));
    place.wait_for("ready");
    running.signal(Signal::TERM);
    assert_eq!(running.end().code, 143);
}

#[test]
fn a_command_beside_is_ended_with_the_scheduler_that_never_came() {
    let place = Place::new();
    let address = address(free_port());
    let flags = beside(&address, &["--scheduler-timeout", "1"]);
    let script = "trap ': > asked; exit 0' TERM; while :; do sleep 0.02; done";
    let ended = place.run(&flags, &["sh", "-c", script]);
    assert_eq!(ended.code, 70);
    assert_eq!(ended.message()["class"], "SchedulerLost");
    assert!(place.path().join("asked").exists());
    // One that does not care is killed: there is nobody else who would.
    let ended = Place::new().run(
        &flags,
        &["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"],
    );
    assert_eq!(ended.code, 70);
}

/// Does not care for TERM, but tells of it.
const STUBBORN: &str = "trap 'echo told' TERM; : > ready; while :; do sleep 0.02; done";

#[test]
fn a_worker_told_to_end_is_killed_once_its_scheduler_takes_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp(listener.local_addr().unwrap());
    let place = Place::new();
    let flags = beside(&address, &["--end-with-scheduler"]);
    let mut running = place.start(place.launcher(&flags, &["sh", "-c", STUBBORN]));
    place.wait_for("ready");
    running.signal(Signal::TERM);
    until("the signal was passed on", || running.stdout() == "told\n");
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.runs(), "its scheduler is still there");
    drop(listener);
    let ended = running.end();
    assert_eq!((ended.code, ended.left.as_str()), (137, ""));
}

#[test]
fn a_worker_that_is_not_told_to_end_outlives_its_scheduler() {
    let place = Place::new();
    let address = address(free_port());
    let flags = beside(&address, &["--end-with-scheduler"]);
    let mut running = place.start(place.launcher(&flags, &["sh", "-c", STUBBORN]));
    place.wait_for("ready");
    std::thread::sleep(Duration::from_millis(500));
    assert!(running.runs());
}
