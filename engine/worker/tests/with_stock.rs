//! The program between a real scheduler and a real client, two workers at a time.
//!
//! Needs an interpreter with distributed in DASKJOB_PYTHON; says so and passes without. Where DASKJOB_BIN names our program
//! `daskjob`, every rule is shown with its scheduler too.

mod rules;

use rules::rules;

const DRIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/driver.py");

rules! { DRIVER:
    values_move_between_workers
    large_arrays_arrive_whole
    an_error_reaches_whoever_waits
    a_cancelled_task_that_ends_late_does_not_overwrite_what_has_its_name_by_then
    functions_run_on_every_worker
    nannies_tell_what_the_log_says
    workers_tell_what_they_and_their_tasks_log
    what_plugins_and_functions_do_to_a_nanny_reaches_its_worker
    a_task_of_a_killed_executor_runs_again
    a_task_that_kills_four_executors_is_given_up
    restarting_leaves_workers_with_nothing
    values_beyond_the_limit_go_to_disk_and_come_back
    a_worker_that_is_told_to_end_hands_over_what_only_it_has
}
