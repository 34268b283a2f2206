//! An API server that has its own trouble, watches that lag, and operators that overlap.

use crate::lives::lives;
use crate::server::Fault;
use crate::world::{JOB, World};
use contract::status::Phase;
use std::time::Duration;

async fn fails_everywhere(fault: Fault) {
    for life in lives() {
        let calls = life.live(&[]).await.server.calls();
        for at in 0..calls {
            let world = life.live(&[(at, fault)]).await;
            life.assert_ended(&world, &format!("{fault:?} at call {at}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_anywhere_changes_no_end() {
    fails_everywhere(Fault::Code(409)).await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_server_anywhere_changes_no_end() {
    fails_everywhere(Fault::Code(429)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_server_anywhere_changes_no_end() {
    fails_everywhere(Fault::Code(500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_fact_changes_no_end() {
    fails_everywhere(Fault::FailsAfterwards).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_changes_no_end() {
    fails_everywhere(Fault::NeverAnswers).await;
}

/// Two faults, drawn from a seed.
#[tokio::test(start_paused = true)]
async fn pairs_of_faults_change_no_end() {
    const FAULTS: [Fault; 6] = [
        Fault::Stop { takes_effect: true },
        Fault::Stop {
            takes_effect: false,
        },
        Fault::Code(409),
        Fault::Code(500),
        Fault::FailsAfterwards,
        Fault::NeverAnswers,
    ];
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut draw = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for life in lives() {
        let calls = u64::from(life.live(&[]).await.server.calls());
        for _ in 0..12 {
            let mut one = || {
                let at = u32::try_from(draw(calls + 8)).unwrap();
                (at, FAULTS[draw(6) as usize])
            };
            let faults = [one(), one()];
            let world = life.live(&faults).await;
            life.assert_ended(&world, &format!("{faults:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn watches_that_lag_behind_change_no_end() {
    for life in lives() {
        for lag_ms in [300, 1_500, 4_000] {
            let mut world = World::new(life.spec);
            world.server.set_lag(Duration::from_millis(lag_ms));
            // What is shown late is noticed late: each message of a watch waits for the one before.
            world.server.storage().patience_seconds = 120;
            world.start_operator();
            life.live_in(&mut world).await;
            life.assert_ended(&world, &format!("{lag_ms} ms behind"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_operators_at_once_change_no_end() {
    for life in lives() {
        let mut world = World::new(life.spec);
        world.start_operator();
        world.start_operator();
        life.live_in(&mut world).await;
        life.assert_ended(&world, "two operators");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_begins_anew() {
    let mut world = World::new(JOB);
    world.start_operator();
    world.until("it runs", |world| world.runs(1)).await;
    {
        let mut storage = world.server.storage();
        storage.oldest = storage.version + 1;
    }
    world.lose("etl-1-worker-default-0");
    world.server.storage().oldest = 0;
    world
        .until("it is replaced", |world| world.workers() == 2)
        .await;
    world.finish(1, 0);
    world.until("it is torn down", World::is_torn_down).await;
    assert_eq!(world.phase(), Phase::Complete);
}

#[tokio::test(start_paused = true)]
async fn a_strangers_object_is_told_and_left_alone() {
    let mut world = World::new(JOB);
    let stranger =
        serde_json::json!({"kind": "Pod", "metadata": {"name": "etl-1-scheduler", "labels": {}}});
    world.server.storage().create("pods", stranger);
    world.start_operator();
    let says_so = |world: &World| {
        let conditions = world.status().conditions;
        conditions
            .iter()
            .any(|known| known.message.contains("not this job's"))
    };
    world.until("the condition says so", says_so).await;
    world.delete_job();
    world
        .until("only the stranger is left", |world| {
            world.owned() == ["pods/etl-1-scheduler"]
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_large_job_does_not_hold_up_a_small_one() {
    let mut world = World::new("{job: {command: [a]}, workers: {numberOfWorkers: 500}}");
    world.server.set_latency(Duration::from_millis(20));
    world.start_operator();
    let many = |world: &World| world.owned().len() > 100;
    world.until("a fifth of the large job is made", many).await;
    assert!(world.owned().len() < 450, "it is still at it");
    world.add_job("small", JOB);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let owned = world.owned();
    assert!(
        owned.contains(&"pods/small-1-runner".to_owned()),
        "{owned:?}"
    );
    let all = |world: &World| world.workers() == 502;
    world.until("all workers run", all).await;
    let writes = world.server.storage().writes;
    // Service, policy, scheduler and runner of both.
    assert_eq!(writes.creates, 502 + 2 * 4, "{writes:?}");
}

/// Services are what an API server is slowest at once pods keep it busy.
#[tokio::test(start_paused = true)]
async fn many_jobs_at_once_have_their_services_before_their_pods() {
    const JOBS: usize = 100;
    let mut world = World::new(JOB);
    for number in 1..JOBS {
        world.add_job(&format!("many-{number}"), JOB);
    }
    world.server.set_latency(Duration::from_millis(20));
    world.start_operator();
    let count = |world: &World, kind: &str| {
        let owned = world.owned();
        owned.iter().filter(|name| name.starts_with(kind)).count()
    };
    while count(&world, "pods/") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // What the last of them wait for is an answer.
    let services = count(&world, "services/");
    assert!(services > JOBS - 20, "{services} of {JOBS}");
    let told = world.server.storage().writes.events;
    assert!(told < 10, "{told} events went before what the jobs need");
    let all = |world: &World| world.workers() == 2 * JOBS;
    world.until("all workers run", all).await;
    let writes = world.server.storage().writes;
    let expected = u32::try_from(JOBS).unwrap() * 6;
    assert_eq!(writes.creates, expected, "{writes:?}");
    // Nobody asked again for what was left in the middle; each of the watches begins with a list.
    let reads = world.server.storage().reads;
    assert!(reads < 10, "{reads}");
    let of_each = u32::try_from(JOBS).unwrap() * 2;
    let told = move |world: &World| world.server.storage().writes.events >= of_each;
    world
        .until("what waited is told: accepted and begun, at least", told)
        .await;
}

/// Pods refused as they are, and a quota that never grows: told, waited for, ended by the deadline.
#[tokio::test(start_paused = true)]
async fn a_quota_that_never_grows_is_ended_by_the_deadline() {
    let mut world = World::new("{job: {command: [a]}, startDeadlineSeconds: 60}");
    world.refuse("etl-1-scheduler", 403, "exceeded quota: small");
    world.start_operator();
    world.until("it is torn down", World::is_torn_down).await;
    let failure = world.status().failure.unwrap();
    assert_eq!(failure.class, contract::status::FailureClass::Quota);
    assert!(failure.message.contains("exceeded quota"), "{failure:?}");
    let owned = world.owned();
    assert!(
        owned.is_empty(),
        "no worker took what the scheduler lacked: {owned:?}"
    );
}

/// As where a webhook is installed and nobody answers it.
#[tokio::test(start_paused = true)]
async fn a_server_that_fails_to_make_a_pod_again_and_again_is_told_in_the_status() {
    let mut world = World::new(JOB);
    let webhook = "failed calling webhook \"pods.example.com\"";
    world.refuse("etl-1-runner", 500, webhook);
    world.start_operator();
    let says_so = |world: &World| {
        let conditions = world.status().conditions;
        conditions.iter().any(|known| {
            known.reason == contract::status::reason::CREATE_FAILED
                && known.message.contains("etl-1-runner")
                && known.message.contains("failed calling webhook")
        })
    };
    world.until("the condition says so", says_so).await;
    let writes = world.server.storage().writes.status;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(says_so(&world), "it goes on being told");
    let more = world.server.storage().writes.status - writes;
    assert!(more <= 1, "{more} more writes say the same");
    world.allow_all();
    world.until("it runs", |world| world.runs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_the_server_does_not_take_fails_the_job_at_once() {
    let mut world = World::new(JOB);
    world.refuse(
        "etl-1-scheduler",
        422,
        "spec.containers[0].image: Required value",
    );
    world.start_operator();
    world.until("it is torn down", World::is_torn_down).await;
    let failure = world.status().failure.unwrap();
    assert_eq!(failure.class, contract::status::FailureClass::Invalid);
    assert!(
        failure.message.contains("spec.containers[0].image"),
        "{failure:?}"
    );
}
