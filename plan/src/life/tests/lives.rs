//! Whole lives: success, failure, retry, suspend, cancel, delete, scale.

use super::{INTERACTIVE, JOB, World};
use crate::life::{Create, Time, Waiting};
use contract::Role;
use contract::status::{ConditionStatus, FailureClass, Phase, condition, reason};

fn running(spec: &str) -> World {
    let mut world = World::new(spec);
    world.settle();
    assert_eq!(world.phase(), Phase::Running);
    world
}

#[test]
fn a_job_comes_up_runs_and_leaves_only_its_runner() {
    let mut world = running(JOB);
    assert_eq!(
        world.names(),
        [
            "etl-1-runner",
            "etl-1-scheduler",
            "etl-1-worker-default-0",
            "etl-1-worker-default-1"
        ]
    );
    let status = &world.job.status;
    assert_eq!(
        status.scheduler_address.as_deref(),
        Some("tcp://etl-1-scheduler.team.svc.cluster.local:8786")
    );
    assert_eq!((status.workers.desired, status.workers.ready), (2, 2));
    assert!(status.timeline.all_workers.is_some() && status.timeline.runner_started.is_some());
    world.ends("etl-1-runner", 0);
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.names(), ["etl-1-runner"]);
    assert!(world.job.status.holds(condition::TORN_DOWN));
    world.assert_torn_down();
}

#[test]
fn scheduler_and_runner_are_made_before_any_worker() {
    let mut world = World::new(JOB);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.extend(world.reconcile().create);
    }
    let at = |wanted: &Create| made.iter().position(|create| create == wanted).unwrap();
    let worker = Create::Worker {
        group: "default".to_owned(),
        number: 0,
    };
    assert!(at(&Create::Scheduler) < at(&Create::Runner) && at(&Create::Runner) < at(&worker));
    assert!(at(&Create::NetworkPolicy) < at(&Create::Scheduler));
}

#[test]
fn a_service_leads_to_its_pod_once_that_has_an_address() {
    let mut world = World::new(JOB);
    let selector_of = |world: &mut World| {
        let created = world.reconcile().create;
        let mut selectors = created.into_iter().filter_map(|create| match create {
            Create::Selector { service_name, .. } => Some(service_name),
            _ => None,
        });
        selectors.next()
    };
    for _ in 0..5 {
        assert_eq!(selector_of(&mut world), None);
    }
    world.kubelet();
    assert_eq!(selector_of(&mut world).as_deref(), Some("etl-1-service"));
    assert_eq!(selector_of(&mut world), None);
}

#[test]
fn a_service_that_is_made_anew_leads_to_the_pod_at_once() {
    let mut world = running(JOB);
    world.objects.remove("etl-1-service");
    for _ in 0..3 {
        world.reconcile();
    }
    assert!(world.objects["etl-1-service"].has_selector);
}

#[test]
fn a_life_costs_at_most_eight_writes_beside_its_pods() {
    let mut world = running(JOB);
    world.ends("etl-1-runner", 0);
    world.settle();
    let pods = 4;
    let calls = world.calls;
    let urgent = calls.creates + calls.status_writes - calls.patient_writes;
    assert!(urgent <= pods + 8, "{calls:?}");
    assert!(calls.deletes <= pods + 3, "{calls:?}");
}

#[test]
fn nothing_is_written_for_a_job_at_rest() {
    let mut world = running(JOB);
    let before = world.calls;
    for _ in 0..50 {
        world.passes(7);
        world.reconcile();
    }
    assert_eq!(world.calls.writes(), before.writes());
    world.ends("etl-1-runner", 3);
    world.settle();
    let before = world.calls;
    for _ in 0..50 {
        world.passes(1_000);
        world.reconcile();
    }
    assert_eq!(world.calls, before);
}

#[test]
fn a_program_that_fails_fails_the_job_and_says_how() {
    let mut world = running(JOB);
    world.ends("etl-1-runner", 3);
    world.settle();
    assert_eq!(world.phase(), Phase::Failed);
    let failure = world.job.status.failure.clone().unwrap();
    assert_eq!(
        (failure.role, failure.class, failure.exit_code),
        (Role::Runner, FailureClass::Application, Some(3))
    );
    assert_eq!(failure.pod.as_deref(), Some("etl-1-runner"));
    world.assert_torn_down();
}

#[test]
fn a_failed_program_is_tried_again_with_a_fresh_cluster_as_often_as_allowed() {
    let mut world = running("{job: {command: [a]}, backoffLimit: 1}");
    world.ends("etl-1-runner", 1);
    world.settle();
    assert_eq!(
        world.names(),
        [""; 0],
        "nothing is left of the first attempt"
    );
    assert_eq!(world.phase(), Phase::Starting);
    world.passes(10);
    world.settle();
    assert_eq!(world.job.status.attempt, 2);
    assert_eq!(world.names().len(), 3);
    world.ends("etl-2-runner", 1);
    world.settle();
    assert_eq!(world.phase(), Phase::Failed);
    assert_eq!(world.job.status.retries.application, 1);
    world.assert_torn_down();
}

#[test]
fn a_second_attempt_that_succeeds_completes_the_job() {
    let mut world = running("{job: {command: [a]}, backoffLimit: 1}");
    world.runs_out_of_memory("etl-1-runner");
    world.settle();
    assert_eq!(world.reason(), reason::OUT_OF_MEMORY);
    world.passes(10);
    world.settle();
    world.ends("etl-2-runner", 0);
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.job.status.failure, None);
}

#[test]
fn a_lost_scheduler_costs_an_attempt_of_its_own_bound() {
    let mut world = running(JOB);
    for attempt in 1..=3 {
        world.vanishes(&format!("etl-{attempt}-scheduler"));
        world.settle();
        assert_eq!(world.reason(), reason::POD_DELETED);
        world.passes(400);
        world.settle();
        assert_eq!(
            (world.phase(), world.job.status.attempt),
            (Phase::Running, attempt + 1)
        );
    }
    world.ends("etl-4-scheduler", 1);
    world.settle();
    assert_eq!(world.phase(), Phase::Failed);
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(
        (failure.role, failure.class),
        (Role::Scheduler, FailureClass::SchedulerLost)
    );
    world.assert_torn_down();
}

#[test]
fn a_program_that_shuts_its_cluster_down_may_still_finish() {
    let mut world = running(JOB);
    world.ends("etl-1-scheduler", 0);
    world.settle();
    world.passes(30);
    world.settle();
    assert_eq!(world.phase(), Phase::Running);
    world.ends("etl-1-runner", 0);
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
}

#[test]
fn a_program_that_goes_on_without_its_scheduler_is_ended() {
    let mut world = running(JOB);
    world.ends("etl-1-scheduler", 0);
    world.settle();
    world.passes(61);
    world.reconcile();
    assert_eq!(world.reason(), reason::SCHEDULER_LOST);
}

#[test]
fn a_runner_that_was_deleted_is_an_infrastructure_failure() {
    let mut world = running(JOB);
    world.vanishes("etl-1-runner");
    world.settle();
    assert_eq!(world.job.status.retries.infrastructure, 1);
    world.passes(10);
    world.settle();
    assert_eq!(world.job.status.attempt, 2);
}

#[test]
fn a_lost_worker_is_replaced_under_a_new_number() {
    let mut world = running(JOB);
    world.vanishes("etl-1-worker-default-0");
    world.settle();
    world.ends("etl-1-worker-default-1", 1);
    world.settle();
    let workers: Vec<&str> = world
        .names()
        .into_iter()
        .filter(|name| name.contains("worker"))
        .collect();
    assert_eq!(
        workers,
        [
            "etl-1-worker-default-1",
            "etl-1-worker-default-2",
            "etl-1-worker-default-3"
        ]
    );
    assert_eq!(world.job.status.workers.lost, 2);
    assert_eq!(world.phase(), Phase::Running);
}

#[test]
fn workers_that_keep_dying_are_replaced_ever_slower_and_then_end_the_job() {
    let mut world = running("{job: {command: [a]}, workers: {numberOfWorkers: 1}}");
    let started = world.now;
    while world.phase() == Phase::Running {
        let alive = world
            .names()
            .into_iter()
            .find(|name| name.contains("worker") && !world.pods[*name].is_over());
        if let Some(name) = alive.map(str::to_owned) {
            world.ends(&name, 1);
        }
        world.settle();
        world.passes(5);
        assert!(world.now.since(started) < 10_000, "it must end");
    }
    assert_eq!(world.reason(), reason::WORKERS_LOST);
    assert!(world.now.since(started) > 300, "it gave them time");
}

#[test]
fn killed_workers_are_the_cause_where_dask_blames_them() {
    let mut world = running(JOB);
    world.runs_out_of_memory("etl-1-worker-default-0");
    world.settle();
    assert_eq!(
        world.phase(),
        Phase::Running,
        "a lost worker is no failure of the job"
    );
    world.ends("etl-1-runner", 1);
    if let crate::life::Container::Terminated(ended) = &mut world.pod("etl-1-runner").container {
        ended.message =
            Some("distributed.scheduler.KilledWorker: Attempted to run task 'x'".to_owned());
    }
    world.settle();
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(
        (failure.role, failure.class),
        (Role::Worker, FailureClass::OutOfMemory)
    );
    assert!(failure.log.as_ref().unwrap().contains("KilledWorker"));
}

#[test]
fn what_a_worker_says_of_its_memory_is_in_the_failure_with_figures_and_task() {
    let mut world = blames_its_workers();
    let name = "etl-1-worker-default-0";
    world.ends(name, 137);
    if let crate::life::Container::Terminated(ended) = &mut world.pod(name).container {
        let said = r#"{"class": "OutOfMemory", "reason": "OutOfMemory", "message": "it took 320 of 320 MiB",
            "task": "greedy-1", "memory": {"limitBytes": 320, "peakBytes": 319}}"#;
        ended.message = Some(said.to_owned());
    }
    world.settle();
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(
        (failure.role, failure.class),
        (Role::Worker, FailureClass::OutOfMemory)
    );
    let words = "it took 320 of 320 MiB, while it ran greedy-1; ";
    assert!(failure.message.starts_with(words), "{}", failure.message);
    let memory = failure.memory.unwrap();
    assert_eq!(
        (memory.limit_bytes, memory.peak_bytes),
        (Some(320), Some(319))
    );
}

/// A running job whose program has just ended with Dask's word that the workers are to blame.
fn blames_its_workers() -> World {
    let mut world = running(JOB);
    world.ends("etl-1-runner", 1);
    if let crate::life::Container::Terminated(ended) = &mut world.pod("etl-1-runner").container {
        ended.message = Some("distributed.scheduler.KilledWorker: ...".to_owned());
    }
    world
}

#[test]
fn killed_workers_are_the_cause_also_where_their_end_is_heard_of_later() {
    let mut world = blames_its_workers();
    world.reconcile();
    assert_eq!(world.phase(), Phase::Running, "it waits for word of them");
    world.runs_out_of_memory("etl-1-worker-default-0");
    let made = world.calls.creates;
    world.settle();
    assert_eq!(world.calls.creates, made, "nobody needs another worker");
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(
        (failure.role, failure.class),
        (Role::Worker, FailureClass::OutOfMemory)
    );
}

#[test]
fn workers_that_are_blamed_and_never_end_hold_nothing_up() {
    let mut world = blames_its_workers();
    let again = world.reconcile().again_at.unwrap();
    assert!(again <= world.now.plus(6));
    world.passes(6);
    world.settle();
    let failure = world.job.status.failure.as_ref().unwrap();
    assert_eq!(
        (failure.role, failure.class),
        (Role::Runner, FailureClass::Application)
    );
}

#[test]
fn suspending_takes_the_cluster_away_and_resuming_makes_another() {
    let mut world = running("{job: {command: [a]}, activeDeadlineSeconds: 100}");
    world.passes(90);
    world.edit("{job: {command: [a]}, activeDeadlineSeconds: 100, suspend: true}");
    world.settle();
    assert_eq!(world.phase(), Phase::Suspended);
    assert_eq!(world.names(), [""; 0]);
    assert!(world.objects.is_empty());
    world.passes(1_000);
    world.settle();
    world.edit("{job: {command: [a]}, activeDeadlineSeconds: 100}");
    world.settle();
    assert_eq!(
        (world.phase(), world.job.status.attempt),
        (Phase::Running, 2)
    );
    world.passes(90);
    world.settle();
    assert_eq!(world.phase(), Phase::Running, "the clock began anew");
    world.ends("etl-2-runner", 0);
    world.edit("{job: {command: [a]}, suspend: true}");
    world.settle();
    assert_eq!(world.phase(), Phase::Suspended, "suspend came first");
}

#[test]
fn a_finished_job_ignores_suspend() {
    let mut world = running(JOB);
    world.ends("etl-1-runner", 0);
    world.settle();
    world.edit("{job: {command: [a]}, suspend: true}");
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
}

#[test]
fn a_job_that_begins_suspended_makes_nothing() {
    let mut world = World::new("{job: {command: [a]}, suspend: true}");
    world.settle();
    assert_eq!((world.phase(), world.calls.creates), (Phase::Suspended, 0));
    world.edit("{job: {command: [a]}}");
    world.settle();
    assert_eq!(
        (world.phase(), world.job.status.attempt),
        (Phase::Running, 1)
    );
}

#[test]
fn a_cancelled_job_is_failed_and_torn_down() {
    let mut world = running(JOB);
    world.job.cancelled = Some("by alice".to_owned());
    world.settle();
    assert_eq!(
        (world.phase(), world.reason()),
        (Phase::Failed, reason::CANCELLED)
    );
    assert_eq!(
        world.names(),
        [""; 0],
        "the runner's program ran, so its pod went too"
    );
    world.assert_torn_down();
}

#[test]
fn a_deleted_job_makes_nothing_and_leaves_nothing() {
    let mut world = running(JOB);
    let made = world.calls.creates;
    world.job.deleting = true;
    world.settle();
    assert_eq!(world.calls.creates, made);
    assert!(world.pods.is_empty() && world.objects.is_empty());
}

#[test]
fn a_record_goes_after_its_time() {
    let mut world = running("{job: {command: [a]}, ttlSecondsAfterFinished: 100}");
    world.ends("etl-1-runner", 0);
    world.settle();
    let again = world.reconcile().again_at.unwrap();
    assert!(again > world.now && again <= world.now.plus(100));
    world.now = Time(again.0 - 1);
    world.reconcile();
    assert!(world.job_exists);
    world.now = again;
    world.reconcile();
    assert!(!world.job_exists);
}

#[test]
fn more_workers_are_made_and_fewer_are_retired_never_killed() {
    let mut world = running("{job: {command: [a]}, workers: {numberOfWorkers: 1}}");
    world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 4}}");
    world.settle();
    assert_eq!(world.job.status.workers.ready, 4);
    world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 2}}");
    world.reconcile();
    let asked: Vec<&String> = world.retired.iter().collect();
    assert_eq!(asked, ["etl-1-worker-default-2", "etl-1-worker-default-3"]);
    assert!(
        world.pods.values().all(|pod| !pod.deleting),
        "they hand over their results first"
    );
    world.settle();
    let workers = &world.job.status.workers;
    assert_eq!((workers.desired, workers.ready, workers.lost), (2, 2, 0));
    assert_eq!(workers.groups[0].retired, 2);
    world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 3}}");
    world.settle();
    assert!(
        world.names().contains(&"etl-1-worker-default-4"),
        "numbers are not used again"
    );
}

#[test]
fn a_group_adapts_to_what_the_scheduler_could_use() {
    let spec = "{job: {command: [a]}, workers: {numberOfWorkers: 2, minimum: 1, maximum: 6}, workerGroups: [{name: fixed}]}";
    let mut world = running(spec);
    world.desired_workers = Some(100);
    world.settle();
    let target = |world: &World| world.job.status.workers.groups[0].target;
    assert_eq!(target(&world), Some(6));
    assert_eq!(world.job.status.workers.groups[1].ready, 1);
    world.desired_workers = Some(3);
    world.settle();
    assert_eq!(target(&world), Some(6), "it falls slowly");
    let again = world.reconcile().again_at;
    assert!(again.is_some(), "and by itself: nothing else need happen");
    world.passes(15);
    world.settle();
    assert_eq!(
        target(&world),
        Some(2),
        "one of the three is of the fixed group"
    );
    assert_eq!(world.job.status.workers.groups[0].ready, 2);
    world.desired_workers = Some(0);
    world.passes(15);
    world.settle();
    assert_eq!(target(&world), Some(1));
}

#[test]
fn an_interactive_cluster_runs_until_it_is_idle() {
    let mut world = running(INTERACTIVE);
    assert_eq!(world.names().len(), 3, "there is no runner");
    world.idle_since = Some(world.now);
    let again = world.reconcile().again_at.unwrap();
    assert!(again <= world.now.plus(60));
    world.passes(60);
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
    assert_eq!(world.condition(condition::COMPLETE).reason, reason::IDLE);
    assert_eq!(world.names(), [""; 0]);
}

#[test]
fn a_cluster_that_takes_no_clients_yet_is_not_idle() {
    let mut world = World::new(INTERACTIVE);
    world.reconcile();
    let waits = Waiting {
        reason: "ImagePullBackOff".to_owned(),
        message: None,
    };
    let workers = ["etl-1-worker-default-0", "etl-1-worker-default-1"];
    for name in workers {
        world.pod(name).waiting = Some(waits.clone());
    }
    world.settle();
    world.idle_since = Some(world.now);
    world.passes(200);
    world.settle();
    assert_eq!(world.phase(), Phase::Starting);
    for name in workers {
        world.pod(name).waiting = None;
    }
    world.settle();
    assert_eq!(world.phase(), Phase::Running, "somebody may connect now");
    world.passes(60);
    world.settle();
    assert_eq!(world.condition(condition::COMPLETE).reason, reason::IDLE);
}

#[test]
fn an_end_is_told_once_by_event() {
    let mut world = running(JOB);
    world.ends("etl-1-runner", 3);
    let events = world.reconcile().events;
    let reasons: Vec<&str> = events.iter().map(|event| event.reason.as_str()).collect();
    assert_eq!(reasons, ["Failed"]);
    assert!(events[0].warning);
    world.settle();
    assert_eq!(world.reconcile().events, []);
}

#[test]
fn a_refused_manifest_makes_nothing_and_is_an_end() {
    let mut world = World::new("{job: {command: [a]}, workers: {minimum: 3}}");
    world.settle();
    assert_eq!((world.phase(), world.calls.creates), (Phase::Failed, 0));
    let accepted = world.condition(condition::ACCEPTED);
    assert_eq!(accepted.status, ConditionStatus::False);
    assert!(
        accepted.message.contains("spec.workers.minimum"),
        "{}",
        accepted.message
    );
}

#[test]
fn a_refused_manifest_that_is_suspended_may_be_mended() {
    let mut world = World::new("{job: {command: [a]}, suspend: true}");
    world.settle();
    world.edit("{job: {command: [a]}, suspend: true, workers: {minimum: 3}}");
    world.settle();
    assert_eq!(world.phase(), Phase::Suspended);
    world.edit("{job: {command: [a]}}");
    world.settle();
    assert_eq!(world.phase(), Phase::Running);
}
