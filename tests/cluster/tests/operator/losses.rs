//! Pods that somebody deletes while the job needs them.

use std::process::Command;

use contract::Role;
use contract::status::{FailureClass, reason};
use serde_json::json;

use crate::jobs::{WAITS, WORK, WORKS, job};
use crate::scene::{Scene, name_of, with_operator};

/// Submits the job `works` and waits until its task is at work.
async fn runs_a_task(scene: &Scene<'_>) {
    let mut works = job(scene, "works", WORKS);
    works["spec"]["job"]["files"]["work.py"] = json!(WORK);
    scene.submit(&works).await;
    scene
        .eventually("a task runs", async || !scene.cues.told("works").is_empty())
        .await;
}

async fn runs_it_once_more(scene: &Scene<'_>) {
    scene
        .eventually("the task runs once more", async || {
            scene.cues.told("works").len() > 1
        })
        .await;
}

#[test]
fn a_worker_that_is_deleted_is_replaced_and_its_work_done_again() {
    with_operator("worker-lost", async |scene| {
        runs_a_task(scene).await;
        scene.delete_pod("works-1-worker-default-0").await;
        runs_it_once_more(scene).await;
        let status = scene
            .until("works", "the loss is counted", |status| {
                let groups = &status.workers.groups;
                groups
                    .first()
                    .is_some_and(|group| group.lost == 1 && group.ready == 1)
            })
            .await;
        assert_eq!(status.attempt, 1, "a lost worker is no failure");
        scene.cues.give("end");
        scene.completes("works").await;
        let told = scene.cues.told("works");
        assert_eq!(told.len(), 2, "{told:?}");
        assert_ne!(told[0].from, told[1].from, "another pod did it");
    });
}

/// Kills the Python process beside the first process of a container, as the kernel does, from inside.
const KILLS_PYTHON: &str = "
import glob, os, signal
for place in glob.glob('/proc/[0-9]*/cmdline'):
    if b'--channel' in open(place, 'rb').read().split(b'\\0'):
        os.kill(int(place.split('/')[2]), signal.SIGKILL)
";

#[test]
fn a_python_process_that_is_killed_is_started_again_in_its_pod() {
    with_operator("python-killed", async |scene| {
        runs_a_task(scene).await;
        let place = ["exec", "works-1-worker-default-0", "-n", scene.namespace()];
        let kill = ["--", "python3", "-c", KILLS_PYTHON];
        let killed = scene.cluster.kubectl(&[place, kill].concat(), "");
        killed.expect_success();
        runs_it_once_more(scene).await;
        scene.cues.give("end");
        let status = scene.completes("works").await;
        assert_eq!((status.attempt, status.workers.lost), (1, 0), "{status:#?}");
        let told = scene.cues.told("works");
        assert_eq!(told[0].from, told[1].from, "in the same pod");
    });
}

/// The number, on this machine, of the first process of a worker's pod: the node is this machine.
fn worker_process(namespace: &str, pod: &str) -> Option<String> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let is_it = |line: &[u8]| {
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let named = words
            .windows(2)
            .any(|pair| pair == [b"--name", pod.as_bytes()]);
        let text = String::from_utf8_lossy(line);
        named && text.contains(namespace)
    };
    entries
        .filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_it(&line)))
        .find_map(|entry| Some(entry.file_name().to_str()?.to_owned()))
}

#[test]
fn a_worker_that_is_killed_is_replaced_by_another_pod() {
    with_operator("worker-killed", async |scene| {
        runs_a_task(scene).await;
        let worker = worker_process(scene.namespace(), "works-1-worker-default-0");
        let worker = worker.expect("the worker runs on this machine");
        let killed = Command::new("kill").args(["-KILL", &worker]).status();
        assert!(killed.expect("kill can be run").success());
        runs_it_once_more(scene).await;
        let status = scene
            .until("works", "the loss is counted", |status| {
                status.workers.lost == 1
            })
            .await;
        assert_eq!(status.attempt, 1, "a lost worker is no failure");
        scene.cues.give("end");
        scene.completes("works").await;
        let told = scene.cues.told("works");
        assert_ne!(told[0].from, told[1].from, "another pod did it");
    });
}

/// Deletes one pod of the first attempt; the second gives the job its end.
fn a_second_attempt_follows_the_loss_of(role: Role, class: FailureClass, why: &str) {
    with_operator(&format!("{role}-lost"), async |scene| {
        scene.submit(&job(scene, "waits", WAITS)).await;
        scene
            .eventually("the program has begun", async || {
                scene.cues.told("begun").len() == 1
            })
            .await;
        let status = scene
            .until("waits", "the job runs", |status| {
                status.timeline.first_worker.is_some()
            })
            .await;
        assert_eq!(status.attempt, 1);
        let pods = scene.pods("waits", role).await;
        scene.delete_pod(&name_of(&pods[0])).await;
        let waits = scene
            .until("waits", "the attempt is over", |status| {
                status.retry_at.is_some()
            })
            .await;
        let failure = waits.failure.expect("it says why");
        assert_eq!(
            (failure.class, failure.role, failure.reason.as_str()),
            (class, role, why),
            "{failure:#?}"
        );
        scene.cues.give("end");
        let status = scene.completes("waits").await;
        assert_eq!(
            (status.attempt, status.retries.infrastructure),
            (2, 1),
            "{status:#?}"
        );
        assert_eq!(scene.cues.told("begun").len(), 2);
    });
}

#[test]
fn a_scheduler_that_is_deleted_costs_the_attempt_and_not_the_job() {
    a_second_attempt_follows_the_loss_of(
        Role::Scheduler,
        FailureClass::SchedulerLost,
        reason::POD_DELETED,
    );
}

#[test]
fn a_runner_that_is_deleted_costs_the_attempt_and_not_the_job() {
    a_second_attempt_follows_the_loss_of(Role::Runner, FailureClass::Evicted, reason::POD_DELETED);
}
