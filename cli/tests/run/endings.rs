//! Nothing stays behind, however a run ends: Ctrl-C, SIGTERM, SIGKILL of either of the two processes that watch each
//! other, and jobs that do their best to stay.

use crate::harness::{Finished, Place, Running, need_python, with_client};
use rustix::process::Signal;
use std::time::Duration;

/// A job that ignores SIGTERM, as does a grandchild of it in a session of its own.
const STUBBORN: &str = r#"
job:
  command: [python, main.py]
  files:
    main.py: |
      import os, signal, subprocess, sys, time
      signal.signal(signal.SIGTERM, signal.SIG_IGN)
      escape = "import os, time; os.setsid(); print('escaped', flush=True); time.sleep(1000)"
      middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {escape!r}])"
      subprocess.run([sys.executable, "-c", middle])
      print("stubborn", flush=True)
      time.sleep(1000)
"#;

fn stubborn(place: &Place) -> Running<'_> {
    let running = place.start_job(STUBBORN, &["--output", "json"]);
    running.until_said("stubborn");
    running.until_said("escaped");
    assert!(
        place.processes().len() >= 5,
        "front, supervisor, scheduler, job, grandchild: {:?}",
        place.processes()
    );
    running
}

/// What is left when that job is told to end, by these signals in turn.
fn told(signals: &[Signal], code: i32) -> Finished {
    let place = Place::new();
    let running = stubborn(&place);
    for (number, signal) in signals.iter().enumerate() {
        if number > 0 {
            std::thread::sleep(Duration::from_millis(200));
        }
        running.signal(running.pid(), *signal);
    }
    running.end().expect(code)
}

#[test]
fn ctrl_c_ends_a_job_that_resists() {
    need_python!();
    let finished = told(&[Signal::INT], 130);
    finished.expect_failure("Cancelled", "Cancelled");
    assert_eq!(finished.status()["jobStatus"], "Failed");
}

#[test]
fn sigterm_ends_a_job_that_resists() {
    need_python!();
    told(&[Signal::TERM], 143);
}

#[test]
fn a_second_ctrl_c_ends_at_once() {
    need_python!();
    told(&[Signal::INT, Signal::INT], 130);
}

#[test]
fn killing_the_program_leaves_nothing() {
    need_python!();
    told(&[Signal::KILL], -1);
}

#[test]
fn killing_the_supervisor_leaves_nothing() {
    need_python!();
    let place = Place::new();
    let running = stubborn(&place);
    let supervisor = place.processes_with("daskjob supervise");
    running.signal(supervisor[0], Signal::KILL);
    let finished = running.end().expect(70);
    finished.expect_said("the supervisor was killed by signal 9");
}

#[test]
fn ctrl_c_ends_a_cluster_that_is_busy() {
    need_python!();
    let place = Place::new();
    let program = "
client.wait_for_workers(2)
futures = client.map(time.sleep, [60 + number for number in range(100)])
print('busy', flush=True)
client.gather(futures)
";
    let spec = with_client("workers: {numberOfWorkers: 2}", program);
    let running = place.start_job(&spec, &[]);
    running.until_said("busy");
    running.signal(running.pid(), Signal::INT);
    running.end().expect(130);
}

#[test]
fn ctrl_c_is_how_an_interactive_cluster_ends() {
    need_python!();
    let place = Place::new();
    let running = place.start_job("workers: {numberOfWorkers: 1}", &["--output", "json"]);
    running.until_said("scheduler at tcp://127.0.0.1:");
    running.signal(running.pid(), Signal::INT);
    assert_eq!(running.end().expect(0).status()["jobStatus"], "Complete");
}

#[test]
fn what_a_job_leaves_running_is_ended_after_success_and_failure() {
    need_python!();
    for code in [0, 5] {
        // `run` looks for what is left.
        let finished = Place::new().run_job(
            &format!("job: {{command: [sh, -c, 'setsid sleep 1000 & exit {code}']}}"),
            &[],
        );
        assert_eq!(finished.code, code);
    }
}
