//! Programs that fail, and what the job says of it.

use contract::Role;
use contract::status::{FailureClass, reason};
use serde_json::json;

use crate::jobs::{ADDS, job};
use crate::scene::with_operator;

const FAILS: &str = "
import sys
print('about to fail')
sys.exit('it cannot be done')
";

#[test]
fn a_program_that_fails_fails_the_job_with_its_last_words() {
    with_operator("fails", async |scene| {
        let mut fails = job(scene, "fails", FAILS);
        fails["spec"]["ttlSecondsAfterFinished"] = json!(600);
        scene.submit(&fails).await;
        let failure = scene.fails("fails").await;
        assert_eq!(
            (failure.class, failure.reason.as_str(), failure.exit_code),
            (FailureClass::Application, reason::NON_ZERO_EXIT, Some(1))
        );
        let log = failure.log.expect("the log says more");
        assert!(log.contains("it cannot be done"), "{log}");
        // The runner's pod is the record.
        assert!(scene.log("fails-1-runner").contains("about to fail"));
        let described = ["describe", "daskjob", "fails", "-n", scene.namespace()];
        let described = scene.cluster.kubectl(&described, "").expect_success();
        for told in ["it cannot be done", "NonZeroExit", "AttemptStarted"] {
            assert!(described.contains(told), "{told} is not in {described}");
        }
    });
}

/// Fails in the first attempt only.
const FAILS_ONCE: &str = "
import os
from dask.distributed import Client

with Client() as client:
    assert client.submit(sum, [1, 2]).result() == 3
assert os.environ['DASKJOB_ATTEMPT'] == '2', 'not yet'
";

#[test]
fn a_failed_attempt_is_followed_by_another_with_a_cluster_of_its_own() {
    with_operator("again", async |scene| {
        let mut again = job(scene, "again", FAILS_ONCE);
        again["spec"]["backoffLimit"] = json!(1);
        scene.submit(&again).await;
        let waits = scene
            .until("again", "an attempt has failed", |status| {
                status.retry_at.is_some()
            })
            .await;
        let failure = waits.failure.expect("it says why");
        assert_eq!(failure.class, FailureClass::Application);
        let status = scene.completes("again").await;
        assert_eq!(
            (status.attempt, status.retries.application),
            (2, 1),
            "{status:#?}"
        );
    });
}

#[test]
#[ignore = "the failed program and the second attempt are tested apart"]
fn a_program_that_always_fails_has_no_more_attempts_than_it_may() {
    with_operator("often", async |scene| {
        let mut often = job(scene, "often", FAILS);
        often["spec"]["backoffLimit"] = json!(1);
        scene.submit(&often).await;
        let failure = scene.fails("often").await;
        assert_eq!(failure.class, FailureClass::Application);
        assert_eq!(scene.status("often").await.attempt, 2);
    });
}

const TAKES_MEMORY: &str = "
held = []
while True:
    held.append(b'x' * (16 << 20))
";

#[test]
fn a_program_that_runs_out_of_memory_says_so() {
    with_operator("runner-memory", async |scene| {
        let mut greedy = job(scene, "greedy", TAKES_MEMORY);
        greedy["spec"]["job"]["limits"] = json!({"memory": "192Mi"});
        scene.submit(&greedy).await;
        let failure = scene.fails("greedy").await;
        assert_eq!(
            (failure.class, failure.role, failure.reason.as_str()),
            (
                FailureClass::OutOfMemory,
                Role::Runner,
                reason::OUT_OF_MEMORY
            ),
            "{failure:#?}"
        );
    });
}

const TASK_TAKES_MEMORY: &str = "
from dask.distributed import Client
import work

client = Client()
client.submit(work.greedy, key='takes-much').result()
";

const GREEDY: &str = "
def greedy():
    return len([b'x' * (16 << 20) for _ in range(64)])
";

#[test]
fn a_task_that_takes_its_workers_memory_is_named_as_the_cause() {
    with_operator("worker-memory", async |scene| {
        let mut greedy = job(scene, "greedy", TASK_TAKES_MEMORY);
        greedy["spec"]["job"]["files"]["work.py"] = json!(GREEDY);
        greedy["spec"]["scheduler"] = json!({"env": [
            {"name": "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "value": "0"},
        ]});
        greedy["spec"]["workers"]["limits"] = json!({"memory": "320Mi"});
        scene.submit(&greedy).await;
        let failure = scene.fails("greedy").await;
        assert_eq!(
            (failure.class, failure.role, failure.reason.as_str()),
            (
                FailureClass::OutOfMemory,
                Role::Worker,
                reason::OUT_OF_MEMORY
            ),
            "{failure:#?}"
        );
        // The kernel's figures and the worker's word for what it ran.
        let memory = failure.memory.expect("there are figures");
        assert_eq!(memory.limit_bytes, Some(320 << 20), "{failure:#?}");
        for told in ["320 MiB", "while it ran takes-much"] {
            assert!(failure.message.contains(told), "{failure:#?}");
        }
        let log = failure.log.expect("the program's words");
        assert!(log.contains("KilledWorker"), "{log}");
    });
}

#[test]
fn a_command_that_is_not_in_the_image_is_named() {
    with_operator("command", async |scene| {
        let mut nowhere = job(scene, "nowhere", ADDS);
        nowhere["spec"]["job"]["command"] = json!(["no-such-program"]);
        scene.submit(&nowhere).await;
        let failure = scene.fails("nowhere").await;
        assert_eq!(failure.exit_code, Some(127), "{failure:#?}");
        assert!(failure.message.contains("no-such-program"), "{failure:#?}");
    });
}
