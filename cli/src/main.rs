//! `daskjob`: everything is in the library, so that tests and other programs can use it.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::program::main(std::env::args_os())
}
