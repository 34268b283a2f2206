//! Whole lives of a job, as scripts: when something is so, something happens.

use crate::server::Fault;
use crate::world::{JOB, World};
use contract::labels;
use contract::status::Phase;

pub struct Step {
    what: &'static str,
    when: fn(&World) -> bool,
    then: fn(&mut World),
}

pub struct Life {
    pub name: &'static str,
    pub spec: &'static str,
    pub steps: Vec<Step>,
    /// Where it ends; a deleted job is nowhere.
    pub end: Option<Phase>,
    pub attempts: u32,
}

fn life(
    name: &'static str,
    spec: &'static str,
    end: Option<Phase>,
    steps: impl IntoIterator<Item = Step>,
) -> Life {
    Life {
        name,
        spec,
        end,
        steps: steps.into_iter().collect(),
        attempts: 1,
    }
}

fn again(life: Life) -> Life {
    Life {
        attempts: 2,
        ..life
    }
}

fn step(what: &'static str, when: fn(&World) -> bool, then: fn(&mut World)) -> Step {
    Step { what, when, then }
}

fn at_once(what: &'static str, then: fn(&mut World)) -> Step {
    step(what, |_| true, then)
}

fn runs(what: &'static str, then: fn(&mut World)) -> Step {
    step(what, |world| world.runs(1) && world.workers() >= 1, then)
}

fn runs_again(then: fn(&mut World)) -> Step {
    step("the second attempt runs", |world| world.runs(2), then)
}

const SUSPENDED: &str = "{job: {command: [a]}, workers: {numberOfWorkers: 2}, suspend: true}";

pub fn lives() -> Vec<Life> {
    [endings(), detours(), deletions(), sizes()]
        .into_iter()
        .flatten()
        .collect()
}

fn endings() -> Vec<Life> {
    vec![
        life(
            "success",
            JOB,
            Some(Phase::Complete),
            [runs("it runs", |world| world.finish(1, 0))],
        ),
        life(
            "failure",
            JOB,
            Some(Phase::Failed),
            [runs("it runs", |world| world.finish(1, 3))],
        ),
        life(
            "out of memory",
            JOB,
            Some(Phase::Failed),
            [runs("it runs", |world| world.finish(1, 137))],
        ),
        life(
            "with files",
            "{job: {command: [a], files: {main.py: pass}}}",
            Some(Phase::Complete),
            [runs("it runs", |world| world.finish(1, 0))],
        ),
        life(
            "deadline",
            "{job: {command: [a]}, activeDeadlineSeconds: 20}",
            Some(Phase::Failed),
            [],
        ),
        life(
            "cancelled",
            JOB,
            Some(Phase::Failed),
            [runs("it runs", |world| {
                world.annotate(labels::CANCEL, "enough");
            })],
        ),
        life(
            "idle",
            "{workers: {numberOfWorkers: 1}, idleTimeoutSeconds: 8}",
            Some(Phase::Complete),
            [runs("it runs", |world| {
                let now = world.now().unix_seconds().unwrap();
                world.cluster.lock().unwrap().idle_since = Some(now as f64);
            })],
        ),
        life(
            "time to live",
            "{job: {command: [a]}, ttlSecondsAfterFinished: 5}",
            None,
            [runs("it runs", |world| world.finish(1, 0))],
        ),
        life("invalid", "{job: {command: []}}", Some(Phase::Failed), []),
    ]
}

fn detours() -> Vec<Life> {
    vec![
        again(life(
            "retry",
            "{job: {command: [a]}, backoffLimit: 1}",
            Some(Phase::Complete),
            [
                runs("it runs", |world| world.finish(1, 1)),
                runs_again(|world| world.finish(2, 0)),
            ],
        )),
        again(life(
            "lost scheduler",
            JOB,
            Some(Phase::Complete),
            [
                runs("it runs", |world| world.lose("etl-1-scheduler")),
                runs_again(|world| world.finish(2, 0)),
            ],
        )),
        life(
            "lost worker",
            JOB,
            Some(Phase::Complete),
            [
                runs("it runs", |world| world.lose("etl-1-worker-default-0")),
                step(
                    "the worker is replaced",
                    |world| world.workers() == 2,
                    |world| world.finish(1, 0),
                ),
            ],
        ),
        again(life(
            "suspend and resume",
            JOB,
            Some(Phase::Complete),
            [
                runs("it runs", |world| world.edit(SUSPENDED)),
                step(
                    "nothing is left while it is suspended",
                    |world| world.phase() == Phase::Suspended && world.owned().is_empty(),
                    |world| world.edit(JOB),
                ),
                runs_again(|world| world.finish(2, 0)),
            ],
        )),
        life(
            "quota that grows",
            JOB,
            Some(Phase::Complete),
            [
                at_once("it begins", |world| {
                    world.refuse("etl-1-runner", 403, "exceeded quota: small");
                }),
                step(
                    "the condition says why",
                    |world| {
                        let conditions = world.status().conditions;
                        conditions
                            .iter()
                            .any(|known| known.reason == "QuotaExceeded")
                    },
                    World::allow_all,
                ),
                runs("it runs", |world| world.finish(1, 0)),
            ],
        ),
    ]
}

fn deletions() -> Vec<Life> {
    vec![
        life(
            "deleted at once",
            JOB,
            None,
            [at_once("it is there", World::delete_job)],
        ),
        life(
            "deleted while it starts",
            JOB,
            None,
            [step(
                "it starts",
                |world| !world.owned().is_empty(),
                World::delete_job,
            )],
        ),
        life(
            "deleted while it runs",
            JOB,
            None,
            [runs("it runs", World::delete_job)],
        ),
        life(
            "deleted while it is taken down",
            JOB,
            None,
            [
                runs("it runs", |world| world.finish(1, 0)),
                step(
                    "it is over",
                    |world| world.status().finished().is_some(),
                    World::delete_job,
                ),
            ],
        ),
        life(
            "deleted when it is over",
            JOB,
            None,
            [
                runs("it runs", |world| world.finish(1, 0)),
                step("it is gone", World::is_torn_down, World::delete_job),
            ],
        ),
    ]
}

fn sizes() -> Vec<Life> {
    vec![
        life(
            "scale",
            JOB,
            Some(Phase::Complete),
            [
                runs("it runs", |world| {
                    world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 4}}");
                }),
                step(
                    "there are four",
                    |world| world.workers() == 4,
                    |world| world.edit("{job: {command: [a]}, workers: {numberOfWorkers: 1}}"),
                ),
                step(
                    "there is one",
                    |world| world.workers() == 1,
                    |world| world.finish(1, 0),
                ),
            ],
        ),
        life(
            "adaptive",
            "{job: {command: [a]}, workers: {minimum: 1, maximum: 3}}",
            Some(Phase::Complete),
            [
                runs("it runs", |world| {
                    world.cluster.lock().unwrap().desired_workers = Some(3);
                }),
                step(
                    "there are three",
                    |world| world.workers() == 3,
                    |world| world.cluster.lock().unwrap().desired_workers = Some(1),
                ),
                step(
                    "there is one",
                    |world| world.workers() == 1,
                    |world| world.finish(1, 0),
                ),
            ],
        ),
    ]
}

impl Life {
    /// Lives it, with faults at some calls.
    pub async fn live(&self, faults: &[(u32, Fault)]) -> World {
        println!("{} with {faults:?}", self.name);
        let mut world = World::new(self.spec);
        world.set_faults(faults);
        world.start_operator();
        self.live_in(&mut world).await;
        world
    }

    pub async fn live_in(&self, world: &mut World) {
        for step in &self.steps {
            world.until(step.what, step.when).await;
            (step.then)(world);
        }
        let is_kept = self.end.is_some();
        world
            .until("it is torn down", |world| {
                world.is_torn_down() && world.job_exists() == is_kept
            })
            .await;
    }

    /// It ended as it should.
    pub fn assert_ended(&self, world: &World, told: &str) {
        let end = world.job_exists().then(|| world.phase());
        assert_eq!(end, self.end, "{}, {told}", self.name);
        if self.end.is_some() {
            let attempt = world.status().attempt;
            let attempts = if self.name == "invalid" {
                0
            } else {
                self.attempts
            };
            assert_eq!(attempt, attempts, "{}, {told}", self.name);
        }
    }
}
