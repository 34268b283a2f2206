//! What becomes of what the program prints: unchanged, all of it, and whoever reads it holds up nobody but the program.

use crate::harness::{Place, Reading, eventually, need_python};
use rustix::process::Signal;
use std::io::Read;

#[test]
fn output_passes_through_unchanged() {
    need_python!();
    let program = r"printf 'a\000b\377\r\nno end of line'; printf 'err\n' >&2";
    let spec = format!(
        "job:\n  command: [sh, -c]\n  args:\n  - \"{}\"",
        program.replace('\\', r"\\")
    );
    let finished = Place::new().run_job(&spec, &["--no-progress"]);
    assert_eq!(finished.stdout, b"a\0b\xff\r\nno end of line");
    finished.expect_said("err\n");
}

/// With standard error as it is, and as a terminal, where a line of progress is drawn.
const PLACES_TO_STAND: [fn(&Place, &str) -> std::process::Command; 2] =
    [Place::run_command, Place::run_command_in_terminal];

#[test]
fn a_reader_that_stops_reading_is_a_broken_pipe_for_the_job() {
    need_python!();
    for command in PLACES_TO_STAND {
        let place = Place::new();
        let spec = "job: {command: [sh, -c, 'while echo line; do :; done; exit 9']}";
        let mut running = Reading::start(command(&place, spec));
        running.output.read_exact(&mut [0; 5]).unwrap();
        drop(running.output);
        let code = running.child.wait().unwrap().code();
        assert!(code == Some(141) || code == Some(9), "{code:?}");
        place.nothing_is_left("");
    }
}

#[test]
fn a_reader_that_does_not_read_does_not_hold_up_ctrl_c() {
    need_python!();
    for command in PLACES_TO_STAND {
        let place = Place::new();
        let mut running = Reading::start(command(&place, "job: {command: ['yes']}"));
        eventually("the pipe to be full", || running.is_full(), String::new);
        running.signal(Signal::INT);
        let ended = || running.child.try_wait().unwrap().is_some();
        eventually("Ctrl-C to be heard", ended, String::new);
        assert_eq!(running.child.wait().unwrap().code(), Some(130));
        place.nothing_is_left("");
    }
}

#[test]
fn a_reader_that_takes_its_time_gets_everything_and_the_cluster_does_not_wait_for_it() {
    need_python!();
    // More than one pipe holds, less than the two and what is between them: the program can end.
    let program = "import sys; sys.stdout.write(\"x\" * 99_999 + chr(10)); sys.exit(3)";
    for command in PLACES_TO_STAND {
        let place = Place::new();
        let spec = format!("job: {{command: [python, -c, '{program}']}}");
        let mut running = Reading::start(command(&place, &spec));
        eventually("the pipe to be full", || running.is_full(), String::new);
        let cluster_is_gone = || place.processes_with("--scheduler-file").is_empty();
        eventually("the cluster to be gone", cluster_is_gone, String::new);
        let mut read = Vec::new();
        running.output.read_to_end(&mut read).unwrap();
        assert_eq!((read.len(), read.last()), (100_000, Some(&b'\n')));
        assert_eq!(running.child.wait().unwrap().code(), Some(3));
        place.nothing_is_left("");
    }
}

#[test]
fn what_a_program_leaves_printing_does_not_keep_its_job_from_ending() {
    need_python!();
    let finished = Place::new().run_job("job: {command: [sh, -c, 'yes & exit 5']}", &[]);
    assert_eq!(finished.code, 5, "{}", finished.stderr);
}
