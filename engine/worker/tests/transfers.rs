//! What may happen to a value while it is on its way to a peer: each rule is shown with stock's scheduler and ours.
//!
//! Needs an interpreter with distributed in DASKJOB_PYTHON; says so and passes without.

mod rules;

use rules::rules;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transfers.py");

rules! { RULES:
    a_value_goes_on_to_its_peer_when_the_lock_of_the_interpreter_is_taken_in_the_middle
    a_value_that_is_released_in_the_middle_arrives_whole_and_goes_then
    a_value_that_is_changed_in_the_middle_arrives_with_every_part_old_or_new
    a_peer_that_goes_away_in_the_middle_leaves_nothing_behind
    two_peers_read_one_value_each_at_its_own_pace
    values_of_any_length_pass_through_workers_unchanged
}
