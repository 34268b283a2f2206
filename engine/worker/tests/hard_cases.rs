//! What goes wrong around a worker, and what must go well nevertheless: each rule is shown with stock's scheduler and ours.
//!
//! Needs an interpreter with distributed in DASKJOB_PYTHON; says so and passes without. Where DASKJOB_BIN names our program
//! `daskjob`, every rule is shown with its scheduler too. COMPAT_FULL makes what is long longer.

mod rules;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rules::rules;
use std::path::Path;

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hard_cases.py");

rules! { RULES:
    an_executor_that_hangs_in_c_is_replaced_and_its_task_runs_again
    a_killed_executor_is_not_said_to_have_run_out_of_memory
    a_task_that_eats_all_memory_is_given_up_and_the_cause_is_told
    what_the_kernel_kills_for_memory_is_said_to_have_run_out_of_it
    without_a_nanny_a_worker_ends_with_its_executor
    a_worker_with_a_port_of_its_own_comes_back_there
    an_executor_that_dies_while_its_worker_hands_over_is_told_and_waited_for_no_longer
    the_lock_of_the_interpreter_is_held_for_long_while_others_ask_for_values
    a_full_disk_costs_no_value
    what_killed_workers_left_on_disk_goes_and_what_the_living_have_stays
    a_paused_worker_begins_nothing_and_gives_what_it_has
    four_gibibytes_pass_between_workers_of_one
    two_hundred_workers_come_and_go
    what_peers_make_up_harms_nobody_else
    a_peer_that_lies_about_its_values_is_no_source_of_any
    a_task_whose_pickle_cannot_be_read_fails_with_the_reason
    a_result_that_cannot_be_pickled_stays_where_it_is_of_use
    a_preload_that_cannot_be_imported_ends_the_worker_with_its_reason
    what_is_preloaded_in_a_nanny_is_there_before_its_worker
    at_the_end_of_its_lifetime_a_worker_hands_over_and_begins_again
}

#[test]
fn everything_is_encrypted_where_certificates_are_given() {
    let place = tempfile::tempdir().expect("a directory");
    write_certificates(place.path()).expect("certificates");
    let rule = "everything_is_encrypted_where_certificates_are_given";
    let certificates = ("DASKJOB_TEST_CERTIFICATES", place.path());
    rules::show(RULES, rule, &[certificates]);
}

/// One certificate for everybody.
fn write_certificates(place: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "authority of a test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    std::fs::write(place.join("ca.pem"), issuer.pem())?;
    std::fs::write(place.join("cert.pem"), certificate.pem())?;
    std::fs::write(place.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
