//! An operator that is killed and comes back, again and again, while a job lives.

use contract::Role;
use contract::status::{JobStatus, Phase, condition};

use crate::jobs::{WAITS, job};
use crate::scene::{Scene, with_operator};

/// Lets a job come to a point, and ends the operator there as a crash does.
async fn killed_when(scene: &mut Scene<'_>, what: &str, so: impl AsyncFnMut(&Scene<'_>) -> bool) {
    let mut so = so;
    let shared: &Scene<'_> = scene;
    shared.eventually(what, async || so(shared).await).await;
    scene.kill_operator();
    scene.start_operator();
}

async fn has(scene: &Scene<'_>, role: Role) -> bool {
    !scene.pods("waits", role).await.is_empty()
}

async fn says(scene: &Scene<'_>, so: impl Fn(&JobStatus) -> bool) -> bool {
    so(&scene.status("waits").await)
}

#[test]
fn an_operator_that_is_killed_at_ten_moments_runs_the_job_once() {
    with_operator("kills", async |scene| {
        scene.submit(&job(scene, "waits", WAITS)).await;
        killed_when(scene, "it is submitted", async |_| true).await;
        killed_when(scene, "the attempt is stored", async |scene| {
            says(scene, |status| status.attempt == 1).await
        })
        .await;
        killed_when(scene, "there is a service", async |scene| {
            !scene.left_of("waits").await.is_empty()
        })
        .await;
        for role in [Role::Scheduler, Role::Runner, Role::Worker] {
            killed_when(scene, "there is a pod of this role", async |scene| {
                has(scene, role).await
            })
            .await;
        }
        killed_when(scene, "the program has begun", async |scene| {
            !scene.cues.told("begun").is_empty()
        })
        .await;
        killed_when(scene, "the job runs", async |scene| {
            says(scene, |status| status.job_status == Phase::Running).await
        })
        .await;
        scene.cues.give("end");
        killed_when(scene, "the program has ended", async |scene| {
            let runner = scene.pods("waits", Role::Runner).await;
            runner[0]["status"]["phase"] == "Succeeded"
        })
        .await;
        killed_when(scene, "the end is stored", async |scene| {
            says(scene, |status| status.holds(condition::COMPLETE)).await
        })
        .await;
        let status = scene.completes("waits").await;
        assert_eq!((status.attempt, status.workers.lost), (1, 0), "{status:#?}");
        assert_eq!(scene.cues.told("begun").len(), 1, "the program ran once");
    });
}
