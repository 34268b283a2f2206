//! Jobs that are sent, followed and changed from the command line.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use cluster::eventually;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scene::with_operator;

/// Says something, uses a worker, and fails.
const FAILS: &str = "
from dask.distributed import Client

print('one')
print('two')
print(Client().submit(sum, [1, 2]).result())
raise SystemExit(3)
";

/// Counts until it is ended.
const COUNTS: &str = "
import time

for number in range(100_000):
    print('number', number, flush=True)
    time.sleep(0.2)
";

#[test]
fn a_job_is_followed_to_its_end_with_its_output_and_its_exit_code() {
    with_operator("follow", async |scene| {
        scene.write("program/main.py", FAILS);
        let manifest = scene.write(
            "job.yaml",
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {generateName: etl-}\nspec: {job: {command: [python, main.py]}}\n",
        );
        let (code, answer) = scene.daskjob(&[
            "submit",
            &manifest,
            "--name",
            "etl",
            "--with-files",
            "program",
            "--wait",
        ]);
        assert_eq!(code, 3, "{answer:#?}");
        assert_eq!(answer.stdout, "one\ntwo\n3\n", "{answer:#?}");
        for said in [
            "etl is submitted to namespace",
            "etl: Failed after",
            "(NonZeroExit)",
        ] {
            assert!(answer.stderr.contains(said), "{said}: {}", answer.stderr);
        }
        let (logs, _) = scene.does(&["logs", "etl"]);
        assert_eq!(logs, "one\ntwo\n3\n");
        let (described, _) = scene.does(&["describe", "daskjob/etl"]);
        for told in [
            "State:      Failed after",
            "Why:        NonZeroExit",
            "Remedy:",
            "etl-1-runner",
            "Ended (3)",
            "  | two",
        ] {
            assert!(described.contains(told), "{told}: {described}");
        }
        // Events come a little later than the status they explain.
        eventually("its failure is among the events", async || {
            let (described, _) = scene.does(&["describe", "etl"]);
            described.contains("Warning   Failed")
        })
        .await;
        let (listed, _) = scene.does(&["list"]);
        let row: Vec<&str> = listed
            .lines()
            .nth(1)
            .expect("one job")
            .split_whitespace()
            .collect();
        assert_eq!(
            (row[0], row[1], row[6]),
            ("etl", "Failed", "NonZeroExit"),
            "{listed}"
        );
        let (listed, _) = scene.does(&["list", "--output", "json"]);
        let listed: Value = serde_json::from_str(&listed).expect("it is JSON");
        assert_eq!(listed[0]["status"]["failure"]["exitCode"], 3);
    });
}

#[test]
fn a_job_that_ends_well_is_told_in_json_too() {
    with_operator("json", async |scene| {
        let manifest = scene.manifest("well", "print('well')");
        let (printed, _) = scene.does(&[
            "submit",
            &manifest,
            "--wait",
            "--output",
            "json",
            "--no-logs",
        ]);
        let status: Value = serde_json::from_str(&printed).expect("one line of JSON and no log");
        assert_eq!(status["jobStatus"], "Complete");
    });
}

/// Reads lines until one holds the words.
fn read_until(stream: impl Read, words: &str) -> impl BufRead {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        let count = reader.read_line(&mut line).expect("the output can be read");
        assert!(count > 0, "it ended before it said {words}");
    }
    reader
}

fn interrupt(child: &Child) {
    let id = i32::try_from(child.id()).expect("a process has a small number");
    let id = Pid::from_raw(id).expect("a process has a number");
    kill_process(id, Signal::INT).expect("it is there");
}

#[test]
fn an_interrupt_leaves_the_job_running_and_a_second_one_cancels_it() {
    with_operator("interrupt", async |scene| {
        let manifest = scene.manifest("left", COUNTS);
        let mut follows = scene.start(&["submit", &manifest, "--wait"]);
        let output = read_until(follows.stdout.take().expect("it is piped"), "number 1");
        interrupt(&follows);
        // Nobody reads what it says meanwhile.
        drop(output);
        let ended = follows.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(130), "{said}");
        assert!(said.contains("daskjob cancel left"), "{said}");
        let state = scene.field("left", ".status.jobStatus");
        assert!(["Starting", "Running"].contains(&state.as_str()), "{state}");

        let manifest = scene.manifest("cancelled", COUNTS);
        let mut follows = scene.start(&["submit", &manifest, "--wait", "--no-logs"]);
        let said = read_until(follows.stderr.take().expect("it is piped"), "running");
        interrupt(&follows);
        let said = read_until(said, "goes on without this terminal");
        interrupt(&follows);
        let _rest = read_until(said, "cancelled: Failed after");
        let ended = follows.wait().expect("it ends");
        assert_eq!(ended.code(), Some(130));
        assert_eq!(
            scene.field("cancelled", ".status.failure.class"),
            "Cancelled"
        );
        scene.does(&["cancel", "left", "--wait"]);
    });
}

#[test]
fn a_running_job_is_looked_into_scaled_suspended_resumed_and_cancelled() {
    with_operator("change", async |scene| {
        let manifest = scene.manifest("long", COUNTS);
        let (name, _) = scene.does(&["submit", &manifest]);
        assert_eq!(name, "long\n");
        let mut follows = scene.start(&["logs", "long", "--follow"]);
        let rest = read_until(follows.stdout.take().expect("it is piped"), "number 1");

        scene.does(&["scale", "long", "2"]);
        eventually("two workers are ready", async || {
            scene.field("long", ".status.workers.ready") == "2"
        })
        .await;
        let (logs, _) = scene.does(&["logs", "long", "--all", "--tail", "5"]);
        for marked in [
            "[runner] number ",
            "[scheduler] ",
            "[worker default-0] ",
            "[worker default-1] ",
        ] {
            assert!(logs.contains(marked), "{marked}: {logs}");
        }
        let (described, _) = scene.does(&["describe", "long"]);
        assert!(described.contains("long-1-worker-default-1"), "{described}");

        scene.does(&["suspend", "long", "--wait"]);
        assert_eq!(scene.field("long", ".status.jobStatus"), "Suspended");
        scene.does(&["resume", "long", "--wait"]);
        assert_eq!(scene.field("long", ".status.attempt"), "2");
        // Whoever follows sees the next attempt too.
        let rest = read_until(rest, "number 0");

        scene.does(&["cancel", "long", "--reason", "enough", "--wait"]);
        assert_eq!(
            scene.field("long", ".status.failure.message"),
            "cancelled: enough"
        );
        drop(rest);
        follows.wait().expect("following ends with the job");
    });
}
