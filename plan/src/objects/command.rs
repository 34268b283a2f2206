//! What each role's container runs: always our launcher, which runs the role's program, or becomes it where that is our
//! worker.
//!
//! The program behind the native engine is ours; behind `engine: dask` it is the image's own Dask, started as a module of
//! the image's Python, because the command `dask` may not be on PATH, or be ours.

use super::{Attempt, Part, scheduler_address};
use contract::{Role, environment as names, flags, launch, paths, ports};
use crd::Engine;

/// Seconds a scheduler without lifeline and work goes on: long enough for a connection to be made again.
const LIFELINE_TIMEOUT_SECONDS: u64 = 30;

/// Seconds a worker waits for a scheduler that never answered. The operator gives up on a scheduler much sooner or waits
/// for it on purpose; this is for workers that come up after everything is over and no operator is there.
const SCHEDULER_TIMEOUT_SECONDS: u64 = 600;

/// Seconds a runner waits for a scheduler, be it for quota, an image or a node. Only a runner that nobody looks after any
/// more gets there: `startDeadlineSeconds` is the operator's to keep, and may be raised while the runner waits.
const RUNNER_TIMEOUT_SECONDS: u64 = 7 * 24 * 3600;

/// Seconds a stock worker tries to register with a scheduler that has answered. For ours there is no such difference.
const DEATH_TIMEOUT_SECONDS: u64 = 60;

/// How much later than the operator's own verdict a pod ends by itself, in seconds.
pub(super) const DEAD_MAN_MARGIN_SECONDS: u64 = 60;

/// `command` and `args` of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub command: Vec<String>,
    pub args: Vec<String>,
}

pub(super) fn of_container(attempt: Attempt<'_>, part: Part<'_>) -> CommandLine {
    let mut command = vec![
        program(attempt, &part.settings().image).to_owned(),
        launch::LAUNCH.to_owned(),
    ];
    command.extend(launcher_flags(attempt, part).into_iter().map(literal));
    command.push("--".to_owned());
    match part {
        Part::Scheduler(_) => {
            command.extend(cluster_program(attempt, part, "scheduler"));
            let args = scheduler_flags(attempt);
            CommandLine { command, args }
        }
        Part::Worker { .. } => {
            command.extend(cluster_program(attempt, part, "worker"));
            let args = worker_flags(attempt, part);
            CommandLine { command, args }
        }
        // The user's own words, `$(NAME)` in them included.
        Part::Runner(runner) => {
            command.extend(runner.command.iter().cloned());
            let args = runner.args.clone();
            CommandLine { command, args }
        }
    }
}

/// Where our program is in a container of this image.
pub(super) fn program(attempt: Attempt<'_>, image: &str) -> &'static str {
    if image == attempt.config.worker_image {
        paths::PROGRAM_IN_IMAGE
    } else {
        paths::PROGRAM_COPY
    }
}

fn launcher_flags(attempt: Attempt<'_>, part: Part<'_>) -> Vec<String> {
    let address = scheduler_address(attempt.config, attempt.owner, attempt.number);
    let has_runner = attempt.job.job.is_some();
    let mut flags: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
    match part {
        Part::Scheduler(_) => {
            // An interactive cluster has nobody to hold a lifeline: it ends when idle.
            if has_runner {
                flag(launch::LIFELINE_PORT, ports::LIFELINE.to_string());
                flag(
                    launch::LIFELINE_TIMEOUT,
                    LIFELINE_TIMEOUT_SECONDS.to_string(),
                );
            }
        }
        Part::Runner(_) => {
            let deadline = attempt.job.deadlines.start_deadline_seconds;
            let after_it = deadline.map(|seconds| seconds.saturating_add(DEAD_MAN_MARGIN_SECONDS));
            let patience = after_it.unwrap_or_default().max(RUNNER_TIMEOUT_SECONDS);
            flag(launch::SCHEDULER, address);
            flag(launch::SCHEDULER_TIMEOUT, patience.to_string());
            flag(launch::HOLD_LIFELINE, ports::LIFELINE.to_string());
        }
        Part::Worker { .. } => {
            if attempt.job.engine == Engine::Dask {
                flag(launch::SCHEDULER, address);
                flag(
                    launch::SCHEDULER_TIMEOUT,
                    SCHEDULER_TIMEOUT_SECONDS.to_string(),
                );
            }
        }
    }
    if attempt.has_files() {
        flag(launch::FILES, paths::FILES.to_owned());
        if let Part::Runner(_) = part {
            flag(launch::WORK_DIRECTORY, paths::WORK.to_owned());
        }
    }
    let mut defaults = crate::environment::defaults(attempt.job.engine, part.role());
    let is_limited = part.settings().resources.limits.contains_key("memory");
    if part.role() == Role::Worker && attempt.job.engine == Engine::Dask && is_limited {
        defaults.push(names::NO_NANNY_TERMINATION);
    }
    for (name, value) in defaults {
        flag(launch::DEFAULT_ENV, format!("{name}={value}"));
    }
    match (part, attempt.job.engine) {
        (Part::Scheduler(_), Engine::Dask) => flags.push(launch::PYTHON_COMMAND.to_owned()),
        (Part::Worker { .. }, Engine::Dask) => {
            // Importing takes a worker longer than a scheduler takes to answer: both at once.
            flags.push(launch::START_BESIDE.to_owned());
            flags.push(launch::END_WITH_SCHEDULER.to_owned());
            flags.push(launch::END_WHEN_OUT_OF_MEMORY.to_owned());
            flags.push(launch::PYTHON_COMMAND.to_owned());
        }
        (Part::Worker { .. }, Engine::Native) => flags.push(launch::EXEC.to_owned()),
        (Part::Scheduler(_), Engine::Native) | (Part::Runner(_), _) => {}
    }
    flags
}

/// The program of a scheduler or worker.
fn cluster_program(attempt: Attempt<'_>, part: Part<'_>, word: &str) -> [String; 2] {
    match attempt.job.engine {
        Engine::Native => [
            program(attempt, &part.settings().image).to_owned(),
            word.to_owned(),
        ],
        Engine::Dask => ["-m".to_owned(), format!("distributed.cli.dask_{word}")],
    }
}

/// No `--host`: by default everything listens on all interfaces, of IPv6 too where the program can.
fn scheduler_flags(attempt: Attempt<'_>) -> Vec<String> {
    let mut flags = vec![
        flags::PORT.to_owned(),
        ports::CLIENT.to_string(),
        flags::DASHBOARD_ADDRESS.to_owned(),
        format!(":{}", ports::DASHBOARD),
    ];
    if let Some(seconds) = attempt.job.deadlines.idle_timeout_seconds {
        let seconds = seconds + DEAD_MAN_MARGIN_SECONDS;
        flags.extend([flags::IDLE_TIMEOUT.to_owned(), format!("{seconds}s")]);
    }
    flags
}

fn worker_flags(attempt: Attempt<'_>, part: Part<'_>) -> Vec<String> {
    let Part::Worker { group, .. } = part else {
        return Vec::new();
    };
    let address = scheduler_address(attempt.config, attempt.owner, attempt.number);
    let mut flags = vec![address];
    let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
    // The pod's name: so the operator knows which pod the scheduler speaks of.
    flag(flags::NAME, part.name(attempt));
    flag(flags::NTHREADS, group.threads.to_string());
    if let Some(bytes) = group.memory_limit_bytes {
        flag(flags::MEMORY_LIMIT, bytes.to_string());
    }
    if let Some(resources) = group.resources_flag() {
        flag(flags::RESOURCES, resources);
    }
    let patience = match attempt.job.engine {
        Engine::Native => SCHEDULER_TIMEOUT_SECONDS,
        Engine::Dask => DEATH_TIMEOUT_SECONDS,
    };
    flag(flags::DEATH_TIMEOUT, patience.to_string());
    if attempt.job.engine == Engine::Native {
        let grace = grace_seconds(attempt, part);
        let drain = grace.saturating_sub(flags::DRAIN_MARGIN_SECONDS);
        flag(flags::DRAIN_TIMEOUT, drain.to_string());
    }
    flag(flags::LOCAL_DIRECTORY, paths::SCRATCH.to_owned());
    // Health and metrics at a known port; a page for each worker would cost memory and time at every start.
    flag(
        flags::DASHBOARD_ADDRESS,
        format!(":{}", ports::WORKER_DASHBOARD),
    );
    flags.push(flags::NO_DASHBOARD.to_owned());
    if attempt.job.engine == Engine::Native {
        flags.push(flags::END_WHEN_OUT_OF_MEMORY.to_owned());
    }
    flags.into_iter().map(literal).collect()
}

/// How long the pod may take to end: what the last template says, else our own word.
fn grace_seconds(attempt: Attempt<'_>, part: Part<'_>) -> u64 {
    let templates = part.settings().templates.iter().rev();
    let specs = templates.filter_map(|template| template.spec.as_ref());
    let said = specs
        .filter_map(|spec| spec.get("terminationGracePeriodSeconds")?.as_u64())
        .next();
    said.unwrap_or_else(|| attempt.config.termination_grace_seconds.into())
}

/// Text that the kubelet leaves as it is, although it may hold `$(NAME)`.
fn literal(text: String) -> String {
    text.replace('$', "$$")
}
