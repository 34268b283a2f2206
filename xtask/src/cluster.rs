//! `cargo xtask cluster …`: a real Kubernetes for the tests, from Go modules and Debian packages alone.
//!
//! Owns what a cluster consists of and its life; knows nothing of daskjob. Invariants: a cluster lives in a network
//! namespace of its own and serves one checkout; it is left running and found again, until `down`; one that cannot be
//! had on this machine is [`Unavailable`], which is not a failure.

mod certificates;
mod component;
mod control_groups;
mod description;
pub mod images;
mod layout;
mod network;
mod node;
pub mod prerequisites;
mod process;
mod programs;
mod readiness;
mod start;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};

use crate::cache;
use crate::clock;
use crate::command::root;
use component::Component;
use description::Made;
use layout::Layout;
use programs::Programs;
pub use programs::{helm, kubernetes_version};
use readiness::Kubectl;

#[derive(Subcommand)]
pub enum ClusterTask {
    /// Start the test cluster, or find it running
    ///
    /// Builds what it needs from Go modules (about 8 minutes on two cores, once) into the cache directory. Needs Linux, root and Go.
    Up(UpArgs),
    /// End the test cluster: its processes, its network namespace and what it stored
    Down,
    /// Say what is running and where its logs are
    Status,
    /// Make a base image of another release of Debian, give it to the node and print its name
    BaseImage {
        /// Name of the release
        #[arg(value_parser = ["bookworm", "trixie"])]
        release: String,
    },
}

#[derive(Args)]
pub struct UpArgs {
    /// How much of a cluster: 1 is etcd, API server, controllers, scheduler and fake nodes; 2 adds a real node
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    tier: u8,
    /// What to print when it is up; progress goes to standard error
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    /// The cluster's description, or `{"unavailable": "why"}`
    Json,
}

/// How much of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// API server, controllers, scheduler; fake nodes.
    ControlPlane,
    /// A real node beside them.
    Node,
}

impl Tier {
    /// What every tier needs, and what a node needs besides.
    fn choose<T>(
        self,
        always: &'static [T],
        on_node: &'static [T],
    ) -> impl Iterator<Item = &'static T> {
        let on_node = match self {
            Tier::ControlPlane => &[],
            Tier::Node => on_node,
        };
        always.iter().chain(on_node)
    }

    fn from_number(number: u8) -> Self {
        if number >= 2 {
            Tier::Node
        } else {
            Tier::ControlPlane
        }
    }

    fn number(self) -> u8 {
        match self {
            Tier::ControlPlane => 1,
            Tier::Node => 2,
        }
    }
}

/// A test cluster cannot be had on this machine, and why.
#[derive(Debug)]
pub struct Unavailable(String);

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the test cluster is not available here: {}", self.0)
    }
}

impl std::error::Error for Unavailable {}

pub fn run(task: &ClusterTask) -> Result<()> {
    match task {
        ClusterTask::Up(args) => print_up(args),
        ClusterTask::Down => down(),
        ClusterTask::Status => status(),
        ClusterTask::BaseImage { release } => base_image(release),
    }
}

/// Progress, apart from what a program reads.
fn say(line: &str) {
    eprintln!("    {line}");
}

fn layout() -> Result<Layout> {
    Ok(Layout::new(&cache::directory()?, &root()))
}

fn print_up(args: &UpArgs) -> Result<()> {
    let outcome = up(Tier::from_number(args.tier));
    match (args.output, outcome) {
        (Output::Text, outcome) => {
            outcome?;
            print_usage(&layout()?)
        }
        (Output::Json, Ok(description)) => {
            print!("{}", fs::read_to_string(description)?);
            Ok(())
        }
        (Output::Json, Err(error)) => match error.downcast_ref::<Unavailable>() {
            Some(Unavailable(why)) => {
                println!("{}", serde_json::json!({ "unavailable": why }));
                Ok(())
            }
            None => Err(error),
        },
    }
}

/// Names the file with a cluster's description to its tests.
pub const DESCRIPTION: &str = "DASKJOB_TEST_CLUSTER";

/// Makes sure that a cluster is there; returns the file that describes it. Two at once wait for each other.
pub fn up(tier: Tier) -> Result<PathBuf> {
    let layout = layout()?;
    let _lock = lock(&layout)?;
    let was = description::read(&layout);
    // A node that is there is kept, and described.
    let has_node = was.as_ref().is_some_and(|was| was.node.is_some());
    prerequisites::provide(tier)?;
    let programs = Programs::of(if has_node { Tier::Node } else { tier })?;
    let stopwatch = clock::start();
    let kubectl = Kubectl {
        layout: &layout,
        programs: &programs,
    };
    let control_plane = component::control_plane(&layout, &programs);
    let mut made = Made {
        control_plane: fingerprint(
            &control_plane,
            &format!("{:?} {:?}", certificates::USERS, component::files(&layout)),
        ),
        node: None,
    };
    let known = was.filter(|was| was.control_plane == made.control_plane);
    if known.is_some() && are_running(&layout, &control_plane) && kubectl.is_ready() {
        made.node = known.and_then(|known| known.node);
    } else {
        say(&format!("starting the test cluster {} …", layout.name));
        remove(&layout)?;
        start::control_plane(&layout, &kubectl, &control_plane)?;
        say(&format!(
            "ready after {:.1} s",
            stopwatch.elapsed().as_secs_f64()
        ));
    }
    if tier == Tier::Node {
        provide_node(&layout, &kubectl, &mut made)?;
    }
    description::write(&layout, &programs, &made)?;
    Ok(layout.description())
}

/// Makes sure that a control plane has a node.
fn provide_node(layout: &Layout, kubectl: &Kubectl, made: &mut Made) -> Result<()> {
    let components = node::components(layout, kubectl.programs);
    let wanted = Some(fingerprint(
        &components,
        &format!("{:?}", node::files(layout)),
    ));
    if made.node == wanted && are_running(layout, &components) {
        return Ok(());
    }
    say("starting its node …");
    let stopwatch = clock::start();
    start::node(layout, kubectl, &components)?;
    made.node = wanted;
    say(&format!(
        "the node is ready after {:.1} s",
        stopwatch.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn fingerprint(components: &[Component], files: &str) -> String {
    let mut all: Vec<_> = components.iter().map(Component::fingerprint).collect();
    all.push(files.to_owned());
    cache::fingerprint(&all.join("\n"))
}

fn are_running(layout: &Layout, components: &[Component]) -> bool {
    let members = process::members(layout);
    components.iter().all(|component| {
        members
            .iter()
            .any(|member| member.component == component.name)
    })
}

/// For images with another libc than the usual base.
fn base_image(release: &str) -> Result<()> {
    up(Tier::Node)?;
    images::import(&layout()?, &images::base(release)?)?;
    println!("{}", images::base_reference(release));
    Ok(())
}

/// Gives an image in an archive to the node, which is started if need be.
pub fn give_to_node(archive: &Path) -> Result<()> {
    up(Tier::Node)?;
    images::import(&layout()?, &images::Archive::at(archive))
}

/// The same for an image that is made anew only where the node has another one under its name. `id` says what is in it.
pub fn give_to_node_once(
    reference: &str,
    id: &str,
    archive: impl FnOnce() -> Result<PathBuf>,
) -> Result<()> {
    up(Tier::Node)?;
    let layout = layout()?;
    // It goes with what the node keeps.
    let given = layout
        .runtime_directory()
        .join(format!("given-{}", cache::fingerprint(reference)));
    if fs::read_to_string(&given).is_ok_and(|known| known == id) {
        return Ok(());
    }
    images::import(&layout, &images::Archive::at(&archive()?))?;
    fs::write(&given, id).with_context(|| format!("write {}", given.display()))
}

/// Ends a cluster, if there is one.
pub fn down() -> Result<()> {
    let layout = layout()?;
    if !layout.directory.exists() && !layout.network_namespace().exists() {
        println!("the test cluster {} is not running", layout.name);
        return Ok(());
    }
    let _lock = lock(&layout)?;
    remove(&layout)?;
    println!("the test cluster {} has ended", layout.name);
    Ok(())
}

/// Where nobody will come back to it, as in continuous integration, a cluster ends with the run that made it.
pub fn down_unless_somebody_stays() {
    if env::var_os("CI").is_some_and(|value| !value.is_empty())
        && let Err(error) = down()
    {
        eprintln!("end the test cluster: {error:#}");
    }
}

fn remove(layout: &Layout) -> Result<()> {
    process::end(layout, |_| true)?;
    network::remove(layout)?;
    control_groups::remove(layout);
    for directory in [&layout.directory, &layout.runtime_directory()] {
        if directory.exists() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("remove {}", directory.display()))?;
        }
    }
    Ok(())
}

fn lock(layout: &Layout) -> Result<File> {
    let path = layout.lock();
    fs::create_dir_all(path.parent().context("a lock lies in a directory")?)?;
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    if file.try_lock().is_err() {
        say("waiting for another run that starts or ends the test cluster …");
        file.lock()
            .with_context(|| format!("lock {}", path.display()))?;
    }
    Ok(file)
}

fn status() -> Result<()> {
    let layout = layout()?;
    let members = process::members(&layout);
    if members.is_empty() {
        println!(
            "the test cluster {} is not running: `cargo xtask cluster up` starts it",
            layout.name
        );
        return Ok(());
    }
    for member in &members {
        println!("{:>8}  {}", member.pid, member.component);
    }
    print_usage(&layout)
}

fn print_usage(layout: &Layout) -> Result<()> {
    let text = fs::read_to_string(layout.description())
        .context("read the cluster's description: is another run starting it?")?;
    let description: serde_json::Value = serde_json::from_str(&text)?;
    let kubectl = description["programs"]["kubectl"]
        .as_str()
        .unwrap_or("kubectl");
    println!(
        "test cluster {}: Kubernetes {}, tier {}",
        layout.name,
        description["kubernetes"].as_str().unwrap_or_default(),
        description["tier"]
    );
    println!("  kubeconfig  {}", layout.kubeconfig("admin").display());
    println!("  logs        {}", layout.logs().display());
    println!(
        "  use it      nsenter --net={} {kubectl} --kubeconfig {} get nodes",
        layout.network_namespace().display(),
        layout.kubeconfig("admin").display()
    );
    println!("It keeps running until `cargo xtask cluster down`.");
    Ok(())
}
