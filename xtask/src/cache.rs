//! Where things are kept that may be downloaded or built again: Python environments and tools.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The cache directory, made if need be.
pub fn directory() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = set(contract::environment::CACHE_DIRECTORY)
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("daskjob")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/daskjob")))
        .with_context(|| {
            format!(
                "find a cache directory: set HOME, XDG_CACHE_HOME or {}",
                contract::environment::CACHE_DIRECTORY
            )
        })?;
    fs::create_dir_all(&directory).with_context(|| {
        format!(
            "make the cache directory {}: free some space there or set {} to another one",
            directory.display(),
            contract::environment::CACHE_DIRECTORY
        )
    })?;
    Ok(directory)
}

/// Makes something in the cache once: by `make`, into a directory that holds `complete` only after it succeeded.
/// Two processes that want the same thing wait for each other; what was left half made is made again.
pub fn once(relative: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let directory = directory()?.join(relative);
    let complete = directory.join(".complete");
    fs::create_dir_all(directory.parent().context("a cached thing has a parent")?)?;
    let lock = File::create(directory.with_extension("lock")).context("lock the cache")?;
    lock.lock().context("lock the cache")?;
    if !complete.exists() {
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("remove the unfinished {}", directory.display()))?;
        }
        make(&directory)?;
        fs::write(&complete, "").context("mark a cached thing as complete")?;
    }
    Ok(directory)
}

/// A short name for a text: equal texts have equal names (FNV-1a).
pub fn fingerprint(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_requirements_have_different_names() {
        assert_eq!(fingerprint("dask==1"), fingerprint("dask==1"));
        assert_ne!(fingerprint("dask==1"), fingerprint("dask==2"));
    }
}
