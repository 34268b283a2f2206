//! Watches that break off in the middle of every life, at every message.

use crate::lives::lives;
use crate::watches::Cut;
use crate::world::World;

/// Jobs, pods, Services, ConfigMaps, NetworkPolicies.
const WATCHES: u32 = 5;

async fn cut_everywhere(cut: Cut) {
    let (mut lived, mut met) = (0, 0);
    for life in lives() {
        let messages = life.live(&[]).await.server.messages();
        for at in 0..messages {
            println!("{} with {cut:?} instead of message {at}", life.name);
            let mut world = World::new(life.spec);
            world.server.set_cut(at, cut);
            if cut == Cut::OnlyBookmarks {
                // Nobody can know what is kept from them.
                world.server.storage().patience_seconds = 300;
            }
            world.start_operator();
            life.live_in(&mut world).await;
            life.assert_ended(&world, &format!("{cut:?} instead of message {at}"));
            world
                .until("everything is watched", |world| {
                    world.server.watches() == WATCHES
                })
                .await;
            lived += 1;
            met += u32::from(world.server.messages() > at);
        }
    }
    assert!(met * 10 >= lived * 9, "{met} of {lived} were interrupted");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_changes_no_end() {
    cut_everywhere(Cut::Reset).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_within_a_message_changes_no_end() {
    cut_everywhere(Cut::HalfALineAndReset).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_within_a_message_changes_no_end() {
    cut_everywhere(Cut::HalfALineAndTheEnd).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_told_to_begin_anew_changes_no_end() {
    cut_everywhere(Cut::Gone).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_be_opened_where_it_ended_begins_anew() {
    cut_everywhere(Cut::GoneWhenOpened).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_with_a_bookmark_goes_on_from_there() {
    cut_everywhere(Cut::BookmarkAndTheEnd).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_keeps_everything_back_until_it_ends_changes_no_end() {
    cut_everywhere(Cut::OnlyBookmarks).await;
}
