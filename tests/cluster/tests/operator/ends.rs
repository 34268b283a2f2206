//! How jobs end otherwise than by their program: deleted, cancelled, late, idle; and what goes when.

use std::time::Duration;

use cluster::within;
use contract::status::{FailureClass, Phase, condition, reason};
use contract::{Role, labels};
use serde_json::json;

use crate::jobs::{ADDS, WAITS, job};
use crate::scene::{Scene, with_operator};

/// Where a job is when it is deleted.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Submitted,
    SchedulerMade,
    RunnerMade,
    WorkerMade,
    Running,
    WaitingToRetry,
    Suspended,
    Complete,
}

async fn reaches(scene: &Scene<'_>, job: &str, stage: Stage) {
    let has = async |role: Role| !scene.pods(job, role).await.is_empty();
    scene
        .eventually("the stage is reached", async || match stage {
            Stage::Submitted => true,
            Stage::SchedulerMade => has(Role::Scheduler).await,
            Stage::RunnerMade => has(Role::Runner).await,
            Stage::WorkerMade => has(Role::Worker).await,
            Stage::Running => scene.status(job).await.job_status == Phase::Running,
            Stage::WaitingToRetry => scene.status(job).await.retry_at.is_some(),
            Stage::Suspended => scene.status(job).await.holds(condition::SUSPENDED),
            Stage::Complete => scene.status(job).await.holds(condition::COMPLETE),
        })
        .await;
}

async fn is_deleted_at(scene: &Scene<'_>, stage: Stage) {
    let mut deleted = match stage {
        Stage::Complete => job(scene, "deleted", ADDS),
        Stage::WaitingToRetry => job(scene, "deleted", "raise SystemExit(1)"),
        _ => job(scene, "deleted", WAITS),
    };
    deleted["spec"]["backoffLimit"] = json!(3);
    deleted["spec"]["suspend"] = json!(matches!(stage, Stage::Suspended));
    scene.submit(&deleted).await;
    reaches(scene, "deleted", stage).await;
    scene.delete("deleted").await;
    scene.is_gone("deleted").await;
}

#[test]
fn a_running_job_that_is_deleted_leaves_nothing() {
    with_operator("delete", async |scene| {
        is_deleted_at(scene, Stage::Running).await;
    });
}

#[test]
#[ignore = "many stages"]
fn a_job_that_is_deleted_at_any_stage_leaves_nothing() {
    with_operator("deletes", async |scene| {
        for stage in [
            Stage::Submitted,
            Stage::SchedulerMade,
            Stage::RunnerMade,
            Stage::WorkerMade,
            Stage::WaitingToRetry,
            Stage::Suspended,
            Stage::Complete,
        ] {
            is_deleted_at(scene, stage).await;
        }
    });
}

#[test]
fn a_cancelled_job_keeps_its_record() {
    with_operator("cancel", async |scene| {
        scene.submit(&job(scene, "waits", WAITS)).await;
        reaches(scene, "waits", Stage::RunnerMade).await;
        let cancel = json!({"metadata": {"annotations": {labels::CANCEL: "no longer needed"}}});
        scene.patch("waits", &cancel).await;
        let failure = scene.fails("waits").await;
        assert_eq!(
            (failure.class, failure.reason.as_str()),
            (FailureClass::Cancelled, reason::CANCELLED)
        );
        assert!(failure.message.contains("no longer needed"), "{failure:?}");
    });
}

#[test]
fn a_job_that_takes_too_long_is_ended_and_its_record_goes_in_time() {
    with_operator("late", async |scene| {
        let mut late = job(scene, "late", WAITS);
        late["spec"]["activeDeadlineSeconds"] = json!(10);
        late["spec"]["ttlSecondsAfterFinished"] = json!(4);
        scene.submit(&late).await;
        let status = scene
            .until("late", "it is over", |status| status.finished().is_some())
            .await;
        let failure = status.failure.expect("it says why");
        assert_eq!(
            (failure.class, failure.reason.as_str()),
            (FailureClass::Deadline, reason::ACTIVE_DEADLINE_EXCEEDED),
            "{failure:#?}"
        );
        scene.is_gone("late").await;
    });
}

#[test]
#[ignore = "it waits for a time-out"]
fn an_interactive_cluster_ends_when_it_was_idle_for_long() {
    with_operator("idle", async |scene| {
        let mut idle = job(scene, "idle", "");
        let spec = idle["spec"].as_object_mut().expect("a map");
        spec.remove("job");
        spec.insert("idleTimeoutSeconds".to_owned(), json!(8));
        scene.submit(&idle).await;
        let running = scene
            .until("idle", "a client could connect", |status| {
                status.job_status == Phase::Running
            })
            .await;
        assert!(running.scheduler_address.is_some(), "{running:#?}");
        let status = scene.completes("idle").await;
        let complete = status
            .conditions
            .iter()
            .find(|known| known.type_ == condition::COMPLETE);
        assert_eq!(complete.expect("it is complete").reason, reason::IDLE);
    });
}

#[test]
fn without_an_operator_no_container_of_a_finished_job_goes_on() {
    with_operator("orphan", async |scene| {
        scene.submit(&job(scene, "waits", WAITS)).await;
        scene
            .eventually("the program has begun", async || {
                !scene.cues.told("begun").is_empty()
            })
            .await;
        scene.kill_operator();
        scene.cues.give("end");
        let over = async || {
            let runner = scene.pods("waits", Role::Runner).await;
            runner[0]["status"]["phase"] == "Succeeded"
        };
        scene.eventually("the program has ended", over).await;
        let quiet = within(Duration::from_secs(60), async || {
            !scene.runs_anything("waits").await
        });
        assert!(quiet.await, "after a minute something of it still runs");
        // Whoever comes back finds the evidence and takes the objects away.
        scene.start_operator();
        scene.completes("waits").await;
    });
}

#[test]
#[ignore = "it changes what no manifest can: the time that a runner waits"]
fn a_runner_whose_scheduler_never_comes_and_whose_operator_is_gone_gives_up() {
    with_operator("abandoned", async |scene| {
        let mut abandoned = job(scene, "abandoned", ADDS);
        abandoned["spec"]["scheduler"] = json!({"image": "localhost/no/such:1"});
        scene.submit(&abandoned).await;
        let waits = async || {
            let runners = scene.pods("abandoned", Role::Runner).await;
            let states = runners
                .iter()
                .map(|pod| &pod["status"]["containerStatuses"][0]["state"]);
            states.into_iter().any(|state| state["running"].is_object())
        };
        scene.eventually("the runner waits", waits).await;
        let mut runner = scene.pods("abandoned", Role::Runner).await.remove(0);
        scene.kill_operator();
        // The same pod, but for a week that has become three seconds.
        let words = runner["spec"]["containers"][0]["command"].as_array_mut();
        let words = words.expect("a command is a list");
        let flag = words.iter().position(|word| word == "--scheduler-timeout");
        words[flag.expect("the runner has a bound") + 1] = json!("3");
        let mut spec = runner["spec"].take();
        spec["nodeName"].take();
        let copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "given-up"}, "spec": spec});
        let path = format!("/api/v1/namespaces/{}/pods", scene.namespace());
        let taken = scene.cluster.send("POST", &path, &copy).await;
        taken.expect("the pod is taken");
        let mut last = json!(null);
        let gives_up = async || {
            let pod = scene
                .cluster
                .send("GET", &format!("{path}/given-up"), &json!({}))
                .await;
            last = pod.expect("it is there")["status"].take();
            last["phase"] == "Failed"
        };
        scene.eventually("it gives up", gives_up).await;
        let ended = &last["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["exitCode"], 70, "{last:#}");
        let said = ended["message"].as_str().unwrap_or_default();
        for told in ["did not answer within 3 s", "SchedulerLost"] {
            assert!(said.contains(told), "{told}: {last:#}");
        }
    });
}
