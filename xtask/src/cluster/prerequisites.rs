//! What a machine must have before a cluster can be started on it. As root on Debian, what is missing is installed.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Tier, Unavailable, say};
use crate::command::Run;

/// A program, and the Debian package it comes in.
struct Tool {
    program: &'static str,
    package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

const CONTROL_PLANE: [Tool; 4] = [
    tool("ip", "iproute2"),
    tool("nsenter", "util-linux"),
    tool("unshare", "util-linux"),
    tool("setsid", "util-linux"),
];

const NODE: [Tool; 9] = [
    tool("containerd", "containerd"),
    tool("ctr", "containerd"),
    tool("runc", "runc"),
    tool("/usr/lib/cni/bridge", "containernetworking-plugins"),
    tool("iptables", "iptables"),
    tool("conntrack", "conntrack"),
    tool("sysctl", "procps"),
    tool("buildah", "buildah"),
    tool("debootstrap", "debootstrap"),
];

/// Looks whether the machine allows a cluster at all, and installs what is missing.
pub fn provide(tier: Tier) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!(Unavailable(
            "it needs Linux (network namespaces): use a Linux machine or virtual machine"
                .to_owned()
        ));
    }
    if !rustix::process::geteuid().is_root() {
        bail!(Unavailable(
            "it needs root (network namespaces): run the command as root".to_owned()
        ));
    }
    let missing = missing(tier);
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// A C compiler for programs that run in any image.
pub fn provide_for_static_programs() -> Result<()> {
    static COMPILER: Tool = tool("musl-gcc", "musl-tools");
    if is_there(COMPILER.program) {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!(Unavailable(format!(
            "a static program needs {}: install it (Debian's package is {})",
            COMPILER.program, COMPILER.package
        )));
    }
    install(&[&COMPILER])
}

fn missing(tier: Tier) -> Vec<&'static Tool> {
    tier.choose(&CONTROL_PLANE, &NODE)
        .filter(|tool| !is_there(tool.program))
        .collect()
}

/// Where they are: programs of administrators need not be on a user's PATH.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One of them, ready to be given arguments.
pub fn tool_named(program: &str) -> Run {
    Run::new(program).env("PATH", PATH)
}

fn is_there(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    env::split_paths(PATH).any(|directory| directory.join(program).exists())
}

fn install(missing: &[&Tool]) -> Result<()> {
    let mut packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let (programs, list) = (
        missing
            .iter()
            .map(|tool| tool.program)
            .collect::<Vec<_>>()
            .join(", "),
        packages.join(" "),
    );
    if !is_there("apt-get") {
        bail!(Unavailable(format!(
            "programs are missing ({programs}): install them (Debian's packages are {list})"
        )));
    }
    say(&format!("installing Debian packages: {list}"));
    let apt = || {
        Run::new("apt-get")
            .args(&["-q", "-o", "DPkg::Lock::Timeout=300"])
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    let remedy =
        || format!("install {list}: try `apt-get update && apt-get install {list}` by hand");
    apt().arg("update").run_quietly().with_context(remedy)?;
    apt()
        .args(&["install", "--yes", "--no-install-recommends"])
        .args(&packages)
        .run_quietly()
        .with_context(remedy)
}
