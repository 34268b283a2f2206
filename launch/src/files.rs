//! The job's files, copied to where the program may write.
//!
//! The kubelet shows files as links into a directory it replaces as a whole (`main.py` → `..data/main.py`); the copy has
//! the files themselves, and nothing whose name begins with `..`.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Deeper than any job's files are; a link that leads back up would have no end.
const DEEPEST: usize = 64;

/// What a copy must allow whoever owns it, whatever the original does.
const OWNERS_RIGHTS: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("cannot copy the job's files: {file}: {source}")]
    Copy { file: PathBuf, source: io::Error },
    #[error("cannot copy the job's files: {0} leads back to itself")]
    Endless(PathBuf),
    #[error("cannot make {directory} the working directory: {source}")]
    Enter {
        directory: PathBuf,
        source: io::Error,
    },
}

/// Copies everything and makes the copy the working directory.
pub fn copy_and_enter(from: &Path, to: &Path) -> Result<(), FilesError> {
    copy_directory(from, to, 0)?;
    std::env::set_current_dir(to).map_err(|source| FilesError::Enter {
        directory: to.to_owned(),
        source,
    })
}

fn copy_directory(from: &Path, to: &Path, depth: usize) -> Result<(), FilesError> {
    if depth > DEEPEST {
        return Err(FilesError::Endless(from.to_owned()));
    }
    fs::create_dir_all(to).map_err(about(to))?;
    for entry in fs::read_dir(from).map_err(about(from))? {
        let entry = entry.map_err(about(from))?;
        if entry.file_name().as_bytes().starts_with(b"..") {
            continue;
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        // Follows links.
        let metadata = fs::metadata(&source).map_err(about(&source))?;
        if metadata.is_dir() {
            copy_directory(&source, &target, depth + 1)?;
        } else {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<(), FilesError> {
    fs::copy(from, to).map_err(about(to))?;
    let mode = fs::metadata(to).map_err(about(to))?.permissions().mode();
    if mode & OWNERS_RIGHTS != OWNERS_RIGHTS {
        let allowed = fs::Permissions::from_mode(mode | OWNERS_RIGHTS);
        fs::set_permissions(to, allowed).map_err(about(to))?;
    }
    Ok(())
}

fn about(file: &Path) -> impl FnOnce(io::Error) -> FilesError {
    let file = file.to_owned();
    move |source| FilesError::Copy { file, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// What the kubelet makes of a ConfigMap with `main.py` and `pkg/mod.py`.
    fn mounted() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let of_date = place.path().join("..2026_01_02_03");
        fs::create_dir_all(of_date.join("pkg")).unwrap();
        fs::write(of_date.join("main.py"), "main").unwrap();
        fs::write(of_date.join("pkg/mod.py"), "mod").unwrap();
        fs::set_permissions(of_date.join("main.py"), PermissionsExt::from_mode(0o444)).unwrap();
        symlink("..2026_01_02_03", place.path().join("..data")).unwrap();
        symlink("..data/main.py", place.path().join("main.py")).unwrap();
        symlink("..data/pkg", place.path().join("pkg")).unwrap();
        place
    }

    #[test]
    fn the_copy_has_files_where_the_kubelet_has_links() {
        let (from, to) = (mounted(), tempfile::tempdir().unwrap());
        copy_directory(from.path(), to.path(), 0).unwrap();
        let mut names: Vec<_> = fs::read_dir(to.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["main.py", "pkg"]);
        assert!(
            fs::symlink_metadata(to.path().join("main.py"))
                .unwrap()
                .is_file()
        );
        assert_eq!(
            fs::read_to_string(to.path().join("pkg/mod.py")).unwrap(),
            "mod"
        );
    }

    #[test]
    fn a_copy_may_be_written_to_also_where_the_original_may_not() {
        let (from, to) = (mounted(), tempfile::tempdir().unwrap());
        copy_directory(from.path(), to.path(), 0).unwrap();
        let mode = fs::metadata(to.path().join("main.py"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
    }

    #[test]
    fn a_link_that_leads_back_is_an_error_and_no_endless_copy() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(from.path(), from.path().join("again")).unwrap();
        // Either we stop, or the kernel finds the path too long.
        copy_directory(from.path(), to.path(), 0).unwrap_err();
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = copy_directory(Path::new("/nowhere"), &std::env::temp_dir(), 0).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}
