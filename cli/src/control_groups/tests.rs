//! The kernel's own control groups, in both versions, where this machine lets us: else a line says what was skipped.

use super::site::Base;
use super::{Controller, Leaf, Limits, RunGroups, Site, Version, observe, sweep, tree};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A group to try things in, removed afterwards.
struct Ground {
    directory: PathBuf,
}

impl Ground {
    fn new(hierarchy: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = hierarchy.join(format!("try-{}-{number}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        Ground { directory }
    }

    fn site(&self, version: Version, controllers: &[Controller]) -> Site {
        Site {
            version,
            bases: vec![Base {
                directory: self.directory.clone(),
                controllers: controllers.to_vec(),
            }],
            step_aside: version == Version::Two,
        }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        tree::end(&self.directory);
    }
}

fn ground_of_one(controller: Controller) -> Option<Ground> {
    let hierarchies = observe::facts().of_one;
    let found = hierarchies
        .iter()
        .find(|hierarchy| hierarchy.controller == controller && hierarchy.writable);
    if found.is_none() {
        eprintln!(
            "skipped: no {} hierarchy of version one may be written here",
            controller.as_str()
        );
    }
    found.map(|hierarchy| Ground::new(&hierarchy.directory))
}

fn ground_of_two() -> Option<Ground> {
    let unified = observe::facts()
        .of_two
        .filter(|unified| unified.writable && (unified.top || unified.others == 0));
    if unified.is_none() {
        eprintln!("skipped: version two is not mounted here, or may not be written");
    }
    unified.map(|unified| Ground::new(&unified.directory))
}

fn memory_of(mebibytes: u64) -> Limits {
    Limits {
        memory_bytes: Some(mebibytes << 20),
        ..Limits::default()
    }
}

fn start(leaf: &Leaf, script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    leaf.hold(&mut command).unwrap();
    command.spawn().unwrap()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

/// A grandchild in a session of its own, whose parents are gone.
const ESCAPE: &str = "setsid sh -c 'sleep 1000 & exit' & wait";

fn only_the_escaped_is_left(group: &Path) {
    for _ in 0..1000 {
        let names: Vec<String> = observe::processes(group)
            .iter()
            .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok())
            .collect();
        if names == ["sleep\n"] {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nothing escaped into {}", group.display());
}

#[test]
fn version_one_limits_memory_and_ends_what_has_escaped() {
    let Some(ground) = ground_of_one(Controller::Memory) else {
        return;
    };
    let site = ground.site(Version::One, &[Controller::Memory]);
    let groups = RunGroups::make(&site, "daskjob-a").unwrap();
    let leaf = groups.leaf("x", &memory_of(64)).unwrap();
    let group = ground.directory.join("daskjob-a/x");
    assert_eq!(
        read(&group.join("memory.limit_in_bytes")),
        (64 << 20).to_string()
    );
    let mut child = start(&leaf, ESCAPE);
    child.wait().unwrap();
    only_the_escaped_is_left(&group);
    assert_eq!(groups.remove(), 0);
    assert!(!ground.directory.join("daskjob-a").exists());
}

#[test]
fn version_one_limits_processor_time() {
    let Some(ground) = ground_of_one(Controller::Cpu) else {
        return;
    };
    let site = ground.site(Version::One, &[Controller::Cpu]);
    let groups = RunGroups::make(&site, "daskjob-a").unwrap();
    let limits = Limits {
        cores: Some(0.5),
        ..Limits::default()
    };
    let _leaf = groups.leaf("x", &limits).unwrap();
    let group = ground.directory.join("daskjob-a/x");
    assert_eq!(read(&group.join("cpu.cfs_quota_us")), "50000");
    // Less around it: what the kernel refuses to raise holds anyway.
    std::fs::write(ground.directory.join("cpu.cfs_quota_us"), "60000").unwrap();
    let more = Limits {
        cores: Some(2.0),
        ..Limits::default()
    };
    groups.leaf("y", &more).unwrap();
    groups.remove();
}

#[test]
fn what_the_kernel_ends_at_its_limit_is_told() {
    let Some(ground) = ground_of_one(Controller::Memory) else {
        return;
    };
    let site = ground.site(Version::One, &[Controller::Memory]);
    let groups = RunGroups::make(&site, "daskjob-a").unwrap();
    let leaf = groups.leaf("x", &memory_of(16)).unwrap();
    assert!(!leaf.memory().ran_out(true));
    // `tail` keeps what has no end of line.
    let status = start(&leaf, "exec tail /dev/zero").wait().unwrap();
    let record = leaf.memory();
    assert!(!status.success() && record.ran_out(false), "{record:?}");
    let peak = record.peak_bytes.unwrap();
    assert!((15 << 20..=16 << 20).contains(&peak), "{peak}");
    assert_eq!(record.limit_bytes, Some(16 << 20));
    groups.remove();
}

#[test]
fn version_two_moves_us_out_of_the_base_ends_a_whole_tree_at_once_and_puts_us_back() {
    let Some(ground) = ground_of_two() else {
        return;
    };
    // In our place: what is in the base when a run begins.
    let mut front = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = front.id().cast_signed();
    tree::enter(&ground.directory, pid).unwrap();
    let groups = RunGroups::make(&ground.site(Version::Two, &[]), "daskjob-a").unwrap();
    let run = ground.directory.join("daskjob-a");
    assert!(observe::processes(&ground.directory).is_empty());
    assert_eq!(observe::processes(&run.join("own")), [pid]);
    let leaf = groups.leaf("x", &memory_of(64)).unwrap();
    let inner = run.join("x/inner");
    std::fs::create_dir(&inner).unwrap();
    start(&leaf, ESCAPE).wait().unwrap();
    only_the_escaped_is_left(&run.join("x"));
    assert_eq!(groups.end_leaves(), 0);
    assert_eq!(observe::processes(&run.join("own")), [pid], "not our own");
    assert_eq!(groups.remove(), 0);
    assert!(!run.exists());
    assert_eq!(observe::processes(&ground.directory), [pid]);
    front.kill().unwrap();
    front.wait().unwrap();
}

#[test]
fn what_a_dead_run_left_is_swept_and_a_living_one_is_left_alone() {
    let Some(ground) = ground_of_one(Controller::Memory) else {
        return;
    };
    let site = ground.site(Version::One, &[Controller::Memory]);
    let run = |name: &str| {
        let groups = RunGroups::make(&site, name).unwrap();
        let mut command = Command::new("sleep");
        groups
            .leaf("x", &Limits::default())
            .unwrap()
            .hold(command.arg("1000").process_group(0))
            .unwrap();
        (groups, command.spawn().unwrap())
    };
    let (mut dead, mut left_behind) = run("daskjob-run-dead");
    let (alive, mut running) = run("daskjob-run-alive");
    dead.locks.clear();
    // Of another program, which knows nothing of our locks.
    let foreign = ground.directory.join("daskjob-other");
    std::fs::create_dir(&foreign).unwrap();
    assert_eq!(
        sweep(&ground.directory),
        (1, vec!["daskjob-run-dead".into()])
    );
    assert!(!left_behind.wait().unwrap().success());
    assert!(!ground.directory.join("daskjob-run-dead").exists());
    assert!(running.try_wait().unwrap().is_none());
    assert!(foreign.exists());
    assert_eq!(sweep(&ground.directory), (0, vec![]));
    assert_eq!(alive.remove(), 0);
    running.wait().unwrap();
}

#[test]
fn a_group_that_cannot_be_made_leaves_nothing() {
    let Some(ground) = ground_of_one(Controller::Memory) else {
        return;
    };
    let mut site = ground.site(Version::One, &[Controller::Memory]);
    site.bases.push(Base {
        directory: "/nowhere".into(),
        controllers: vec![Controller::Cpu],
    });
    assert!(RunGroups::make(&site, "daskjob-a").is_err());
    assert!(!ground.directory.join("daskjob-a").exists());
}

#[test]
fn the_front_removes_what_a_killed_supervisor_recorded() {
    let Some(ground) = ground_of_one(Controller::Memory) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let site = ground.site(Version::One, &[Controller::Memory]);
    let groups = RunGroups::make(&site, "daskjob-a").unwrap();
    groups.record(directory.path());
    let mut child = start(
        &groups.leaf("x", &Limits::default()).unwrap(),
        "exec sleep 1000",
    );
    assert_eq!(super::remove_recorded(directory.path()), 0);
    assert!(!child.wait().unwrap().success());
    assert!(!ground.directory.join("daskjob-a").exists());
}
