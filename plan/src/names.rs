//! Names of what an attempt is made of: RFC 1035 labels of at most 63 characters.
//!
//! Invariant: two different (job, attempt, part) never get the same name: what is cut off or replaced is replaced by a
//! hash of the whole, and what follows the last `-worker-` of a worker's name is its group and number, for no group is
//! written with that word in it. Attempts and numbers have at most four digits (the schema bounds both far below), a
//! group's name at most 32 characters.

use contract::Role;
use std::borrow::Cow;

/// The longest label.
pub const MAXIMUM_LENGTH: usize = 63;

/// The scheduler of an attempt.
pub fn scheduler(job: &str, attempt: u32) -> String {
    part(job, attempt, Role::Scheduler.as_str())
}

/// The runner of an attempt.
pub fn runner(job: &str, attempt: u32) -> String {
    part(job, attempt, Role::Runner.as_str())
}

/// One worker of a group, counted from 0.
pub fn worker(job: &str, attempt: u32, group: &str, number: u32) -> String {
    let group = group_part(group);
    part(job, attempt, &format!("{}-{group}-{number}", Role::Worker))
}

/// A group's name, which must not look like the middle of another job's worker: group `b-2-worker-c` of job `a` is not
/// group `c` of a job `a-1-worker-b`.
fn group_part(group: &str) -> Cow<'_, str> {
    match group.split_once("-worker-") {
        None => Cow::Borrowed(group),
        Some((stem, _)) => Cow::Owned(format!("{stem}-{:08x}", hash(group) >> 32)),
    }
}

/// The scheduler's Service: its name is the host in the scheduler's address.
pub fn service(job: &str, attempt: u32) -> String {
    scheduler(job, attempt)
}

/// The ConfigMap with the job's files.
pub fn files(job: &str, attempt: u32) -> String {
    part(job, attempt, "files")
}

/// The NetworkPolicy: who may connect to the attempt's pods.
pub fn network_policy(job: &str, attempt: u32) -> String {
    part(job, attempt, "access")
}

/// A job's name as the value of a label: it may hold dots and begin with a digit, but is as short as a label.
pub fn label_value(job: &str) -> String {
    if job.len() <= MAXIMUM_LENGTH {
        return job.to_owned();
    }
    let hash = format!("{:08x}", hash(job) >> 32);
    let longest = job.floor_char_boundary(MAXIMUM_LENGTH - hash.len() - 1);
    let stem = job[..longest].trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
    format!("{stem}-{hash}")
}

/// Where clients and workers reach the scheduler of an attempt.
pub fn scheduler_address(job: &str, namespace: &str, cluster_domain: &str, attempt: u32) -> String {
    format!(
        "tcp://{}.{namespace}.svc.{cluster_domain}:{}",
        service(job, attempt),
        contract::ports::CLIENT
    )
}

fn part(job: &str, attempt: u32, suffix: &str) -> String {
    let suffix = format!("-{attempt}-{suffix}");
    let stem = label(job, MAXIMUM_LENGTH.saturating_sub(suffix.len()));
    format!("{stem}{suffix}")
}

/// A job's name as the beginning of a label: unchanged if it fits, else shortened with a hash.
fn label(name: &str, longest: usize) -> String {
    let fits = name.len() <= longest
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    if fits {
        return name.to_owned();
    }
    let hash = format!("{:08x}", hash(name) >> 32);
    let mut stem: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    if !stem.starts_with(|first: char| first.is_ascii_lowercase()) {
        stem.insert_str(0, "j-");
    }
    stem.truncate(longest.saturating_sub(hash.len() + 1));
    format!("{}-{hash}", stem.trim_end_matches('-'))
}

/// FNV-1a: the same in every build and release, which the standard library's hash is not.
pub fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_short_name_is_kept() {
        assert_eq!(scheduler("quickstart", 1), "quickstart-1-scheduler");
        assert_eq!(
            worker("quickstart", 2, "gpu", 3),
            "quickstart-2-worker-gpu-3"
        );
    }

    #[test]
    fn every_name_is_a_label() {
        let group = "g".repeat(32);
        for job in [
            "a",
            "1.2.3",
            "a.b",
            &"x".repeat(253),
            &"a.".repeat(100),
            "9",
        ] {
            for name in [
                scheduler(job, 7),
                runner(job, 9_999),
                worker(job, 9_999, &group, 9_999),
                service(job, 9_999),
                files(job, 9_999),
                network_policy(job, 9_999),
            ] {
                assert!(name.len() <= MAXIMUM_LENGTH, "{name} has {}", name.len());
                assert!(
                    name.starts_with(|first: char| first.is_ascii_lowercase()),
                    "{name}"
                );
                assert!(
                    name.ends_with(|last: char| last.is_ascii_alphanumeric()),
                    "{name}"
                );
                assert!(
                    name.chars().all(|letter| letter.is_ascii_lowercase()
                        || letter.is_ascii_digit()
                        || letter == '-'),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_job_is_found_by_its_name_as_a_label() {
        assert_eq!(label_value("1.2.etl"), "1.2.etl");
        let long = format!("{}.{}", "a".repeat(53), "b".repeat(60));
        let value = label_value(&long);
        assert!(
            value.len() <= MAXIMUM_LENGTH && value.starts_with("aaaa"),
            "{value}"
        );
        assert!(!value.contains(".-"), "{value}");
        assert_ne!(value, label_value(&format!("{long}c")));
    }

    #[test]
    fn names_that_shorten_alike_stay_apart() {
        let long = "x".repeat(80);
        assert_ne!(
            scheduler(&format!("{long}-a"), 1),
            scheduler(&format!("{long}-b"), 1)
        );
        assert_ne!(scheduler("a.b", 1), scheduler("a-b", 1));
        assert_ne!(scheduler("1a", 1), scheduler("j-1a", 1));
    }

    /// Names of jobs and groups from the words that names of pods are made of.
    fn words() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "a",
            "b",
            "1",
            "2",
            "worker",
            "scheduler",
            "runner",
            "files",
            "access",
        ]);
        prop::collection::vec(word, 1..7).prop_map(|words| words.join("-"))
    }

    fn group() -> impl Strategy<Value = String> {
        words().prop_filter("a group begins with a letter and is short", |name| {
            name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 32
        })
    }

    fn job() -> impl Strategy<Value = String> {
        // A longer one gets a hash.
        words().prop_filter("it is short", |name| name.len() <= 24)
    }

    #[test]
    fn a_group_is_not_taken_for_the_end_of_another_jobs_name() {
        let one = worker("a", 1, "b-2-worker-c", 0);
        let other = worker("a-1-worker-b", 2, "c", 0);
        assert_ne!(one, other);
        assert!(one.starts_with("a-1-worker-b-"), "{one}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        #[test]
        fn no_two_parts_of_whatever_jobs_have_one_name(
            jobs in prop::collection::btree_set(job(), 1..4),
            groups in prop::collection::btree_set(group(), 1..4),
        ) {
            // Jobs that end like a worker, and groups with a worker's name in them: where they could be taken for another.
            let mut groups = groups;
            let plain: Vec<String> = groups.iter().cloned().collect();
            for (one, other) in plain.iter().flat_map(|one| plain.iter().map(move |other| (one, other))) {
                groups.insert(format!("{one}-2-worker-{other}"));
            }
            groups.retain(|group| group.len() <= 32);
            let mut all = jobs.clone();
            for (job, group) in jobs.iter().flat_map(|job| groups.iter().map(move |group| (job, group))) {
                all.insert(format!("{job}-1-worker-{group}"));
            }
            let mut owners: BTreeMap<String, String> = BTreeMap::new();
            for job in all.iter().filter(|job| job.len() <= 24) {
                for attempt in 1..3 {
                    let workers = groups.iter().flat_map(|group| {
                        let names = (0..2).map(move |number| worker(job, attempt, group, number));
                        names.map(move |name| (name, format!("{job} {attempt} {group}")))
                    });
                    let single = [scheduler(job, attempt), runner(job, attempt), files(job, attempt)];
                    let single = single.into_iter().map(|name| (name, format!("{job} {attempt}")));
                    for (name, owner) in workers.chain(single) {
                        let known = owners.entry(name.clone()).or_insert_with(|| owner.clone());
                        prop_assert_eq!(&*known, &owner, "{}", name);
                    }
                }
            }
        }
    }
}
