//! Lives of jobs in a small world: plans are carried out against pods that a test makes run, end and vanish.

mod faults;
mod lives;
mod waiting;
mod world;

use world::World;

const JOB: &str =
    "{job: {command: [python, main.py], files: {main.py: 'pass'}}, workers: {numberOfWorkers: 2}}";
const INTERACTIVE: &str = "{workers: {numberOfWorkers: 2}, idleTimeoutSeconds: 60}";
