//! The directory of one life, and those whose owners were killed.
//!
//! Beside each directory lies a file, named as it is with `.dirlock` behind, that its owner keeps locked; so do stock's workers. A
//! lock that is not held says that its directory is nobody's: whoever comes next, ours or stock's, removes it. Invariant: a
//! directory without such a file, or whose lock is held, is let alone; a file that can be seen is locked already.

use anyhow::Context as _;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tracing::{debug, info, warn};

const EXTENSION: &str = "dirlock";
/// Held by stock while a lock file is there that is not locked yet.
const LOCK_OF_MAKING: &str = "global.lock";
/// Held by whoever removes what is left.
const LOCK_OF_REMOVING: &str = "purge.lock";
/// As `mkdtemp` has it: values that go to disk are nobody else's.
const PRIVATE: u32 = 0o700;

/// Removed with everything in it when the life is over.
pub struct LocalDirectory {
    path: PathBuf,
    /// Locked for as long as it is open.
    lock: Option<File>,
}

impl Drop for LocalDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            debug!(error = %error, "the local directory is left");
        }
        if self.lock.is_some() {
            // It may have been removed together with everything else there.
            let _gone = fs::remove_file(lock_of(&self.path));
        }
    }
}

impl LocalDirectory {
    /// Makes one below `base`, or beside it where somebody else's is not to be written to.
    pub fn new(base: &Path, with_lock: bool) -> anyhow::Result<Self> {
        let path = match make_below(base) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let mut own = base.as_os_str().to_owned();
                own.push(format!("-{}", rustix::process::getuid().as_raw()));
                make_below(Path::new(&own))
            }
            made => made,
        };
        let path =
            path.with_context(|| format!("make the local directory below {}", base.display()))?;
        let lock = match with_lock.then(|| locked(&path)) {
            Some(Err(error)) => {
                warn!(directory = %path.display(), error = %error, "the local directory has no lock: should this worker be killed, it stays");
                None
            }
            Some(Ok(lock)) => Some(lock),
            None => None,
        };
        Ok(Self { path, lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make_below(base: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(base)?;
    let path = base.join(format!("worker-{}", crate::random_word()));
    DirBuilder::new().mode(PRIVATE).create(&path)?;
    Ok(path)
}

fn lock_of(directory: &Path) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(".");
    path.push(EXTENSION);
    path.into()
}

/// Locked under another name, which nobody looks for, before it has its own.
fn locked(directory: &Path) -> io::Result<File> {
    let path = lock_of(directory);
    let unseen = path.with_extension("unlocked");
    let file = File::create_new(&unseen)?;
    let locked = file.try_lock().map_err(io::Error::from);
    let named = locked.and_then(|()| fs::rename(&unseen, &path));
    if let Err(error) = named {
        // Nobody has any use for it.
        let _left = fs::remove_file(&unseen);
        return Err(error);
    }
    Ok(file)
}

/// Removes what killed workers left beside this directory; nothing where somebody else is at it.
pub fn remove_abandoned(directory: &Path) -> io::Result<()> {
    let base = directory.parent().unwrap_or(directory);
    let Some(making) = try_lock(&base.join(LOCK_OF_MAKING))? else {
        return Ok(());
    };
    let locks: Vec<PathBuf> = fs::read_dir(base)?
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| path.extension() == Some(OsStr::new(EXTENSION)))
        .collect();
    drop(making);
    let Some(_removing) = try_lock(&base.join(LOCK_OF_REMOVING))? else {
        return Ok(());
    };
    for lock in locks {
        if let Err(error) = remove_if_abandoned(&lock) {
            debug!(lock = %lock.display(), error = %error, "what a killed worker left stays");
        }
    }
    Ok(())
}

fn remove_if_abandoned(lock: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(lock)?;
    if file.try_lock().is_err() {
        return Ok(());
    }
    let directory = lock.with_extension("");
    match fs::remove_dir_all(&directory) {
        Ok(()) => {
            info!(directory = %directory.display(), "what a killed worker left is removed");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::remove_file(lock)
}

/// The lock, unless somebody has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it is after its owner was killed: everything is there, and nobody holds the lock.
    fn abandoned(base: &Path) -> PathBuf {
        let mut directory = LocalDirectory::new(base, true).unwrap();
        let path = directory.path.clone();
        fs::write(path.join("value"), "spilled").unwrap();
        drop(directory.lock.take());
        std::mem::forget(directory);
        path
    }

    #[test]
    fn a_life_that_ends_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(base.path(), true).unwrap();
        assert!(lock_of(directory.path()).exists());
        drop(directory);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_worker_left_goes_and_what_the_living_have_stays() {
        let base = tempfile::tempdir().unwrap();
        let left = abandoned(base.path());
        let locked = LocalDirectory::new(base.path(), true).unwrap();
        let without_lock = LocalDirectory::new(base.path(), false).unwrap();
        remove_abandoned(locked.path()).unwrap();
        assert!(!left.exists() && !lock_of(&left).exists());
        assert!(locked.path().exists() && lock_of(locked.path()).exists());
        assert!(without_lock.path().exists());
    }

    #[test]
    fn nothing_is_removed_while_somebody_else_makes_or_removes() {
        for lock in [LOCK_OF_MAKING, LOCK_OF_REMOVING] {
            let base = tempfile::tempdir().unwrap();
            let left = abandoned(base.path());
            let held = try_lock(&base.path().join(lock)).unwrap();
            assert!(held.is_some());
            remove_abandoned(&left).unwrap();
            assert!(left.exists(), "{lock}");
            drop(held);
            remove_abandoned(&left).unwrap();
            assert!(!left.exists(), "{lock}");
        }
    }

    #[test]
    fn a_link_is_no_lock() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("worker-somebody");
        fs::create_dir(&directory).unwrap();
        std::os::unix::fs::symlink("/dev/null", lock_of(&directory)).unwrap();
        remove_abandoned(&directory).unwrap();
        assert!(directory.exists());
    }
}
