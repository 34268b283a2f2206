//! `cargo xtask image …`: the program as it goes into images, and the worker image.
//!
//! The program is linked statically, so that it runs in any Linux image. Owns the directory `image` beside the built
//! programs, which is all a Dockerfile needs. Nothing is pushed anywhere.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::cluster::prerequisites::{self, tool_named};
use crate::cluster::{self, images};
use crate::command::{Run, release_directory, root};

#[derive(Subcommand)]
pub enum ImageTask {
    /// Build the static program, and lay it out with all else the worker image is built from
    ///
    /// Prints the directory: `docker build` takes it as it is. Needs a C compiler for musl (Debian: musl-tools).
    Binaries,
    /// Build the worker image with buildah, into an archive for `docker load` or `ctr images import`
    Worker(WorkerArgs),
}

#[derive(Args)]
pub struct WorkerArgs {
    /// Image to build it on, with Python 3.10 or newer; without it that of the Dockerfile, from its registry
    #[arg(long)]
    base: Option<String>,
    /// Name and tag of the image
    #[arg(long, default_value = "localhost/daskjob/worker:dev")]
    tag: String,
    /// Give it to the node of the test cluster, which is started if need be
    #[arg(long)]
    node: bool,
}

/// The worker image's own directory in this repository.
const DOCKERFILE: &str = "worker-image/Dockerfile";
const REQUIREMENTS: &str = "python/requirements.txt";
const ARCHIVE: &str = "worker.tar";

pub fn run(task: &ImageTask) -> Result<()> {
    match task {
        ImageTask::Binaries => println!("{}", binaries()?.display()),
        ImageTask::Worker(args) => {
            let archive = worker(args.base.as_deref(), &args.tag)?;
            if args.node {
                cluster::give_to_node(&archive)?;
            }
            println!("{}", archive.display());
        }
    }
    Ok(())
}

/// The static program, built and stripped.
pub fn static_program() -> Result<PathBuf> {
    prerequisites::provide_for_static_programs()?;
    let target = target();
    if !has_target(&target) {
        Run::new("rustup")
            .args(&["target", "add", &target])
            .run_quietly()
            .with_context(|| format!("install Rust's library for {target}"))?;
    }
    Run::cargo()
        .args(&["build", "--release", "--package", "cli", "--bin", "daskjob"])
        .args(&["--target", &target])
        // Memory is taken as it is used: mimalloc would ask for huge pages at once, 6 MB for a process that needs one.
        .env(
            &format!("CFLAGS_{}", target.replace('-', "_")),
            "-DMI_DEFAULT_ARENA_EAGER_COMMIT=0",
        )
        // Nobody debugs inside an image, and every node pulls it.
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        // What is compiled in small pieces is quick to compile again and slow to run.
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
        .run()?;
    where_it_is()
}

/// The static program, where an earlier step has built it.
pub fn built_static_program() -> Option<PathBuf> {
    where_it_is().ok().filter(|program| program.exists())
}

fn where_it_is() -> Result<PathBuf> {
    Ok(beside_release(&target())?.join("release/daskjob"))
}

fn target() -> String {
    format!("{}-unknown-linux-musl", env::consts::ARCH)
}

fn has_target(target: &str) -> bool {
    let installed = Run::new("rustup").args(&["target", "list", "--installed"]);
    installed
        .read()
        .is_ok_and(|list| list.lines().any(|line| line == target))
}

fn beside_release(name: &str) -> Result<PathBuf> {
    let release = release_directory()?;
    let target = release
        .parent()
        .context("the release directory has a parent")?;
    Ok(target.join(name))
}

/// The directory a worker image is built from.
pub fn binaries() -> Result<PathBuf> {
    let program = static_program()?;
    let directory = beside_release("image")?;
    fs::create_dir_all(&directory)?;
    let sources = [
        (program, "daskjob"),
        (root().join(DOCKERFILE), "Dockerfile"),
        (root().join(REQUIREMENTS), "requirements.txt"),
    ];
    for (source, name) in sources {
        fs::copy(&source, directory.join(name))
            .with_context(|| format!("copy {} for the image", source.display()))?;
    }
    // The archive of an image is not part of the next.
    fs::write(directory.join(".dockerignore"), format!("{ARCHIVE}\n"))?;
    Ok(directory)
}

/// The worker image in an archive. With a base image of the test cluster nothing comes from a registry.
pub fn worker(base: Option<&str>, reference: &str) -> Result<PathBuf> {
    let directory = binaries()?;
    let buildah =
        || -> Result<Run> { Ok(tool_named("buildah").arg("--root").arg(images::storage()?)) };
    let mut build = buildah()?.args(&["bud", "--isolation", "chroot", "--layers"]);
    if let Some(base) = base {
        build = build.args(&["--build-arg", &format!("BASE={base}")]);
    }
    for argument in of_package_index() {
        build = build.args(&["--build-arg", &argument]);
    }
    if let Some(certificates) = certificates() {
        let mount = format!("{0}:{0}:ro", certificates.display());
        build = build.args(&["--volume", &mount]);
    }
    build
        .args(&["--tag", reference])
        .arg(&directory)
        .run_quietly()
        .with_context(|| format!("build the image {reference}"))?;
    let archive = directory.join(ARCHIVE);
    // An archive is added to where it exists.
    let _ = fs::remove_file(&archive);
    buildah()?
        .args(&["push", reference])
        .arg(format!("docker-archive:{}:{reference}", archive.display()))
        .run_quietly()
        .with_context(|| format!("write the image {reference} to a file"))?;
    Ok(archive)
}

/// What this machine's pip needs to reach its package index, for the image's.
fn of_package_index() -> Vec<String> {
    ["PIP_INDEX_URL", "PIP_CERT"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}={}", env::var(name).ok()?)))
        .collect()
}

/// The directory of the certificates that this machine's pip trusts, where it is told to.
fn certificates() -> Option<PathBuf> {
    let file = env::var_os("PIP_CERT")?;
    Some(Path::new(&file).parent()?.to_owned())
}
