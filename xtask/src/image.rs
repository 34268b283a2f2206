//! `cargo xtask image …`: the program as it goes into images, the worker image and the operator's.
//!
//! The program is linked statically, so that it runs in any Linux image. Owns a directory for each image beside the built
//! programs, which is all its Dockerfile needs. Nothing is pushed anywhere.

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
    /// Build the operator's image with buildah, into an archive: the static program and nothing else
    Operator(OperatorArgs),
    /// Give both images to the node of the test cluster, as far as it does not have them; prints the static program
    Node,
}

#[derive(Args)]
pub struct WorkerArgs {
    /// Image to build it on, with Python 3.10 or newer; without it that of the Dockerfile, from its registry
    #[arg(long)]
    base: Option<String>,
    /// Name and tag of the image
    #[arg(long, default_value = WORKER.reference)]
    tag: String,
    /// Give it to the node of the test cluster, which is started if need be
    #[arg(long)]
    node: bool,
}

#[derive(Args)]
pub struct OperatorArgs {
    /// Name and tag of the image
    #[arg(long, default_value = OPERATOR.reference)]
    tag: String,
    /// Give it to the node of the test cluster, which is started if need be
    #[arg(long)]
    node: bool,
}

/// An image and what it is built from.
struct Image {
    /// Its name and tag, unless another is asked for.
    reference: &'static str,
    /// Its directory beside the built programs.
    directory: &'static str,
    dockerfile: &'static str,
    /// What is in it beside the program: where it is, and its name for the Dockerfile.
    more: &'static [(&'static str, &'static str)],
}

const WORKER: Image = Image {
    reference: "localhost/daskjob/worker:dev",
    directory: "image",
    dockerfile: "worker-image/Dockerfile",
    more: &[("python/requirements.txt", "requirements.txt")],
};

const OPERATOR: Image = Image {
    reference: "localhost/daskjob/operator:dev",
    directory: "operator-image",
    dockerfile: "operator/Dockerfile",
    more: &[],
};

const ARCHIVE: &str = "image.tar";

pub fn run(task: &ImageTask) -> Result<()> {
    match task {
        ImageTask::Binaries => println!("{}", lay_out(&WORKER, &static_program()?)?.display()),
        ImageTask::Worker(args) => {
            let base = args.base.as_deref();
            archive(&WORKER, base, &args.tag, args.node)?;
        }
        ImageTask::Operator(args) => archive(&OPERATOR, None, &args.tag, args.node)?,
        ImageTask::Node => println!("{}", give_to_node()?.display()),
    }
    Ok(())
}

/// Builds an image into an archive.
fn archive(image: &Image, base: Option<&str>, reference: &str, node: bool) -> Result<()> {
    let directory = lay_out(image, &static_program()?)?;
    build(base, reference, &directory)?;
    let archive = write(reference, &directory)?;
    if node {
        cluster::give_to_node(&archive)?;
    }
    println!("{}", archive.display());
    Ok(())
}

/// Both images on the test cluster's base, for its node; the program that is in them.
pub fn give_to_node() -> Result<PathBuf> {
    let program = static_program()?;
    for (image, base) in [(&WORKER, Some(images::BASE)), (&OPERATOR, None)] {
        let directory = lay_out(image, &program)?;
        build(base, image.reference, &directory)?;
        let id = buildah()?
            .args(&["images", "--quiet", "--no-trunc", image.reference])
            .read()?;
        cluster::give_to_node_once(image.reference, id.trim(), || {
            write(image.reference, &directory)
        })?;
        // It holds the whole image; the next build finds its layers in the storage.
        let _ = fs::remove_file(directory.join(ARCHIVE));
    }
    Ok(program)
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

/// The directory an image is built from.
fn lay_out(image: &Image, program: &Path) -> Result<PathBuf> {
    let directory = beside_release(image.directory)?;
    fs::create_dir_all(&directory)?;
    let mut sources = vec![
        (program.to_owned(), "daskjob"),
        (root().join(image.dockerfile), "Dockerfile"),
    ];
    sources.extend(
        image
            .more
            .iter()
            .map(|(source, name)| (root().join(source), *name)),
    );
    for (source, name) in sources {
        fs::copy(&source, directory.join(name))
            .with_context(|| format!("copy {} for the image", source.display()))?;
    }
    // The archive of an image is not part of the next.
    fs::write(directory.join(".dockerignore"), format!("{ARCHIVE}\n"))?;
    Ok(directory)
}

/// Builds an image into buildah's storage. With a base image of the test cluster nothing comes from a registry.
fn build(base: Option<&str>, reference: &str, directory: &Path) -> Result<()> {
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
        .arg(directory)
        .run_quietly()
        .with_context(|| format!("build the image {reference}"))
}

/// Writes an image that was built into an archive.
fn write(reference: &str, directory: &Path) -> Result<PathBuf> {
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

fn buildah() -> Result<Run> {
    Ok(tool_named("buildah").arg("--root").arg(images::storage()?))
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
