//! Limits are kept by control groups where the system allows it, and said to be missing where not. Tests that need the
//! right to make control groups are skipped without it, with a line that says so.

use crate::harness::{
    Finished, Place, Running, behind, finished, need_python, outcome, with_client,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::process::Command;

/// Whether the kernel lets us limit: version one, as root.
fn may_limit() -> bool {
    let may = ["memory", "cpu"].iter().all(|controller| {
        let directory = format!("/sys/fs/cgroup/{controller}");
        rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
            && std::fs::exists(format!("/sys/fs/cgroup/{controller}/cgroup.procs")).unwrap()
    });
    if !may {
        eprintln!("skipped: the memory and cpu hierarchies of version one may not be written here");
    }
    may
}

/// Leaves the test where it could show nothing.
macro_rules! need_limits {
    () => {
        need_python!();
        if !may_limit() {
            return;
        }
    };
}

fn out_of_memory(finished: &Finished, role: &str, limit: u64) -> Value {
    let failure = finished.status()["failure"].clone();
    assert_eq!(
        (&failure["role"], &failure["class"], &failure["reason"]),
        (&role.into(), &"OutOfMemory".into(), &"OutOfMemory".into()),
        "{failure:#}\n{}",
        finished.stderr
    );
    assert_eq!(failure["exitCode"], 137, "{failure:#}");
    assert_eq!(failure["memory"]["limitBytes"], json!(limit));
    let peak = failure["memory"]["peakBytes"].as_u64().unwrap();
    assert!((limit / 10 * 9..=limit).contains(&peak), "{failure:#}");
    let sentence = format!("it ran out of memory (limit {} MiB, at most", limit >> 20);
    assert!(finished.stderr.contains(&sentence), "{}", finished.stderr);
    failure
}

/// It has lost so many workers.
#[track_caller]
fn lost_workers(finished: Finished, count: u32) -> Finished {
    let workers = &finished.status()["workers"];
    assert_eq!(workers["lost"], count, "{}", finished.stderr);
    finished
}

/// Workers that can hold little, one of which a task may cost.
const ONE_DEATH: &str = "
env: [{name: DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES, value: '0'}]
workers: {limits: {memory: 400Mi}}
";

/// What a program says that has given up a task and goes on.
const WENT_ON: &str = "given up, and then 3";

#[test]
fn a_program_over_its_limit_ran_out_of_memory() {
    need_limits!();
    let spec = "
job:
  limits: {memory: 100Mi, cpu: 500m}
  command: [python, main.py]
  files:
    main.py: |
      import os
      place = dict(line.strip().split(':', 2)[1:] for line in open('/proc/self/cgroup'))
      for controller, file in [('memory', 'memory.limit_in_bytes'), ('cpu', 'cpu.cfs_quota_us')]:
          print(controller, open(f'/sys/fs/cgroup/{controller}{place[controller]}/{file}').read().strip(), flush=True)
      if os.fork():
          print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
      held = b'x' * (400 << 20)
";
    let finished = Place::new()
        .run_job(spec, &["--output", "json", "--engine", "dask"])
        .expect(137);
    let told = finished.text();
    assert!(
        told.starts_with("memory 104857600\ncpu 50000\n-9\n"),
        "{told}"
    );
    out_of_memory(&finished, "runner", 100 << 20);
}

#[test]
fn a_scheduler_over_its_limit_ran_out_of_memory() {
    need_limits!();
    let program = "
client.set_metadata(['large'], 'x' * (600 << 20))
time.sleep(1000)
";
    let spec = with_client("scheduler: {limits: {memory: 250Mi}}", program);
    for engine in ["native", "dask"] {
        let finished = Place::new()
            .run_job(&spec, &["--output", "json", "--engine", engine])
            .expect(70);
        out_of_memory(&finished, "scheduler", 250 << 20);
        assert_eq!(finished.status()["attempt"], 1);
    }
}

#[test]
fn a_worker_over_its_limit_is_counted_and_its_python_is_started_again() {
    need_limits!();
    let program = "
try:
    client.submit(lambda: len(b'x' * (2 << 30))).result()
except KilledWorker:
    print('given up, and then', client.submit(sum, [1, 2]).result())
";
    let finished = lost_workers(outcome(&with_client(ONE_DEATH, program), 0), 1);
    assert!(finished.text().contains(WENT_ON), "{}", finished.text());
    let told = finished.stderr.lines().filter(|line| {
        line.starts_with("daskjob: worker job-1-worker-default-0")
            && line.contains("it ran out of memory (limit 400 MiB, at most 400 MiB used)")
    });
    assert!(told.count() >= 1, "{}", finished.stderr);
}

#[test]
fn workers_that_run_out_of_memory_before_they_register_are_counted_once_each() {
    need_limits!();
    let spec = "
workers:
  limits: {memory: 400Mi}
  env:
    - name: DASK_DISTRIBUTED__WORKER__PRELOAD
      value: '[\"def dask_setup(worker): worker.large = bytes(1) * (2 << 30)\"]'
job: {command: [sleep, '1000']}
";
    let finished = lost_workers(outcome(spec, 70), 4);
    let failure = finished.status()["failure"].clone();
    assert_eq!(
        (&failure["role"], &failure["class"], &failure["exitCode"]),
        (&"worker".into(), &"OutOfMemory".into(), &1.into()),
        "{failure:#}"
    );
    assert_eq!(failure["memory"]["limitBytes"], json!(400 << 20));
    finished.expect_said(
        "worker job-1-worker-default-0 ended with exit code 1: it ran out of memory (limit 400 MiB, at most 400 MiB used); it is replaced",
    );
}

/// A task that takes more than its worker may have and keeps it.
const HOLDS: &str = "
def hold():
    held = b'x' * (600 << 20)
    time.sleep(1000)
try:
    client.submit(hold, key='holds-much').result()
except KilledWorker:
    print('given up, and then', client.submit(sum, [1, 2]).result())
";

const NO_GROUPS: &str = "mount -t tmpfs none /sys/fs/cgroup";

#[test]
fn a_worker_that_ends_its_python_for_its_memory_is_told_with_the_task() {
    need_limits!();
    let spec = with_client(ONE_DEATH, HOLDS);
    let finished = with_mounts(&Place::new(), NO_GROUPS, &spec).expect(0);
    assert!(finished.text().contains(WENT_ON), "{}", finished.text());
    let told: Vec<&str> = finished
        .stderr
        .lines()
        .filter(|line| line.contains("it ran out of memory"))
        .collect();
    assert_eq!(told.len(), 1, "{}", finished.stderr);
    let parts = [
        "daskjob: worker job-1-worker-default-0: it ran out of memory: ",
        " MiB of memory, 400 MiB are allowed",
        ", while it ran holds-much; it is started again",
    ];
    assert!(parts.iter().all(|part| told[0].contains(part)), "{told:?}");
}

#[test]
fn a_task_that_takes_its_worker_s_memory_is_the_cause_of_the_failure_with_figures() {
    need_limits!();
    let program = "
def much():
    return len(b'x' * (2 << 30))
client.submit(much, key='takes-much').result()
";
    let finished = outcome(&with_client(ONE_DEATH, program), 1);
    let failure = finished.expect_failure("OutOfMemory", "OutOfMemory");
    assert_eq!(
        (&failure["role"], &failure["pod"]),
        (&"worker".into(), &"job-1-worker-default-0".into())
    );
    assert_eq!(failure["memory"]["limitBytes"], json!(400 << 20));
    assert!(failure["memory"]["peakBytes"].as_u64().unwrap() > 300 << 20);
    let message = failure["message"].as_str().unwrap();
    for part in [
        "it ran out of memory",
        "400 MiB",
        "the program ended with exit code 1",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(failure["log"].as_str().unwrap().contains("takes-much"));
}

#[test]
fn a_worker_that_its_stock_nanny_ends_for_its_memory_is_told() {
    need_limits!();
    let spec = with_client(&format!("engine: dask{ONE_DEATH}"), HOLDS);
    let finished = with_mounts(&Place::new(), NO_GROUPS, &spec).expect(0);
    assert!(finished.text().contains(WENT_ON), "{}", finished.text());
    let sentence = "daskjob: worker job-1-worker-default-0: it ran out of memory (ended by its nanny beyond 95% of the \
                    limit of 400 MiB); it is started again\n";
    assert_eq!(
        finished.stderr.matches(sentence).count(),
        1,
        "{}",
        finished.stderr
    );
}

/// A job with a grandchild that has left its session and its parents.
const ESCAPING: &str =
    "job: {command: [sh, -c, 'setsid sh -c \"sleep 1001 & exit\"; echo escaped; sleep 1002']}";

fn kill_both_at_once(place: &Place, running: &Running<'_>) {
    let supervisor = place.processes_with("daskjob supervise")[0];
    for signal in [Signal::STOP, Signal::KILL] {
        running.signal(running.pid(), signal);
        running.signal(supervisor, signal);
    }
}

#[test]
fn what_is_left_when_both_are_killed_at_once_is_ended_by_the_next_run() {
    need_limits!();
    let place = Place::new();
    let running = place.start_job(ESCAPING, &[]);
    running.until_said("escaped");
    kill_both_at_once(&place, &running);
    running.reap();
    assert!(!place.processes_with("sleep 1001").is_empty());
    place
        .run_job("job: {command: ['true']}", &[])
        .expect(0)
        .expect_said("processes of an earlier run that was killed");
}

/// The program behind a shell that has a view of its own of the machine's mounts.
fn with_mounts(place: &Place, set_up: &str, spec: &str) -> Finished {
    let script = format!("{set_up}\nexec \"$@\"");
    let arguments = ["--mount", "sh", "-ec", &script, "sh"];
    let plain = place.run_command(spec);
    let mut command = behind(Command::new("unshare"), &arguments, &plain);
    let finished = finished(command.output().unwrap());
    place.nothing_is_left(&finished.stderr);
    finished
}

#[test]
fn without_control_groups_the_run_goes_on_with_one_note_if_there_are_limits() {
    need_limits!();
    for (limits, notes) in [
        ("limits: {memory: 2Gi, cpu: 1}", 1),
        ("requests: {cpu: 1}", 0),
    ] {
        let spec = format!("{limits}\njob: {{command: ['true']}}");
        let finished = with_mounts(&Place::new(), NO_GROUPS, &spec).expect(0);
        let told = "note: memory and cpu limits are not enforced (workers still watch their own memory): \
                    no control groups are mounted here\n";
        assert_eq!(
            finished.stderr.matches(told).count(),
            notes,
            "{}",
            finished.stderr
        );
        assert_eq!(finished.stderr.matches("note:").count(), notes);
    }
}

#[test]
fn version_two_holds_each_process_of_a_run_that_has_a_group_of_its_own() {
    need_limits!();
    let group = format!("try-run-{}", std::process::id());
    let set_up = format!(
        "mount -t cgroup2 none /sys/fs/cgroup\nmkdir /sys/fs/cgroup/{group}\necho $$ > /sys/fs/cgroup/{group}/cgroup.procs"
    );
    // Controllers of version one are not to be had in version two: what it holds together is looked at here.
    let spec = "
job:
  command: [sh, -c, 'grep ^0:: /proc/self/cgroup; setsid sleep 1000 & exit 0']
";
    let finished = with_mounts(&Place::new(), &set_up, spec).expect(0);
    let place = finished.text();
    assert!(
        place.starts_with(&format!("0::/{group}/daskjob-run-"))
            && place.ends_with("/job-1-runner\n"),
        "{place}{}",
        finished.stderr
    );
    let left = format!("/sys/fs/cgroup/unified/{group}");
    let groups: Vec<_> = std::fs::read_dir(&left)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .collect();
    assert!(groups.is_empty(), "{groups:?}");
    std::fs::remove_dir(left).unwrap();
}
