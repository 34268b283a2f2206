//! Two replicas and one Lease, which changes hands in the middle of a life and comes back.
//!
//! Who has lost it goes on until its next word to the Lease, so both act for a while: that too is part of it.

use crate::lives::{Life, lives};
use crate::server::Fault;
use crate::world::World;

/// The second leads for so long, at most.
const LONGEST_REIGN_SECONDS: u32 = 25;

async fn live(life: &Life, at: u32) -> World {
    println!("{}, the Lease runs out at call {at}", life.name);
    let mut world = World::new(life.spec);
    world.set_faults(&[(at, Fault::LeaseRunsOut)]);
    world.replicas.reign_seconds = at * 7 % LONGEST_REIGN_SECONDS;
    world.start_first_replica();
    life.live_in(&mut world).await;
    life.assert_ended(&world, &format!("another operator from call {at} on"));
    world
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_goes_to_another_operator_and_comes_back_changes_no_end() {
    let (mut lived, mut lost, mut regained) = (0, 0, 0);
    for life in lives() {
        let calls = life.live(&[]).await.server.calls();
        for at in 0..calls {
            let mut world = live(&life, at).await;
            // What has ended is left alone by whoever leads.
            world.seconds(60).await;
            life.assert_ended(&world, "at rest");
            let (holder, transitions) = world.server.storage().lease();
            lived += 1;
            lost += u32::from(transitions >= 2);
            regained += u32::from(transitions >= 3 && holder.as_deref() == Some("first"));
        }
    }
    // Everything is listed before anybody leads: there was nothing to lose at those calls.
    assert!(
        lost * 10 >= lived * 7 && regained * 10 >= lived * 7,
        "of {lived} leaders {lost} lost the Lease and {regained} had it again"
    );
}
