//! Where things are inside a pod.

/// Our program in the worker image: static, so that it runs in any other image too.
pub const PROGRAM_IN_IMAGE: &str = "/usr/local/bin/daskjob";

/// Where a pod of another image has the volume with our program.
pub const PROGRAM_DIRECTORY: &str = "/daskjob/program";

/// Our program in a pod of another image, copied there by an init container.
pub const PROGRAM_COPY: &str = "/daskjob/program/daskjob";

/// The job's files as the cluster has them: read-only, first on the PYTHONPATH of every role.
pub const FILES: &str = "/daskjob/files";

/// The runner's working directory where the job has files: a writable copy of them.
pub const WORK: &str = "/daskjob/work";

/// Scratch space of every role, writable also where the root file system is not.
pub const SCRATCH: &str = "/tmp";
