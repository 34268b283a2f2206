//! Where a program is: a name is looked for on PATH, anything with a slash is a file.
//!
//! Written out, because "No such file or directory" can mean five things, and who reads the message of a container sees
//! nothing else of it.

use crate::command::StartError;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where programs are looked for when there is no PATH at all.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file behind the first word of a command.
pub fn program(name: &OsStr, search_path: Option<&OsString>) -> Result<PathBuf, StartError> {
    if name.is_empty() {
        return Err(StartError::Empty);
    }
    if name.as_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match look(&file) {
            Found::Program => Ok(file),
            Found::Other(mode) => Err(StartError::not_executable(file, mode)),
            Found::Nothing => Err(StartError::NoFile { file }),
        };
    }
    let search_path = shown_path(search_path);
    let mut refused = None;
    for directory in std::env::split_paths(&search_path) {
        let file = directory.join(name);
        match look(&file) {
            Found::Program => return Ok(file),
            Found::Other(mode) => {
                refused.get_or_insert((file, mode));
            }
            Found::Nothing => {}
        }
    }
    Err(match refused {
        Some((file, mode)) => StartError::not_executable(file, mode),
        None => StartError::NotOnPath {
            name: name.to_string_lossy().into_owned(),
            search_path: search_path.to_string_lossy().into_owned(),
        },
    })
}

/// The image's Python: what `DASKJOB_PYTHON` says, else `python3`, else `python` on PATH.
pub fn python(
    wish: Option<&OsString>,
    search_path: Option<&OsString>,
) -> Result<OsString, StartError> {
    if let Some(wish) = wish.filter(|wish| !wish.is_empty()) {
        return Ok(wish.clone());
    }
    ["python3", "python"]
        .into_iter()
        .map(OsString::from)
        .find(|name| program(name, search_path).is_ok())
        .ok_or_else(|| StartError::NoPython {
            search_path: shown_path(search_path).to_string_lossy().into_owned(),
        })
}

fn shown_path(search_path: Option<&OsString>) -> OsString {
    search_path.cloned().unwrap_or_else(|| USUAL_PATH.into())
}

enum Found {
    Program,
    /// Something that cannot be run, with its mode; none for a directory.
    Other(Option<u32>),
    Nothing,
}

fn look(file: &Path) -> Found {
    let Ok(metadata) = file.metadata() else {
        return Found::Nothing;
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        Found::Other(None)
    } else if mode & 0o111 == 0 {
        Found::Other(Some(mode))
    } else {
        Found::Program
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, mode) in [
            ("first/tool", 0o644),
            ("second/tool", 0o755),
            ("first/text", 0o644),
        ] {
            let file = place.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        }
        place
    }

    fn path_of(place: &tempfile::TempDir) -> OsString {
        let directories = ["first", "second"].map(|name| place.path().join(name));
        std::env::join_paths(directories).unwrap()
    }

    #[test]
    fn the_first_file_that_can_be_run_is_taken() {
        let place = place();
        assert_eq!(
            program(OsStr::new("tool"), Some(&path_of(&place))).unwrap(),
            place.path().join("second/tool")
        );
    }

    #[test]
    fn what_is_missing_and_what_cannot_be_run_are_two_things() {
        let place = place();
        let path = path_of(&place);
        let missing = program(OsStr::new("nothing"), Some(&path)).unwrap_err();
        assert_eq!(missing.code(), 127);
        assert!(
            missing.to_string().contains(path.to_str().unwrap()),
            "{missing}"
        );
        let text = program(OsStr::new("text"), Some(&path)).unwrap_err();
        assert_eq!(text.code(), 126);
        assert!(text.to_string().contains("0644"), "{text}");
        let directory = program(place.path().as_os_str(), Some(&path)).unwrap_err();
        assert_eq!(directory.code(), 126);
        let file = program(&place.path().join("no").into_os_string(), Some(&path)).unwrap_err();
        assert_eq!(file.code(), 127);
    }

    #[test]
    fn a_named_python_is_never_replaced() {
        let wish = OsString::from("/opt/conda/bin/python");
        let nowhere = OsString::from("/nowhere");
        assert_eq!(python(Some(&wish), Some(&nowhere)).unwrap(), wish);
        let none = python(Some(&OsString::new()), Some(&nowhere)).unwrap_err();
        assert!(none.to_string().contains("DASKJOB_PYTHON"), "{none}");
    }
}
