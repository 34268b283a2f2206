//! Where a run may make its control groups, or why it may not: decided from what was observed. Pure.

use super::limits::{Controller, Version};
use std::path::{Path, PathBuf};

/// What was observed of the machine and of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Version one: where this process is, for each controller that is mounted.
    pub of_one: Vec<Hierarchy>,
    /// Version two, where it is mounted.
    pub of_two: Option<Unified>,
    pub superuser: bool,
    /// Whether systemd runs this machine, and could give a group away.
    pub systemd: bool,
}

/// One hierarchy of version one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    pub controller: Controller,
    pub directory: PathBuf,
    pub writable: bool,
}

/// The one hierarchy of version two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    pub directory: PathBuf,
    pub writable: bool,
    /// The very top of the hierarchy, where alone processes and handing controllers down go together.
    pub top: bool,
    pub available: Vec<Controller>,
    /// Processes in the same group that are not of this run.
    pub others: usize,
}

/// Where the groups of a run are to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    pub version: Version,
    /// At least one; the first holds every process.
    pub bases: Vec<Base>,
    /// Our own processes must leave the base before it can hand controllers down.
    pub step_aside: bool,
}

/// A group to make others in, and what these can limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    pub directory: PathBuf,
    pub controllers: Vec<Controller>,
}

impl Site {
    pub fn limits(&self, controller: Controller) -> bool {
        self.bases
            .iter()
            .any(|base| base.controllers.contains(&controller))
    }
}

/// Why something cannot be limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    NotMounted,
    NotWritable(PathBuf),
    /// Version two cannot limit the parts of a group that has processes itself.
    Shared(PathBuf),
    NotHandedDown(Controller, PathBuf),
    /// The kernel refused what should have worked.
    Refused(String),
}

/// Where the groups of a run are to be made.
pub fn choose(facts: &Facts) -> Result<Site, Obstacle> {
    if !facts.of_one.is_empty() {
        return choose_one(&facts.of_one);
    }
    let Some(unified) = &facts.of_two else {
        return Err(Obstacle::NotMounted);
    };
    let directory = unified.directory.clone();
    if !unified.writable {
        return Err(Obstacle::NotWritable(directory));
    }
    if unified.others > 0 && !unified.top {
        return Err(Obstacle::Shared(directory));
    }
    Ok(Site {
        version: Version::Two,
        bases: vec![Base {
            directory,
            controllers: unified.available.clone(),
        }],
        step_aside: !unified.top,
    })
}

fn choose_one(hierarchies: &[Hierarchy]) -> Result<Site, Obstacle> {
    let mut bases: Vec<Base> = Vec::new();
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.writable) {
        // Controllers may be mounted together.
        match bases
            .iter_mut()
            .find(|base| base.directory == hierarchy.directory)
        {
            Some(base) => base.controllers.push(hierarchy.controller),
            None => bases.push(Base {
                directory: hierarchy.directory.clone(),
                controllers: vec![hierarchy.controller],
            }),
        }
    }
    if bases.is_empty() {
        return Err(Obstacle::NotWritable(hierarchies[0].directory.clone()));
    }
    Ok(Site {
        version: Version::One,
        bases,
        step_aside: false,
    })
}

/// Why a chosen site does not limit this.
pub fn what_lacks(facts: &Facts, site: &Site, controller: Controller) -> Obstacle {
    let refused = facts
        .of_one
        .iter()
        .find(|hierarchy| hierarchy.controller == controller);
    match refused {
        Some(hierarchy) => Obstacle::NotWritable(hierarchy.directory.clone()),
        None => Obstacle::NotHandedDown(controller, site.bases[0].directory.clone()),
    }
}

impl Obstacle {
    /// Why, and what would allow it, as the rest of a sentence.
    pub fn explanation(&self, facts: &Facts) -> String {
        let shown = |directory: &Path| directory.display().to_string();
        match self {
            Obstacle::NotMounted => "no control groups are mounted here".to_owned(),
            Obstacle::NotWritable(directory) if facts.of_one.is_empty() => format!(
                "this process may not write to its control group, {}; {}",
                shown(directory),
                own_group(facts)
            ),
            Obstacle::NotWritable(directory) => format!(
                "this process may not write to its control group, {}; root may, where it is mounted writable",
                shown(directory)
            ),
            Obstacle::Shared(directory) => format!(
                "other processes share the control group {}; {}",
                shown(directory),
                own_group(facts)
            ),
            Obstacle::NotHandedDown(controller, directory) => format!(
                "the controller {} is not handed down to {}; who runs the machine can (systemd: Delegate=)",
                controller.as_str(),
                shown(directory)
            ),
            Obstacle::Refused(what) => what.clone(),
        }
    }
}

/// How to come by a group of one's own.
fn own_group(facts: &Facts) -> String {
    match (facts.systemd, facts.superuser) {
        (true, true) => {
            "start it with `systemd-run --scope -p Delegate=yes` to enforce them".to_owned()
        }
        (true, false) => {
            "start it with `systemd-run --user --scope -p Delegate=yes` to enforce them".to_owned()
        }
        (false, _) => "a writable one that it does not share would do".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(controller: Controller, directory: &str, writable: bool) -> Hierarchy {
        Hierarchy {
            controller,
            directory: directory.into(),
            writable,
        }
    }

    fn two() -> Unified {
        Unified {
            directory: "/sys/fs/cgroup/user.slice/run.scope".into(),
            writable: true,
            top: false,
            available: Controller::ALL.to_vec(),
            others: 0,
        }
    }

    fn with_two(change: impl FnOnce(&mut Unified)) -> Facts {
        let mut unified = two();
        change(&mut unified);
        Facts {
            of_two: Some(unified),
            systemd: true,
            ..Facts::default()
        }
    }

    #[test]
    fn version_one_takes_each_hierarchy_that_may_be_written() {
        let memory = one(Controller::Memory, "/c/memory/a", true);
        let mut facts = Facts {
            of_one: vec![memory, one(Controller::Cpu, "/c/cpu", false)],
            of_two: Some(two()),
            ..Facts::default()
        };
        let site = choose(&facts).unwrap();
        assert_eq!((site.version, site.step_aside), (Version::One, false));
        assert!(site.limits(Controller::Memory) && !site.limits(Controller::Cpu));
        assert_eq!(
            what_lacks(&facts, &site, Controller::Cpu),
            Obstacle::NotWritable("/c/cpu".into())
        );
        facts.of_one[0].writable = false;
        assert_eq!(
            choose(&facts),
            Err(Obstacle::NotWritable("/c/memory/a".into()))
        );
    }

    #[test]
    fn controllers_that_are_mounted_together_are_one_base() {
        let facts = Facts {
            of_one: vec![
                one(Controller::Memory, "/c/all", true),
                one(Controller::Cpu, "/c/all", true),
            ],
            ..Facts::default()
        };
        let site = choose(&facts).unwrap();
        assert_eq!(site.bases.len(), 1);
        assert_eq!(site.bases[0].controllers, Controller::ALL);
    }

    #[test]
    fn version_two_needs_a_group_of_its_own_and_leaves_it() {
        let site = choose(&with_two(|_| ())).unwrap();
        assert_eq!((site.version, site.step_aside), (Version::Two, true));
        let shared = choose(&with_two(|unified| unified.others = 3));
        assert!(matches!(shared, Err(Obstacle::Shared(_))), "{shared:?}");
    }

    #[test]
    fn at_the_top_of_version_two_others_do_not_matter() {
        let facts = with_two(|unified| {
            unified.top = true;
            unified.others = 100;
        });
        assert!(!choose(&facts).unwrap().step_aside);
    }

    #[test]
    fn a_user_without_rights_is_told_in_one_sentence_what_would_allow_it() {
        let mut facts = with_two(|unified| unified.writable = false);
        let obstacle = choose(&facts).unwrap_err();
        assert!(
            obstacle
                .explanation(&facts)
                .contains("`systemd-run --user --scope -p Delegate=yes`")
        );
        facts.superuser = true;
        assert!(
            obstacle
                .explanation(&facts)
                .contains("`systemd-run --scope -p Delegate=yes`")
        );
        facts.systemd = false;
        assert!(!obstacle.explanation(&facts).contains("systemd"));
    }

    #[test]
    fn a_controller_that_is_not_handed_down_is_named() {
        let facts = with_two(|unified| unified.available = vec![Controller::Memory]);
        let site = choose(&facts).unwrap();
        let lacking = what_lacks(&facts, &site, Controller::Cpu);
        assert!(
            lacking
                .explanation(&facts)
                .starts_with("the controller cpu is not handed down to /sys/fs/cgroup/user.slice")
        );
    }

    #[test]
    fn a_machine_without_control_groups_is_no_error() {
        assert_eq!(choose(&Facts::default()), Err(Obstacle::NotMounted));
    }
}
