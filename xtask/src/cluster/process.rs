//! Starting the components of a cluster, finding them again and ending them.
//!
//! Invariant: a process belongs to a cluster exactly if a mark in its environment says so, or if it runs in a control
//! group of the cluster (a container does). So none is found by its name, and none is missed whatever became of who
//! started it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::component::{Component, Mounts};
use super::layout::Layout;
use super::prerequisites::PATH;
use crate::clock;

/// Environment variable of every component: `<cluster>/<component>`.
const MARK: &str = "DASKJOB_TEST_CLUSTER_MEMBER";

/// Where container runtimes keep things whatever their configuration says. In mounts of its own, a cluster gets empty
/// directories there that are gone with it.
const HIDE_FIXED_PLACES: &str = r#"set -e
for place in /run/containerd /var/lib/cni; do mkdir -p "$place"; mount -t tmpfs tmpfs "$place"; done
exec "$@""#;

/// What a process in a pod is.
pub const CONTAINER: &str = "container";

/// A process of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub pid: i32,
    /// Name of the component it is, or was started by; [`CONTAINER`] for what runs in a pod.
    pub component: String,
}

/// Starts a component, detached: it outlives us and hears none of the terminal's signals.
pub fn start(layout: &Layout, component: &Component) -> Result<Child> {
    let log = File::create(layout.log(component.name)).context("make a log file")?;
    let mut command = Command::new("setsid");
    command
        .arg("nsenter")
        .arg(format!("--net={}", layout.network_namespace().display()));
    match component.mounts {
        Mounts::OfMachine => {}
        Mounts::Own => {
            command.args(["unshare", "--mount", "--propagation=private"]);
            command.args(["sh", "-c", HIDE_FIXED_PLACES, "sh"]);
        }
        Mounts::Of(other) => {
            let pid = find(layout, other)
                .with_context(|| format!("start {}: {other} is not running", component.name))?;
            command.arg(format!("--mount=/proc/{pid}/ns/mnt"));
        }
    }
    command
        .arg(&component.program)
        .args(&component.arguments)
        .current_dir(&layout.directory)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", &layout.directory)
        .env(MARK, format!("{}/{}", layout.name, component.name))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", component.name))
}

/// Every process of a cluster.
pub fn members(layout: &Layout) -> Vec<Member> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![];
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let component = membership(&entry.path(), &layout.name)?;
            Some(Member { pid, component })
        })
        .collect()
}

/// The first process of a component.
pub fn find(layout: &Layout, component: &str) -> Option<i32> {
    members(layout)
        .iter()
        .filter(|member| member.component == component)
        .map(|member| member.pid)
        .min()
}

/// What a process is in a cluster, from its directory in /proc. One that has ended but was not waited for is nothing.
fn membership(process: &Path, cluster: &str) -> Option<String> {
    // Only a living process has an environment or a command line.
    if fs::read(process.join("cmdline")).ok()?.is_empty() {
        return None;
    }
    // That of a process with more rights than ours cannot be read.
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    let marked = environment
        .split(|byte| *byte == 0)
        .filter_map(|variable| std::str::from_utf8(variable).ok())
        .find_map(|variable| mark_of(variable, cluster));
    if let Some(component) = marked {
        return Some(component.to_owned());
    }
    let groups = fs::read_to_string(process.join("cgroup")).ok()?;
    in_group_of(&groups, cluster).then(|| CONTAINER.to_owned())
}

fn mark_of<'a>(variable: &'a str, cluster: &str) -> Option<&'a str> {
    variable
        .strip_prefix(MARK)?
        .strip_prefix('=')?
        .strip_prefix(cluster)?
        .strip_prefix('/')
}

fn in_group_of(groups: &str, cluster: &str) -> bool {
    groups
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .any(|path| path.split('/').any(|part| part == cluster))
}

/// Ends processes of a cluster and waits until they are gone. What they kept is thrown away, so nobody is asked.
pub fn end(layout: &Layout, which: impl Fn(&Member) -> bool) -> Result<()> {
    let stopwatch = clock::start();
    loop {
        let left: Vec<_> = members(layout).into_iter().filter(&which).collect();
        if left.is_empty() {
            return Ok(());
        }
        if stopwatch.elapsed() > Duration::from_secs(20) {
            bail!("end the processes of {}: {left:?} do not die", layout.name);
        }
        for member in &left {
            let pid = Pid::from_raw(member.pid).expect("a process has a number");
            // One that has ended meanwhile is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_mark() {
        let variable = "DASKJOB_TEST_CLUSTER_MEMBER=daskjob-1234/etcd";
        assert_eq!(mark_of(variable, "daskjob-1234"), Some("etcd"));
        assert_eq!(mark_of(variable, "daskjob-12"), None);
        assert_eq!(mark_of("PATH=/bin", "daskjob-1234"), None);
    }

    #[test]
    fn a_container_is_known_by_its_control_group() {
        let groups = "4:memory:/daskjob-1234/kubepods/besteffort/pod7/9\n1:name=systemd:/\n";
        assert!(in_group_of(groups, "daskjob-1234"));
        assert!(!in_group_of(groups, "daskjob-12"));
        assert!(!in_group_of("0::/user.slice", "daskjob-1234"));
    }
}
