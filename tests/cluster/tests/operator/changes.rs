//! What users change of a job while it runs: suspend, worker counts, bounds.

use contract::Role;
use contract::status::{JobStatus, Phase, condition};
use serde_json::json;

use crate::jobs::{WAITS, job};
use crate::scene::with_operator;

#[test]
fn a_suspended_job_has_no_pods_and_begins_anew_when_resumed() {
    with_operator("suspend", async |scene| {
        scene.submit(&job(scene, "waits", WAITS)).await;
        scene
            .eventually("the program has begun", async || {
                scene.cues.told("begun").len() == 1
            })
            .await;
        scene
            .patch("waits", &json!({"spec": {"suspend": true}}))
            .await;
        let status = scene
            .until("waits", "it is suspended", |status| {
                status.holds(condition::SUSPENDED)
            })
            .await;
        assert_eq!(
            (status.job_status, status.failure),
            (Phase::Suspended, None)
        );
        scene
            .eventually("nothing of it is left", async || {
                scene.left_of("waits").await.is_empty()
            })
            .await;
        scene.cues.give("end");
        scene
            .patch("waits", &json!({"spec": {"suspend": false}}))
            .await;
        let status = scene.completes("waits").await;
        assert_eq!(
            (status.attempt, status.retries),
            (2, Default::default()),
            "{status:#?}"
        );
    });
}

/// Twelve results that are made at once and kept while the number of workers changes, then added up.
const KEEPS: &str = "
from dask.distributed import Client

import work
from cue import tell, wait_for

client = Client()
kept = client.map(work.counted, range(12))
client.gather(client.map(work.identity, kept))
tell('first')
wait_for('more')
client.gather(client.map(work.slow, range(100, 124)))
tell('second')
wait_for('end')
assert sum(client.gather(kept)) == 66
";

const KEPT: &str = "
import time

from cue import tell


def counted(number):
    tell('counted', number)
    return number


def slow(number):
    time.sleep(0.2)
    return number


def identity(number):
    return number
";

/// Nothing before the operator has counted: a program may be quicker than that.
fn default_group(status: &JobStatus) -> (u32, u32, usize) {
    let group = status.workers.groups.first().cloned().unwrap_or_default();
    (group.desired, group.ready, group.retiring.len())
}

#[test]
fn workers_come_and_go_during_work_and_no_result_is_computed_twice() {
    with_operator("scale", async |scene| {
        let mut scaled = job(scene, "scaled", KEEPS);
        scaled["spec"]["job"]["files"]["work.py"] = json!(KEPT);
        scene.submit(&scaled).await;
        scene
            .eventually("the results are there", async || {
                !scene.cues.told("first").is_empty()
            })
            .await;
        for (count, word) in [(4, "more"), (2, "end")] {
            let replicas = format!("--replicas={count}");
            let scale = [
                "scale",
                "daskjob/scaled",
                &replicas,
                "-n",
                scene.namespace(),
            ];
            scene.cluster.kubectl(&scale, "").expect_success();
            scene
                .until(
                    "scaled",
                    "there are as many workers as asked for",
                    |status| default_group(status) == (count, count, 0),
                )
                .await;
            if word == "end" {
                scene
                    .eventually("the pods of the others are gone", async || {
                        scene.pods("scaled", Role::Worker).await.len() == 2
                    })
                    .await;
            }
            scene.cues.give(word);
            if word == "more" {
                scene
                    .eventually("all four have worked", async || {
                        !scene.cues.told("second").is_empty()
                    })
                    .await;
            }
        }
        let status = scene.completes("scaled").await;
        assert_eq!((status.attempt, status.workers.lost), (1, 0));
        let counted = scene.cues.told("counted");
        assert_eq!(counted.len(), 12, "each was computed once: {counted:?}");
    });
}

/// Work for many workers, and when it is done a while without any.
const ADAPTS: &str = "
from dask.distributed import Client

import work
from cue import tell, wait_for

client = Client()
many = client.map(work.long, range(40))
client.gather(many)
del many
tell('idle')
wait_for('end')
";

const LONG: &str = "
import time

from cue import wait_for


def long(number):
    wait_for('work')
    time.sleep(0.05)
    return number
";

#[test]
#[ignore = "a target falls slowly"]
fn a_group_with_a_maximum_follows_the_work_up_and_down() {
    with_operator("adaptive", async |scene| {
        let mut adapts = job(scene, "adapts", ADAPTS);
        adapts["spec"]["job"]["files"]["work.py"] = json!(LONG);
        adapts["spec"]["workers"]["minimum"] = json!(1);
        adapts["spec"]["workers"]["maximum"] = json!(3);
        scene.submit(&adapts).await;
        scene
            .until("adapts", "there are as many workers as may be", |status| {
                let groups = &status.workers.groups;
                !groups.is_empty() && default_group(status) == (3, 3, 0)
            })
            .await;
        scene.cues.give("work");
        scene
            .eventually("the work is done", async || {
                !scene.cues.told("idle").is_empty()
            })
            .await;
        scene
            .until("adapts", "there are as few as may be", |status| {
                default_group(status) == (1, 1, 0)
            })
            .await;
        let resource = scene.resource("adapts").await.expect("it is there");
        assert_eq!(
            resource["spec"]["workers"]["numberOfWorkers"], 1,
            "the manifest stays as it was"
        );
        scene.cues.give("end");
        let status = scene.completes("adapts").await;
        assert_eq!(status.workers.lost, 0);
    });
}
