//! Which pods of a job are meant, and what their lines are marked with. Pure.

use crate::problem::Problem;
use contract::Role;
use k8s_openapi::api::core::v1::Pod;
use plan::objects::labels::{self, PodIdentity};

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// None stands for all.
    pub role: Option<Role>,
    pub group: Option<String>,
    pub worker: Option<u32>,
    /// None stands for all that are left.
    pub attempt: Option<u32>,
}

/// A pod of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub pod: String,
    pub identity: PodIdentity,
}

impl Wanted {
    /// Checks that what was asked for fits together.
    pub fn check(&self) -> Result<(), Problem> {
        let of_workers = self.group.is_some() || self.worker.is_some();
        if of_workers && self.role.is_some_and(|role| role != Role::Worker) {
            return Err(Problem::refused(
                "--group and --worker are about workers",
                "add --role worker, or leave them out",
            ));
        }
        Ok(())
    }

    /// `worker gpu-3 `, before the word for what it is.
    pub fn title(&self) -> String {
        let role = self
            .role
            .map_or_else(String::new, |role| format!("{role} "));
        match (&self.group, self.worker) {
            (None, None) => role,
            (Some(group), None) => format!("{role}{group} "),
            (group, Some(worker)) => format!("{role}{}-{worker} ", group.as_deref().unwrap_or("*")),
        }
    }

    fn takes(&self, identity: &PodIdentity) -> bool {
        self.role.is_none_or(|role| identity.role == role)
            && self
                .attempt
                .is_none_or(|attempt| identity.attempt == attempt)
            && (self.group.is_none() || identity.group == self.group)
            && (self.worker.is_none() || identity.number == self.worker)
    }
}

/// The pods that are meant: by attempt, runner first, workers by group and number.
pub fn select(pods: &[Pod], wanted: &Wanted) -> Vec<Found> {
    let mut found: Vec<Found> = pods
        .iter()
        .filter_map(|pod| {
            let identity = labels::read(pod.metadata.labels.as_ref()?)?;
            Some(Found {
                pod: pod.metadata.name.clone()?,
                identity,
            })
        })
        .filter(|found| wanted.takes(&found.identity))
        .collect();
    let rank = |role: Role| match role {
        Role::Runner => 0,
        Role::Scheduler => 1,
        Role::Worker => 2,
    };
    found.sort_by_cached_key(|found| {
        let identity = &found.identity;
        (
            identity.attempt,
            rank(identity.role),
            identity.group.clone(),
            identity.number,
        )
    });
    found
}

/// `[worker default-3] `; with the number of the attempt where there are several.
pub fn prefix(identity: &PodIdentity, several_attempts: bool) -> String {
    let attempt = match several_attempts {
        true => format!("{} ", identity.attempt),
        false => String::new(),
    };
    match (&identity.group, identity.number) {
        (Some(group), Some(number)) => format!("[{attempt}{} {group}-{number}] ", identity.role),
        (_, _) => format!("[{attempt}{}] ", identity.role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, role: &str, attempt: &str, worker: Option<(&str, &str)>) -> Pod {
        let mut labels = json!({"daskjob.dev/role": role, "daskjob.dev/attempt": attempt});
        if let Some((group, number)) = worker {
            labels["daskjob.dev/worker-group"] = json!(group);
            labels["daskjob.dev/worker-number"] = json!(number);
        }
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn all() -> Vec<Pod> {
        vec![
            pod("w10", "worker", "1", Some(("default", "10"))),
            pod("w2", "worker", "1", Some(("default", "2"))),
            pod("g0", "worker", "1", Some(("gpu", "0"))),
            pod("s", "scheduler", "1", None),
            pod("r", "runner", "1", None),
            serde_json::from_value(json!({"metadata": {"name": "stranger"}})).unwrap(),
        ]
    }

    fn names(wanted: &Wanted) -> Vec<String> {
        select(&all(), wanted)
            .into_iter()
            .map(|found| found.pod)
            .collect()
    }

    #[test]
    fn pods_are_chosen_by_role_group_number_and_attempt() {
        assert_eq!(names(&Wanted::default()), ["r", "s", "w2", "w10", "g0"]);
        let of = |role| Wanted {
            role: Some(role),
            ..Wanted::default()
        };
        assert_eq!(names(&of(Role::Worker)), ["w2", "w10", "g0"]);
        assert_eq!(
            names(&Wanted {
                group: Some("gpu".to_owned()),
                ..Wanted::default()
            }),
            ["g0"]
        );
        assert_eq!(
            names(&Wanted {
                worker: Some(2),
                ..of(Role::Worker)
            }),
            ["w2"]
        );
        assert!(
            names(&Wanted {
                attempt: Some(2),
                ..Wanted::default()
            })
            .is_empty()
        );
    }

    #[test]
    fn a_group_of_schedulers_makes_no_sense() {
        let wanted = Wanted {
            role: Some(Role::Scheduler),
            worker: Some(1),
            ..Wanted::default()
        };
        assert!(wanted.check().is_err());
        assert!(
            Wanted {
                worker: Some(1),
                ..Wanted::default()
            }
            .check()
            .is_ok()
        );
    }

    #[test]
    fn a_line_is_marked_with_whose_it_is() {
        let found = select(&all(), &Wanted::default());
        assert_eq!(prefix(&found[0].identity, false), "[runner] ");
        assert_eq!(prefix(&found[3].identity, true), "[1 worker default-10] ");
    }
}
