//! Where uploaded files and preloads are kept while the scheduler lives, and what schedulers that were killed left there.
//!
//! Knows names, not contents: helpers make the directory when they first need it, and it is removed with them. A name
//! holds the process and its PID namespace, so that only what is certainly dead is swept: containers may share /tmp.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tracing::info;

const PREFIX: &str = "daskjob-scheduler-";

/// The directory of this process below `parent`, free of what an earlier process left.
pub fn directory(parent: &Path) -> PathBuf {
    let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |own| own.ino());
    sweep(parent, namespace);
    parent.join(format!("{PREFIX}{namespace:x}-{}", std::process::id()))
}

/// Removes the directories of processes of our PID namespace that are gone.
fn sweep(parent: &Path, namespace: u64) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| owner(name, namespace)) else {
            continue;
        };
        let lives =
            process != std::process::id() && Path::new(&format!("/proc/{process}")).exists();
        // Another user's is not ours to remove; the attempt says so.
        if !lives && fs::remove_dir_all(entry.path()).is_ok() {
            info!(path = %entry.path().display(), "removed what a scheduler that was killed left");
        }
    }
}

/// The process a directory belongs to, if it is one of our namespace.
fn owner(name: &str, namespace: u64) -> Option<u32> {
    let (own, process) = name.strip_prefix(PREFIX)?.split_once('-')?;
    (u64::from_str_radix(own, 16).ok()? == namespace)
        .then(|| process.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_certainly_died_is_swept() {
        let parent = tempfile::tempdir().unwrap();
        let own = directory(parent.path());
        let namespace = own.file_name().unwrap().to_str().unwrap();
        let namespace = namespace.rsplit_once('-').unwrap().0;
        // Larger than any kernel gives.
        let dead = parent.path().join(format!("{namespace}-4294967295"));
        let lives = parent.path().join(format!(
            "{namespace}-{}",
            std::os::unix::process::parent_id()
        ));
        let elsewhere = parent.path().join("daskjob-scheduler-1-4294967295");
        let foreign = parent.path().join("daskjob-scheduler-notes");
        for path in [&own, &dead, &lives, &elsewhere, &foreign] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("module.py"), "x = 1").unwrap();
        }
        assert_eq!(directory(parent.path()), own);
        assert!(!dead.exists(), "its process is gone");
        assert!(!own.exists(), "an earlier process of this number left it");
        assert!(lives.exists() && elsewhere.exists() && foreign.exists());
    }
}
