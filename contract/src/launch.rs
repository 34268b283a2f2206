//! The launcher: the first process of every container of a job, and the command that brings it there.
//!
//! `daskjob launch [FLAGS] -- COMMAND [ARGUMENT…]` starts a command as its only child, passes signals on, reaps what is
//! left to it, writes the termination message ([`crate::termination`]) when the command failed, and ends with the
//! command's exit code (128 + signal). Without a flag it does no more than that.
//!
//! `daskjob install FILE` copies the running program itself to FILE, executable by everyone, and ends.
//!
//! **Lifeline**: a connection to [`crate::ports::LIFELINE`] of the scheduler on which nothing is ever sent. The runner's
//! launcher holds one while its command runs. Whoever takes it ends the scheduler when it is lost and stays lost: so no
//! cluster outlives its program, also when there is no operator any more.

/// The launcher's name as a subcommand.
pub const LAUNCH: &str = "launch";

/// The copying command's name as a subcommand.
pub const INSTALL: &str = "install";

/// Address of the scheduler, `tcp://host:port`. The command starts once Dask's handshake with it succeeds (a mere
/// connection may end in a service mesh's proxy), asked for every 50 ms.
pub const SCHEDULER: &str = "--scheduler";

/// With [`SCHEDULER`]: start the command at once, beside asking. A command that fails before the scheduler has answered is
/// started again once it has; later failures count.
pub const START_BESIDE: &str = "--start-beside";

/// With [`SCHEDULER`]: a command that was told to end by a signal is killed as soon as that scheduler takes no connection.
/// For workers: what they hold is of no use to anybody then, and Python takes seconds to end in good order.
pub const END_WITH_SCHEDULER: &str = "--end-with-scheduler";

/// With [`SCHEDULER`]: seconds after which a scheduler that never answered is given up: the command is ended, the exit code
/// is [`crate::exit_code::INFRASTRUCTURE`] and the message has class SchedulerLost. Default: never.
pub const SCHEDULER_TIMEOUT: &str = "--scheduler-timeout";

/// With [`SCHEDULER`]: port of its lifeline, held from before the command starts until it has ended, and opened again when
/// it breaks. Without the flag none is held.
pub const HOLD_LIFELINE: &str = "--hold-lifeline";

/// Port to take lifelines on, all interfaces.
pub const LIFELINE_PORT: &str = "--lifeline-port";

/// With [`LIFELINE_PORT`]: once there was a lifeline and for this many seconds there has been none, the command is ended as
/// soon as the scheduler behind [`crate::ports::DASHBOARD`] on loopback says that nothing runs
/// ([`crate::http::CHECK_IDLE`]), or does not answer. Before the first lifeline nothing is ended.
pub const LIFELINE_TIMEOUT: &str = "--lifeline-timeout";

/// Directory of the job's files: goes before whatever `PYTHONPATH` the command would have (the image's or the pod's).
pub const FILES: &str = "--files";

/// With [`FILES`]: copy the files into this directory, following links and without names that begin with `..` (the
/// kubelet's), and make it the command's working directory.
pub const WORK_DIRECTORY: &str = "--work-directory";

/// `NAME=VALUE`, repeatable: a variable of the command where it has none of that name. Not part of the pod's own
/// environment, so that what an image sets (`ENV`) wins, as what a user's shell sets wins in `daskjob run`.
pub const DEFAULT_ENV: &str = "--default-env";

/// End the command as soon as the kernel has killed any process of the container for want of memory, with a message of class
/// OutOfMemory. For workers: their nanny would start another process in place of the killed one and say so nowhere but in
/// the log. Newer kubelets have the whole container killed anyway, older ones and control groups of version one do not.
pub const END_WHEN_OUT_OF_MEMORY: &str = "--end-when-out-of-memory";

/// Become the command, in the same process, once files and default variables are in its environment: for our worker, which
/// does for itself what a launcher does for others (takes signals and orphans as process 1, waits for the scheduler, leaves a
/// message, ends when memory ran out). Not with flags that ask for something to be watched.
pub const EXEC: &str = "--exec";

/// The command is arguments for the image's Python: `DASKJOB_PYTHON`, else `python3`, else `python` on PATH.
pub const PYTHON_COMMAND: &str = "--python-command";

/// File of the termination message. Default: [`crate::termination::PATH`].
pub const TERMINATION_LOG: &str = "--termination-log";

/// With [`LIFELINE_PORT`]: where the scheduler answers HTTP on loopback. Default: [`crate::ports::DASHBOARD`].
pub const DASHBOARD_PORT: &str = "--dashboard-port";
