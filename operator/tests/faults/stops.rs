//! An operator that stops at any call, and another that goes on.

use crate::lives::{Life, lives};
use crate::server::Fault;
use crate::world::World;

/// Every call of every undisturbed life, with how many there are.
async fn each_life(mut look: impl AsyncFnMut(&Life, u32)) {
    for life in lives() {
        let world = life.live(&[]).await;
        life.assert_ended(&world, "undisturbed");
        look(&life, world.server.calls()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_undisturbed_life_costs_what_it_may() {
    for life in lives() {
        let mut world = life.live(&[]).await;
        life.assert_ended(&world, "undisturbed");
        let (writes, repeated) = {
            let storage = world.server.storage();
            (storage.writes, storage.repeated_deletes)
        };
        assert_eq!(repeated, 0, "{}: an object is deleted once", life.name);
        if ["success", "failure", "with files"].contains(&life.name) {
            let pods = if life.name == "with files" { 3 } else { 4 };
            let spent = writes.creates + writes.patches + writes.status;
            assert!(spent <= pods + 8, "{}: {writes:?}", life.name);
        }
        rests(&mut world, life.name).await;
    }
}

/// The same operator, and one that knows nothing, write nothing more.
async fn rests(world: &mut World, name: &str) {
    let before = world.server.storage().writes;
    world.seconds(40).await;
    assert_eq!(world.server.storage().writes, before, "{name}: at rest");
    world.kill_operators();
    world.start_operator();
    world.seconds(40).await;
    let after = world.server.storage().writes;
    assert_eq!(after, before, "{name}: at rest, another operator");
}

#[tokio::test(start_paused = true)]
async fn a_running_job_at_rest_is_not_written_to() {
    let mut world = World::new(crate::world::JOB);
    world.start_operator();
    world
        .until("it runs", |world| world.runs(1) && world.workers() == 2)
        .await;
    world.seconds(15).await;
    let before = world.server.storage().writes;
    world.seconds(120).await;
    world.kill_operators();
    world.start_operator();
    world.seconds(60).await;
    assert_eq!(world.server.storage().writes, before);
}

async fn stops_everywhere(takes_effect: bool) {
    let (mut lived, mut restarts) = (0, 0);
    each_life(async |life, calls| {
        for at in 0..calls + 2 {
            let world = life.live(&[(at, Fault::Stop { takes_effect })]).await;
            let told = format!("stopped at call {at}, effect {takes_effect}");
            life.assert_ended(&world, &told);
            assert!(world.restarts <= 1, "{told}");
            lived += 1;
            restarts += world.restarts;
        }
    })
    .await;
    // The last calls of some lives come only if something else took its time.
    assert!(
        restarts * 10 >= lived * 8,
        "{restarts} of {lived} were stopped"
    );
}

#[tokio::test(start_paused = true)]
async fn a_life_ends_the_same_where_the_operator_stops_before_a_call() {
    stops_everywhere(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_life_ends_the_same_where_the_operator_stops_after_a_call() {
    stops_everywhere(true).await;
}
