//! Names of what an attempt is made of: RFC 1035 labels of at most 63 characters.
//!
//! Invariant: two different (job, attempt, part) never get the same name by shortening: what is cut
//! off or replaced is replaced by a hash of the whole job name. Attempts and numbers have at most four
//! digits (the schema bounds both far below), a group's name at most 32 characters.

use contract::Role;

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
    part(job, attempt, &format!("{}-{group}-{number}", Role::Worker))
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
    fn names_that_shorten_alike_stay_apart() {
        let long = "x".repeat(80);
        assert_ne!(
            scheduler(&format!("{long}-a"), 1),
            scheduler(&format!("{long}-b"), 1)
        );
        assert_ne!(scheduler("a.b", 1), scheduler("a-b", 1));
        assert_ne!(scheduler("1a", 1), scheduler("j-1a", 1));
    }
}
