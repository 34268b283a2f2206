//! Limits where the system allows: each process of a run in a control group, in both versions of the kernel's interface.
//!
//! ```text
//! <base>/daskjob-run-<run>/              the run; whoever holds a lock on it is alive
//! <base>/daskjob-run-<run>/own/          front and supervisor, where version two wants them out of the base
//! <base>/daskjob-run-<run>/<process>/    one process of the run and all its descendants
//! ```
//!
//! `site` and `limits` decide, `observe`, `leaf` and `tree` look and act. A machine that allows nothing is no error: the
//! run goes on without, and an `Obstacle` says why.
//!
//! Invariant: a process is in its group before its program begins, so that none of its descendants is outside.

mod leaf;
mod limits;
mod observe;
mod site;
mod tree;

pub use leaf::Leaf;
pub use limits::{Controller, Limits, MemoryRecord};

use limits::Version;
use serde::{Deserialize, Serialize};
use site::{Facts, Obstacle, Site};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Where the front finds what a killed supervisor has made, in the run's directory.
const RECORD: &str = "control-groups.json";

/// Every run's group begins with this, and no other: what begins so and is not locked is ended.
const PREFIX: &str = "daskjob-run-";

/// Every run's directory begins with this.
pub const DIRECTORY_PREFIX: &str = "daskjob-";

/// The group of our own two processes.
const OWN: &str = "own";

/// How often a group may vanish under us: another run can take a new one for a dead one's.
const TRIES: u32 = 3;

/// The groups of one run.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunGroups {
    version: Version,
    bases: Vec<RunBase>,
    /// Version two: our own processes were moved out of the base, and go back at the end.
    stepped_aside: bool,
    /// The run's directory stays, whatever happens.
    keep: bool,
    /// While one is held, the run is alive.
    #[serde(skip)]
    locks: Vec<File>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RunBase {
    /// Where we were found.
    base: PathBuf,
    /// What we made in it.
    run: PathBuf,
    controllers: Vec<Controller>,
    /// Version two: controllers that the base hands down because we said so.
    switched_on: Vec<Controller>,
}

/// What came of making groups.
pub struct Made {
    pub groups: Option<RunGroups>,
    /// Processes that dead runs had left, ended now.
    pub swept: usize,
    facts: Facts,
    obstacle: Option<Obstacle>,
    site: Option<Site>,
}

impl Made {
    /// Why a limit is not enforced, and what would allow it; `None` where it is.
    pub fn why_not(&self, controller: Controller) -> Option<String> {
        if let Some(obstacle) = &self.obstacle {
            return Some(obstacle.explanation(&self.facts));
        }
        let site = self.site.as_ref()?;
        (!site.limits(controller))
            .then(|| site::what_lacks(&self.facts, site, controller).explanation(&self.facts))
    }
}

/// Sweeps what dead runs left, and makes the groups of the run that has this directory.
pub fn make(directory: &Path, keep: bool) -> Made {
    let facts = observe::facts();
    let mut made = Made {
        groups: None,
        swept: 0,
        obstacle: None,
        site: None,
        facts,
    };
    match site::choose(&made.facts) {
        Ok(site) => {
            for base in &site.bases {
                let (processes, names) = sweep(&base.directory);
                made.swept += processes;
                for name in names {
                    let own = name.strip_prefix(PREFIX).unwrap_or_default();
                    let theirs = format!("{DIRECTORY_PREFIX}{own}");
                    remove_directory_of_dead(&directory.with_file_name(theirs));
                }
            }
            match RunGroups::make(&site, &name_of(directory)) {
                Ok(mut groups) => {
                    groups.keep = keep;
                    groups.record(directory);
                    made.groups = Some(groups);
                }
                Err(error) => {
                    let what = format!(
                        "control groups in {} cannot be made: {error}",
                        site.bases[0].directory.display()
                    );
                    made.obstacle = Some(Obstacle::Refused(what));
                }
            }
            made.site = Some(site);
        }
        Err(obstacle) => made.obstacle = Some(obstacle),
    }
    made
}

/// Removes the groups of a run whose supervisor was killed, and what still runs in them.
pub fn remove_recorded(directory: &Path) -> usize {
    recorded(directory).map_or(0, |groups| groups.remove())
}

fn recorded(directory: &Path) -> Option<RunGroups> {
    let record = std::fs::read(directory.join(RECORD)).ok()?;
    serde_json::from_slice(&record).ok()
}

/// The directory of a dead run has the name of its group, and a record that says whether it is to stay.
fn remove_directory_of_dead(directory: &Path) {
    if recorded(directory).is_some_and(|groups| !groups.keep) {
        // Another user's, or half gone: then it stays.
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// After the run's directory, whose name is one of a kind.
fn name_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let own = name.strip_prefix(DIRECTORY_PREFIX).unwrap_or(&name);
    format!("{PREFIX}{own}")
}

/// Ends what dead runs left below a base: groups that nobody holds a lock on. Returns how many processes that were, and
/// the names of the runs.
fn sweep(base: &Path) -> (usize, Vec<String>) {
    let (mut swept, mut names) = (0, Vec::new());
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let run = entry.path();
        if let Ok(lock) = File::open(&run)
            && lock.try_lock().is_ok()
        {
            swept += tree::processes_below(&run, OWN);
            tree::end_children(&run, OWN);
            tree::remove(&run);
            names.push(name);
        }
    }
    (swept, names)
}

impl RunGroups {
    fn make(site: &Site, name: &str) -> io::Result<Self> {
        let mut groups = RunGroups {
            version: site.version,
            bases: Vec::new(),
            stepped_aside: false,
            keep: false,
            locks: Vec::new(),
        };
        match groups.make_all(site, name) {
            Ok(()) => Ok(groups),
            Err(error) => {
                groups.remove();
                Err(error)
            }
        }
    }

    fn make_all(&mut self, site: &Site, name: &str) -> io::Result<()> {
        for base in &site.bases {
            let run = base.directory.join(name);
            self.locks.push(make_and_lock(&run)?);
            self.bases.push(RunBase {
                base: base.directory.clone(),
                run,
                controllers: base.controllers.clone(),
                switched_on: Vec::new(),
            });
        }
        if site.step_aside {
            let RunBase { base, run, .. } = &self.bases[0];
            let own = run.join(OWN);
            std::fs::create_dir(&own)?;
            self.stepped_aside = true;
            for pid in observe::processes(base) {
                tree::enter(&own, pid)?;
            }
        }
        if site.version == Version::Two {
            self.bases.iter_mut().try_for_each(RunBase::hand_down)?;
        }
        Ok(())
    }

    /// So that a front without a supervisor knows.
    fn record(&self, directory: &Path) {
        let text = serde_json::to_vec(self).expect("paths and words are JSON");
        // Without it the next run sweeps instead.
        let _ = std::fs::write(directory.join(RECORD), text);
    }

    /// A group for one process and its descendants. Limits that this site cannot keep are left out.
    pub fn leaf(&self, name: &str, limits: &Limits) -> io::Result<Leaf> {
        let used = self.bases.iter().enumerate().filter(|(index, base)| {
            *index == 0
                || base
                    .controllers
                    .iter()
                    .any(|controller| limits.wants(*controller))
        });
        let parts = used
            .map(|(_, base)| (base.run.as_path(), base.controllers.as_slice()))
            .collect::<Vec<_>>();
        Leaf::make(self.version, &parts, name, limits)
    }

    /// Ends every process of the run but our own two, and removes their groups. Returns how many could not be ended.
    pub fn end_leaves(&self) -> usize {
        let left = self.bases.iter().map(|base| {
            tree::end_children(&base.run, OWN);
            tree::processes_below(&base.run, OWN)
        });
        left.max().unwrap_or(0)
    }

    /// Ends everything and leaves the machine's groups as they were. May be done twice.
    pub fn remove(&self) -> usize {
        let left = self.end_leaves();
        for base in &self.bases {
            base.take_back();
            if self.stepped_aside {
                let own = base.run.join(OWN);
                for pid in observe::processes(&own) {
                    // It may have ended just now.
                    let _ = tree::enter(&base.base, pid);
                }
            }
            tree::remove(&base.run);
        }
        left
    }
}

impl RunBase {
    /// Version two: the base limits the run's group, and the run's group its processes'.
    fn hand_down(&mut self) -> io::Result<()> {
        let handed = |group: &Path| {
            std::fs::read_to_string(group.join("cgroup.subtree_control")).unwrap_or_default()
        };
        let already = handed(&self.base);
        for controller in self.controllers.clone() {
            let name = controller.as_str();
            if !already.split_whitespace().any(|each| each == name) {
                switch(&self.base, '+', controller)?;
                self.switched_on.push(controller);
            }
            switch(&self.run, '+', controller)?;
        }
        Ok(())
    }

    /// Another run may still need it; then it stays.
    fn take_back(&self) {
        for controller in &self.controllers {
            let _ = switch(&self.run, '-', *controller);
        }
        for controller in &self.switched_on {
            let _ = switch(&self.base, '-', *controller);
        }
    }
}

fn switch(group: &Path, sign: char, controller: Controller) -> io::Result<()> {
    if !group.join("cgroup.subtree_control").exists() {
        return Ok(());
    }
    let word = format!("{sign}{}", controller.as_str());
    std::fs::write(group.join("cgroup.subtree_control"), word)
}

fn make_and_lock(run: &Path) -> io::Result<File> {
    for _ in 0..TRIES {
        std::fs::create_dir(run)?;
        let lock = File::open(run)?;
        if lock.try_lock_shared().is_ok() && run.is_dir() {
            return Ok(lock);
        }
        let _ = std::fs::remove_dir(run);
    }
    Err(io::Error::other("another run removes it each time"))
}

#[cfg(test)]
mod tests;
