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
