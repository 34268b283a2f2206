//! How jobs end by themselves: exit codes, retries, deadlines, losses, and the status that tells of them.

use crate::harness::{Finished, Place, need_python, outcome, with_client};

#[test]
fn the_exit_code_is_that_of_the_program() {
    need_python!();
    // As in a pod, `$$` is an escaped `$`.
    for (program, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$$$", 137),
        ("kill -TERM $$$$", 143),
    ] {
        let spec = format!("job: {{command: [sh, -c, '{program}']}}");
        Place::new().run_job(&spec, &[]).expect(code);
    }
}

#[test]
fn a_failure_is_in_the_status_with_the_end_of_the_output() {
    need_python!();
    let place = Place::new();
    let status_file = place.home().join("status.json");
    let spec = "job: {command: [python, -c, 'raise SystemExit(\"it broke\")']}";
    let finished = place.run_job(
        spec,
        &[
            "--output",
            "json",
            "--status-file",
            status_file.to_str().unwrap(),
        ],
    );
    let status = finished.status();
    assert_eq!(status["jobStatus"], "Failed");
    let failure = &status["failure"];
    assert_eq!(
        (&failure["role"], &failure["class"], &failure["reason"]),
        (
            &"runner".into(),
            &"Application".into(),
            &"NonZeroExit".into()
        )
    );
    assert_eq!(
        (&failure["exitCode"], &failure["log"]),
        (&1.into(), &"it broke".into()),
        "{status:#}"
    );
    let conditions: Vec<(&str, &str)> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            (
                condition["type"].as_str().unwrap(),
                condition["status"].as_str().unwrap(),
            )
        })
        .collect();
    for expected in [
        ("Accepted", "True"),
        ("Running", "False"),
        ("Failed", "True"),
        ("TornDown", "True"),
    ] {
        assert!(conditions.contains(&expected), "{conditions:?}");
    }
    assert!(
        status["timeline"]["runnerStarted"].is_string()
            && status["timeline"]["finished"].is_string(),
        "{status:#}"
    );
    assert_eq!(status["teardown"]["podsRemaining"], 0);
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(status_file).unwrap()).unwrap();
    assert_eq!(written, status);
}

#[test]
fn a_failed_program_is_tried_again_with_a_fresh_cluster() {
    need_python!();
    let spec = "
backoffLimit: 2
job:
  command: [sh, -c, 'echo at $DASKJOB_ATTEMPT $DASK_SCHEDULER_ADDRESS; touch made-by-$DASKJOB_ATTEMPT; ls; test $DASKJOB_ATTEMPT = 2']
  files: {data.txt: x}
";
    let finished = outcome(spec, 0);
    let text = finished.text();
    let addresses: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("at "))
        .collect();
    assert_eq!(addresses.len(), 2, "{text}");
    assert_ne!(
        addresses[0].split_once(' ').unwrap().1,
        addresses[1].split_once(' ').unwrap().1
    );
    assert!(
        text.contains("made-by-2") && text.matches("made-by-1").count() == 1,
        "a fresh directory: {text}"
    );
    let status = finished.status();
    assert_eq!(
        (&status["jobStatus"], &status["attempt"]),
        (&"Complete".into(), &2.into())
    );
}

#[test]
fn retries_have_a_bound() {
    need_python!();
    let finished = outcome(
        "backoffLimit: 1\njob: {command: [sh, -c, 'echo try; exit 4']}",
        4,
    );
    assert_eq!(finished.text().matches("try\n").count(), 2);
    assert_eq!(finished.status()["attempt"], 2);
}

#[test]
fn a_job_that_takes_too_long_is_ended() {
    need_python!();
    let finished = outcome(
        "activeDeadlineSeconds: 2\nbackoffLimit: 3\njob: {command: [sleep, '1000']}",
        124,
    );
    finished.expect_failure("Deadline", "ActiveDeadlineExceeded");
    assert_eq!(finished.status()["attempt"], 1);
}

#[test]
fn a_job_that_does_not_start_in_time_is_ended() {
    need_python!();
    // Workers that never register: their Python cannot find itself.
    let spec = "
startDeadlineSeconds: 3
job: {command: [sleep, '1000']}
workers: {env: [{name: DASK_DISTRIBUTED__WORKER__PRELOAD, value: 'import time; time.sleep(1000)'}]}
";
    let finished = outcome(spec, 124);
    let failure = finished.expect_failure("Deadline", "StartDeadlineExceeded");
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("no worker has registered"),
        "{failure:#}"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    need_python!();
    Place::new()
        .run_job("job: {command: [pyhton, main.py]}", &[])
        .expect(127)
        .expect_said("the program pyhton (spec.job.command[0]) was not found");
}

#[test]
fn a_lost_worker_is_replaced() {
    need_python!();
    let place = Place::new();
    let program = "
client.wait_for_workers(1, timeout=60)
before = set(client.scheduler_info()['workers'])
print('ready', flush=True)
while not set(client.scheduler_info()['workers']) - before:
    time.sleep(0.1)
print('replaced', client.submit(sum, [1, 2]).result(), flush=True)
";
    let running = place.start_job(&with_client("", program), &["--output", "json"]);
    running.until_said("ready");
    let worker = place.processes_with("daskjob worker");
    running.signal(worker[0], rustix::process::Signal::KILL);
    let finished = running.end().expect(0);
    assert!(
        finished.text().contains("replaced 3"),
        "{}",
        finished.text()
    );
    assert_eq!(finished.status()["workers"]["lost"], 1);
}

/// Tasks that take a while on two workers; their sum does not depend on who is killed meanwhile.
const TAKES_A_WHILE: &str = "
def slow(number):
    print('begun', number, flush=True)
    time.sleep(0.3)
    return number
client.wait_for_workers(2, timeout=60)
parts = client.map(slow, range(24))
while sum(part.done() for part in parts) < 4:
    time.sleep(0.05)
print('works', flush=True)
print('sum', client.submit(sum, parts).result(), flush=True)
";

const TWO_WORKERS: &str = "workers: {numberOfWorkers: 2, threads: 1}";

/// Kills the first process with this text in its command line while the tasks run.
fn ends_well_without(text: &str) -> Finished {
    let place = Place::new();
    let spec = with_client(TWO_WORKERS, TAKES_A_WHILE);
    let running = place.start_job(&spec, &["--output", "json"]);
    running.until_said("works");
    running.signal(place.processes_with(text)[0], rustix::process::Signal::KILL);
    let finished = running.end().expect(0);
    assert!(finished.text().contains("sum 276"), "{}", finished.text());
    finished
}

#[test]
fn a_worker_killed_while_a_job_runs_costs_its_work_and_not_the_job() {
    need_python!();
    let finished = ends_well_without("daskjob worker");
    finished.expect_said("was ended by signal 9 (SIGKILL); it is replaced");
}

#[test]
fn a_python_process_killed_while_a_job_runs_is_started_again_by_its_worker() {
    need_python!();
    let finished = ends_well_without("--channel ");
    finished.expect_said("the Python process of the worker was killed by signal 9");
    finished.expect_said("it is started again");
    assert!(
        !finished.stderr.contains("out of memory"),
        "{}",
        finished.stderr
    );
}

#[test]
fn every_worker_is_ours() {
    need_python!();
    let place = Place::new();
    let program = "
client.wait_for_workers(2, timeout=60)
def where(number):
    return get_worker().address
used = set(client.gather(client.map(where, range(40), pure=False)))
assert used <= set(client.scheduler_info()['workers'])
print(*sorted(used), flush=True)
time.sleep(3)
";
    let running = place.start_job(&with_client(TWO_WORKERS, program), &[]);
    running.until_said("tcp://127.0.0.1:");
    // Whoever listens at those addresses.
    let ours = place.processes_with("daskjob worker");
    let addresses = ours.iter().flat_map(|process| listens(*process));
    let addresses: Vec<String> = addresses.collect();
    let said = running.end().expect(0).text();
    for address in said.split_whitespace() {
        assert!(
            addresses.iter().any(|ours| ours == address),
            "{address} is none of {addresses:?}"
        );
    }
}

/// Addresses of loopback that a process listens at.
fn listens(process: i32) -> Vec<String> {
    let links = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    let sockets: Vec<String> = links
        .flatten()
        .filter_map(|link| std::fs::read_link(link.path()).ok())
        .filter_map(|target| {
            let number = target.to_str()?.strip_prefix("socket:[")?;
            Some(number.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap();
    let listener = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, port) = words.get(1)?.rsplit_once(':')?;
        let is_own = words.get(3) == Some(&"0A") && sockets.iter().any(|it| it == words[9]);
        let port = u16::from_str_radix(port, 16).ok().filter(|_| is_own)?;
        Some(format!("tcp://127.0.0.1:{port}"))
    };
    table.lines().skip(1).filter_map(listener).collect()
}

#[test]
fn a_lost_scheduler_is_made_good_by_a_fresh_attempt() {
    need_python!();
    let place = Place::new();
    let running = place.start_job("job: {command: [sh, -c, 'echo attempt $DASKJOB_ATTEMPT; test $DASKJOB_ATTEMPT = 2 || sleep 1000']}", &["--output", "json"]);
    running.until_said("attempt 1");
    let scheduler = place.processes_with("--scheduler-file");
    running.signal(scheduler[0], rustix::process::Signal::KILL);
    let finished = running.end().expect(0);
    assert_eq!(finished.status()["attempt"], 2);
    finished.expect_said("the scheduler was ended by signal 9");
}

#[test]
fn workers_that_cannot_live_end_the_job_with_their_log() {
    need_python!();
    let spec = "
job: {command: [sleep, '1000']}
workers: {env: [{name: PYTHONHOME, value: /nowhere}]}
";
    let finished = outcome(spec, 70);
    let failure = finished.expect_failure("WorkersLost", "WorkersLost");
    assert_eq!(failure["role"], "worker");
    assert!(
        failure["log"].as_str().unwrap().contains("/nowhere"),
        "{failure:#}"
    );
}

#[test]
fn a_program_may_shut_its_cluster_down_itself() {
    need_python!();
    let spec = "
job:
  command: [python, -c, 'import time; from dask.distributed import Client; client = Client(); client.wait_for_workers(1); client.shutdown(); time.sleep(1); print(\"alone\")']
";
    Place::new().run_job(spec, &[]).expect_printed("alone\n");
}

#[test]
fn an_idle_interactive_cluster_ends_by_itself() {
    need_python!();
    let finished = outcome("idleTimeoutSeconds: 1\nworkers: {numberOfWorkers: 1}", 0);
    finished.expect_said("scheduler at tcp://127.0.0.1:");
    let status = finished.status();
    assert_eq!(status["jobStatus"], "Complete");
}

/// Tasks that end when told to, so that the load stays until the group has grown, however slow the machine is.
const WAVE: &str = "
import pathlib, tempfile
told = pathlib.Path(tempfile.gettempdir(), 'told')
def until_told(number):
    while not told.exists():
        time.sleep(0.05)
futures = client.map(until_told, range(40))
while len(client.scheduler_info()['workers']) < 3:
    time.sleep(0.05)
print('grown', flush=True)
told.touch()
kept = client.submit(sum, [1, 2])
client.gather(futures)
del futures
while len(client.scheduler_info()['workers']) > 1:
    time.sleep(0.05)
print('shrunk, kept', kept.result(), flush=True)
time.sleep(1)
";

const ADAPTS_SOON: &str = "
env:
- {name: DASK_DISTRIBUTED__ADAPTIVE__INTERVAL, value: 200ms}
- {name: DASK_DISTRIBUTED__ADAPTIVE__WAIT_COUNT, value: '2'}
workers: {minimum: 1, maximum: 3}
";

fn grows_and_shrinks(engine: &str) {
    let spec = with_client(ADAPTS_SOON, WAVE);
    let finished = Place::new()
        .run_job(&spec, &["--output", "json", "--engine", engine])
        .expect(0);
    assert!(
        finished.text().contains("grown\nshrunk, kept 3"),
        "{}",
        finished.text()
    );
    let workers = &finished.status()["workers"];
    assert_eq!(
        (&workers["desired"], &workers["lost"]),
        (&1.into(), &0.into()),
        "{workers:#}"
    );
}

#[test]
fn a_group_that_adapts_grows_with_its_load_and_shrinks_after_it() {
    need_python!();
    grows_and_shrinks("native");
}

#[test]
fn a_group_that_adapts_does_so_on_stock_dask_too() {
    need_python!();
    grows_and_shrinks("dask");
}
