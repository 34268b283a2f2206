//! The operator stopped at every single write of every life, before and after it took effect; a watch that lags behind;
//! and what other operators were seen to do wrong.

use super::JOB;
use super::world::{Fault, World};
use contract::status::{Phase, condition};

/// What happens to a job beside what the operator does, step by step.
type Step = fn(&mut World);

fn lives() -> Vec<(&'static str, &'static str, Vec<Step>)> {
    const RETRIED: &str =
        "{job: {command: [a], files: {a: b}}, backoffLimit: 1, workers: {numberOfWorkers: 2}}";
    vec![
        ("success", JOB, vec![|world| finish(world, 0)]),
        ("failure", JOB, vec![|world| finish(world, 1)]),
        (
            "retry",
            RETRIED,
            vec![
                |world| finish(world, 1),
                |world| world.passes(10),
                |world| finish(world, 0),
            ],
        ),
        (
            "suspend and resume",
            RETRIED,
            vec![
                |world| world.edit("{job: {command: [a]}, suspend: true}"),
                |world| world.edit("{job: {command: [a]}}"),
                |world| finish(world, 0),
            ],
        ),
        ("delete", JOB, vec![|world| world.job.deleting = true]),
        (
            "cancel",
            JOB,
            vec![|world| world.job.cancelled = Some(String::new())],
        ),
        (
            "deadline",
            "{job: {command: [a]}, activeDeadlineSeconds: 50}",
            vec![|world| world.passes(50)],
        ),
        (
            "lost scheduler",
            JOB,
            vec![
                |world| lose(world, "scheduler"),
                |world| world.passes(10),
                |world| finish(world, 0),
            ],
        ),
        (
            "lost worker",
            JOB,
            vec![|world| lose(world, "worker"), |world| finish(world, 0)],
        ),
        (
            "scale",
            JOB,
            vec![
                |world| world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 4}}"),
                |world| world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 1}}"),
                |world| finish(world, 0),
            ],
        ),
        (
            "adaptive",
            "{job: {command: [a]}, workers: {minimum: 1, maximum: 4}}",
            vec![
                |world| world.desired_workers = Some(4),
                |world| {
                    world.desired_workers = Some(1);
                    world.passes(15);
                },
                |world| finish(world, 0),
            ],
        ),
    ]
}

fn finish(world: &mut World, exit_code: i32) {
    let runner = format!("etl-{}-runner", world.job.status.attempt);
    if world.pods.contains_key(&runner) {
        world.ends(&runner, exit_code);
    }
}

fn lose(world: &mut World, role: &str) {
    let name = world.pods.keys().find(|name| name.contains(role)).cloned();
    if let Some(name) = name {
        world.vanishes(&name);
    }
}

/// A whole life; a stopped operator is followed by another one, which knows nothing of the first.
fn live(spec: &str, steps: &[Step], faults: &[Fault]) -> World {
    let mut world = World::new(spec);
    let mut faults = faults.iter();
    if let Some(fault) = faults.next() {
        world.set_fault(*fault);
    }
    let mut rest = |world: &mut World| {
        for _ in 0..60 {
            let before = (world.calls, world.pods.clone());
            let stopped = world.try_reconcile().is_err();
            if stopped && let Some(fault) = faults.next() {
                world.set_fault(*fault);
            }
            world.kubelet();
            if !stopped && (world.calls, world.pods.clone()) == before {
                return;
            }
        }
        panic!("no rest");
    };
    rest(&mut world);
    for step in steps {
        step(&mut world);
        rest(&mut world);
    }
    world
}

fn assert_ended(name: &str, world: &World) {
    if world.job.deleting {
        assert!(
            world.pods.is_empty() && world.objects.is_empty(),
            "{name}: something is left"
        );
        return;
    }
    let status = &world.job.status;
    assert!(
        status.finished().is_some(),
        "{name}: no end, {:?}",
        world.phase()
    );
    assert!(status.holds(condition::TORN_DOWN), "{name}: not torn down");
    world.assert_torn_down();
}

#[test]
fn a_life_ends_the_same_wherever_the_operator_stops() {
    for (name, spec, steps) in lives() {
        let undisturbed = live(spec, &steps, &[]);
        assert_ended(name, &undisturbed);
        let writes = undisturbed.calls.writes();
        for at in 0..writes + 4 {
            for takes_effect in [false, true] {
                let world = live(spec, &steps, &[Fault { at, takes_effect }]);
                let told = format!("{name}, stopped at {at}, effect {takes_effect}");
                assert_ended(&told, &world);
                assert_eq!(world.phase(), undisturbed.phase(), "{told}");
                assert_eq!(
                    world.job.status.retries, undisturbed.job.status.retries,
                    "{told}: no failure counts twice"
                );
            }
        }
    }
}

#[test]
fn a_life_ends_the_same_wherever_the_operator_stops_twice() {
    for (name, spec, steps) in lives() {
        let undisturbed = live(spec, &steps, &[]);
        let writes = undisturbed.calls.writes();
        for first in 0..writes + 2 {
            for second in 0..writes + 2 - first {
                let faults = [
                    Fault {
                        at: first,
                        takes_effect: first % 2 == 0,
                    },
                    Fault {
                        at: second,
                        takes_effect: second % 2 == 1,
                    },
                ];
                let world = live(spec, &steps, &faults);
                let told = format!("{name}, stopped at {first} and {second}");
                assert_ended(&told, &world);
                assert_eq!(world.phase(), undisturbed.phase(), "{told}");
            }
        }
    }
}

/// The watch shows pods and objects as they were some steps ago, at every step of every life.
#[test]
fn a_watch_that_lags_behind_does_no_harm() {
    for (name, spec, steps) in lives() {
        for lag in 1..6_usize {
            let mut world = World::new(spec);
            let mut views = Vec::new();
            let mut turn = |world: &mut World| {
                for _ in 0..30 {
                    let pods: Vec<_> = world.pods.values().cloned().collect();
                    views.push((pods, world.objects.values().cloned().collect()));
                    world.stale = Some(views[views.len().saturating_sub(lag + 1)].clone());
                    world.reconcile();
                    world.kubelet();
                }
            };
            turn(&mut world);
            for step in &steps {
                step(&mut world);
                turn(&mut world);
            }
            assert_ended(&format!("{name}, {lag} steps behind"), &world);
        }
    }
}

// Named after the public reports of others; what each saw is in its comment.

/// dask-kubernetes #975: one 429 between deleting the cluster and storing the outcome, and the job runs for ever.
#[test]
fn dask_kubernetes_975_an_outcome_is_stored_before_what_shows_it_is_deleted() {
    let mut world = World::new(JOB);
    world.settle();
    finish(&mut world, 0);
    let plan = world.reconcile();
    assert!(plan.status.is_some() && !plan.delete.is_empty());
    assert!(
        plan.delete
            .iter()
            .all(|delete| !delete.name.contains("runner")),
        "and the runner, which shows it, stays"
    );
}

/// dask-kubernetes #968, #976: a cluster whose set-up was interrupted stays Pending, without workers.
#[test]
fn dask_kubernetes_968_976_an_interrupted_start_is_completed() {
    for at in 0..10 {
        let mut world = World::new(JOB);
        world.set_fault(Fault {
            at,
            takes_effect: true,
        });
        while world.try_reconcile().is_ok() && !world.fault_is_over() {
            world.kubelet();
        }
        world.clear_fault();
        world.settle();
        assert_eq!(
            (world.phase(), world.job.status.workers.ready),
            (Phase::Running, 2)
        );
    }
}

/// dask-kubernetes #810: a retry that cannot succeed, 40,000 times.
#[test]
fn dask_kubernetes_810_what_is_gone_already_is_not_deleted_again() {
    let mut world = World::new(JOB);
    world.settle();
    finish(&mut world, 0);
    world.reconcile();
    let deletes = world.calls.deletes;
    for _ in 0..100 {
        world.reconcile();
    }
    assert_eq!(
        world.calls.deletes, deletes,
        "pods that are on their way out are left to go"
    );
}

/// dask-kubernetes #684: workers use up the quota and the runner never starts.
#[test]
fn dask_kubernetes_684_scheduler_and_runner_come_before_workers_in_a_quota() {
    let mut world = World::new("{job: {command: [a]}, workers: {numberOfWorkers: 50}}");
    world.reconcile();
    let first = world.reconcile();
    assert_eq!(first.create, [], "all was made in the first round");
    assert!(world.pods.contains_key("etl-1-runner") && world.pods.contains_key("etl-1-scheduler"));
}

/// KubeRay #3860, #4217: an operator that is started anew runs the job's program a second time, or never ends.
#[test]
fn kuberay_3860_4217_a_new_operator_does_not_start_the_program_again() {
    let mut world = World::new(JOB);
    world.settle();
    finish(&mut world, 0);
    world.stale = Some((Vec::new(), Vec::new()));
    world.reconcile();
    assert_eq!(
        (world.phase(), world.runners_begun.len()),
        (Phase::Complete, 1)
    );
}

/// KubeRay #3903, #3553: status says running or failed while the program has succeeded.
#[test]
fn kuberay_3903_3553_success_of_the_program_is_success_whatever_else_broke() {
    let mut world = World::new(JOB);
    world.settle();
    finish(&mut world, 0);
    lose(&mut world, "scheduler");
    lose(&mut world, "worker");
    world.settle();
    assert_eq!(world.phase(), Phase::Complete);
}
