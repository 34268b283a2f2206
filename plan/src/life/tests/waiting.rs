//! What a start waits for, and how long.

use super::{JOB, World};
use crate::life::{Creating, ObjectKind, RefusedCreate, Waiting, WhyRefused};
use contract::Role;
use contract::status::{ConditionStatus, FailureClass, Phase, condition, reason};

fn refused(name: &str, why: WhyRefused) -> RefusedCreate {
    RefusedCreate {
        kind: ObjectKind::Pod,
        name: name.to_owned(),
        role: Some(Role::Worker),
        why,
        message: "exceeded quota: team, requested: cpu=1, used: cpu=4, limited: cpu=4".to_owned(),
    }
}

#[test]
fn a_quota_is_waited_for_and_named() {
    let mut world = World::new(JOB);
    let name = "etl-1-worker-default-1";
    world
        .refuses
        .insert(name.to_owned(), refused(name, WhyRefused::Quota));
    let plan = world.reconcile();
    assert_eq!(plan.again_at, Some(world.now.plus(10)), "it is tried again");
    let ready = world.condition(condition::CLUSTER_READY);
    assert_eq!(
        (ready.status, ready.reason.as_str()),
        (ConditionStatus::False, reason::QUOTA_EXCEEDED)
    );
    assert!(ready.message.contains(name) && ready.message.contains("exceeded quota"));
    world.refuses.clear();
    world.settle();
    assert_eq!(
        world.condition(condition::CLUSTER_READY).status,
        ConditionStatus::True
    );
}

#[test]
fn a_pod_the_server_does_not_take_ends_the_job() {
    let mut world = World::new(JOB);
    let name = "etl-1-worker-default-0";
    world
        .refuses
        .insert(name.to_owned(), refused(name, WhyRefused::Invalid));
    world.reconcile();
    world.refuses.clear();
    world.settle();
    assert_eq!(
        (world.phase(), world.reason()),
        (Phase::Failed, reason::POD_REFUSED)
    );
    world.assert_torn_down();
}

#[test]
fn an_image_that_does_not_come_is_waited_for_until_the_deadline() {
    let mut world = World::new("{job: {command: [a]}, startDeadlineSeconds: 120}");
    world.reconcile();
    world.pod("etl-1-worker-default-0").waiting = Some(Waiting {
        reason: "ImagePullBackOff".to_owned(),
        message: Some("Back-off pulling image \"nope\"".to_owned()),
    });
    world.settle();
    let ready = world.condition(condition::CLUSTER_READY);
    assert_eq!(ready.reason, reason::IMAGE_UNAVAILABLE);
    assert!(ready.message.contains("nope"));
    world.passes(120);
    world.settle();
    assert_eq!(
        (world.phase(), world.reason()),
        (Phase::Failed, reason::START_DEADLINE_EXCEEDED)
    );
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(failure.class, FailureClass::Image);
    assert!(failure.message.contains("nope"), "{}", failure.message);
    world.assert_torn_down();
}

#[test]
fn a_deadline_before_the_kubelet_speaks_of_an_image_names_it() {
    for (only_image_is_missing, class) in
        [(true, FailureClass::Image), (false, FailureClass::Deadline)]
    {
        let mut world = World::new("{job: {command: [a]}, startDeadlineSeconds: 10}");
        world.reconcile();
        let worker = world.pod("etl-1-worker-default-0");
        worker.creating = Some(Creating {
            image: "example.com/nope:1".to_owned(),
            only_image_is_missing,
        });
        world.settle();
        let ready = world.condition(condition::CLUSTER_READY);
        assert_eq!(ready.reason, reason::STARTING, "so is every start");
        world.passes(10);
        world.settle();
        let failure = world.job.status.failure.as_ref().unwrap();
        assert_eq!(failure.class, class);
        assert!(
            failure.message.contains("etl-1-worker-default-0")
                && failure.message.contains("example.com/nope:1"),
            "{}",
            failure.message
        );
    }
}

#[test]
fn a_deadline_that_is_raised_while_the_job_waits_holds_for_it() {
    let mut world = World::new("{job: {command: [a]}, startDeadlineSeconds: 60}");
    world.reconcile();
    let waits = Some(Waiting {
        reason: "ImagePullBackOff".to_owned(),
        message: None,
    });
    world.pod("etl-1-worker-default-0").waiting = waits;
    world.passes(50);
    world.settle();
    world.edit("{job: {command: [a]}, startDeadlineSeconds: 600}");
    world.passes(500);
    world.settle();
    assert_eq!(world.phase(), Phase::Starting);
    world.pod("etl-1-worker-default-0").waiting = None;
    world.settle();
    assert_eq!(
        (world.phase(), world.job.status.attempt),
        (Phase::Running, 1)
    );
}

#[test]
fn a_node_that_is_missing_is_named() {
    let mut world = World::new(JOB);
    world.reconcile();
    for name in ["etl-1-worker-default-0", "etl-1-worker-default-1"] {
        world.pod(name).unschedulable =
            Some("0/1 nodes are available: 1 Insufficient cpu.".to_owned());
    }
    world.settle();
    let ready = world.condition(condition::CLUSTER_READY);
    assert_eq!(ready.reason, reason::UNSCHEDULABLE);
    assert!(ready.message.contains("and 1 more") && ready.message.contains("Insufficient cpu"));
}

#[test]
fn the_whole_life_has_a_deadline_also_between_attempts() {
    let mut world = World::new("{job: {command: [a]}, backoffLimit: 9, activeDeadlineSeconds: 60}");
    world.settle();
    world.ends("etl-1-runner", 1);
    world.settle();
    world.passes(8);
    world.settle();
    let again = world.reconcile().again_at.unwrap();
    assert!(again <= world.now.plus(60));
    world.passes(60);
    world.settle();
    assert_eq!(
        (world.phase(), world.reason()),
        (Phase::Failed, reason::ACTIVE_DEADLINE_EXCEEDED)
    );
}

#[test]
fn without_a_deadline_there_is_nothing_to_look_again_for() {
    let mut world = World::new(JOB);
    world.settle();
    assert_eq!(world.reconcile().again_at, None);
}

#[test]
fn a_scheduler_that_cannot_be_asked_holds_nothing_up() {
    let mut world = World::new(JOB);
    world.answers = false;
    world.settle();
    assert_eq!(world.phase(), Phase::Running);
    assert_eq!(
        world.job.status.workers.ready, 2,
        "running counts where nobody can be asked"
    );
    world.edit("{job: {command: [python, main.py], files: {main.py: 'pass'}}, workers: {numberOfWorkers: 1}}");
    world.settle();
    assert!(
        world.pods.values().all(|pod| !pod.deleting),
        "nobody is killed with its results"
    );
}
