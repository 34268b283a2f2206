//! `--with-files`: a directory's files as `spec.job.files`. What cannot go in is named, all of it at once.
//!
//! Left out without a word are only what tools make (`__pycache__`, `.git` and the like) and the manifest itself.

use crate::problem::Problem;
use plan::TOTAL_MAXIMUM_BYTES;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The definition takes no more files.
const FILES_MAXIMUM: usize = 16;
/// How many of the largest files are named when all together are too much.
const LARGEST_NAMED: usize = 3;

/// Names of files and directories that nobody means.
const LEFT_OUT: [&str; 12] = [
    ".DS_Store",
    ".git",
    ".hg",
    ".idea",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".venv",
    ".vscode",
    "__pycache__",
];

/// Reads all files below a directory, but for the manifest. Refusals name each file that is in the way.
pub fn read(directory: &Path, manifest: &Path) -> Result<BTreeMap<String, String>, Problem> {
    let mut found = Found {
        manifest: fs::canonicalize(manifest).ok(),
        ..Found::default()
    };
    if !directory.is_dir() {
        let why = if directory.exists() {
            "is a file"
        } else {
            "is not there"
        };
        return Err(Problem::refused(
            format!("--with-files: {} {why}", directory.display()),
            "name a directory with the job's files",
        ));
    }
    found.look_into(directory, "");
    found.check(directory)
}

#[derive(Default)]
struct Found {
    manifest: Option<PathBuf>,
    files: BTreeMap<String, String>,
    /// What cannot go in, and why.
    in_the_way: Vec<String>,
}

impl Found {
    fn look_into(&mut self, directory: &Path, prefix: &str) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                return self
                    .in_the_way
                    .push(format!("{}: {error}", directory.display()));
            }
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                self.in_the_way
                    .push(format!("{}: its name is not UTF-8", entry.path().display()));
                continue;
            };
            if LEFT_OUT.contains(&name.as_str()) || name.ends_with(".pyc") {
                continue;
            }
            self.take(&entry.path(), &format!("{prefix}{name}"));
        }
    }

    fn take(&mut self, path: &Path, relative: &str) {
        let is_link = path.is_symlink();
        // A link counts as what it leads to, but one to a directory may lead round in circles.
        match fs::metadata(path) {
            Err(error) => self.in_the_way.push(format!("{relative}: {error}")),
            Ok(kind) if kind.is_dir() && is_link => {
                self.in_the_way
                    .push(format!("{relative}: is a link to a directory"));
            }
            Ok(kind) if kind.is_dir() => self.look_into(path, &format!("{relative}/")),
            Ok(kind) if !kind.is_file() => {
                self.in_the_way
                    .push(format!("{relative}: is no ordinary file"));
            }
            Ok(_) if self.is_manifest(path) => {}
            // More than all of them may have need not be read to be refused.
            Ok(kind) if kind.len() >= TOTAL_MAXIMUM_BYTES as u64 => {
                self.in_the_way.push(format!(
                    "{relative}: has {}, and all files together may have {}",
                    kib(kind.len()),
                    kib(TOTAL_MAXIMUM_BYTES as u64)
                ));
            }
            Ok(_) => self.read(path, relative),
        }
    }

    fn is_manifest(&self, path: &Path) -> bool {
        self.manifest.is_some() && fs::canonicalize(path).ok() == self.manifest
    }

    fn read(&mut self, path: &Path, relative: &str) {
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => {
                self.files.insert(relative.to_owned(), text);
            }
            Ok(Err(_)) => self
                .in_the_way
                .push(format!("{relative}: is not text in UTF-8")),
            Err(error) => self.in_the_way.push(format!("{relative}: {error}")),
        }
    }

    fn check(mut self, directory: &Path) -> Result<BTreeMap<String, String>, Problem> {
        const REMEDY: &str = "put data and other large or binary files into the image or a volume, or move them out of the directory";
        let refused = |said: String| {
            Err(Problem::refused(
                format!("--with-files {}: {said}", directory.display()),
                REMEDY,
            ))
        };
        if !self.in_the_way.is_empty() {
            self.in_the_way.sort();
            return refused(format!(
                "not everything can go into the job:\n{}",
                self.in_the_way.join("\n")
            ));
        }
        if self.files.is_empty() {
            return refused("there is no file in it".to_owned());
        }
        let sizes: Vec<(&String, u64)> = self
            .files
            .iter()
            .map(|(path, text)| (path, (path.len() + text.len()) as u64))
            .collect();
        let total: u64 = sizes.iter().map(|(_, size)| size).sum();
        if total >= TOTAL_MAXIMUM_BYTES as u64 {
            return refused(format!(
                "the files have {} together and may have {}; the largest: {}",
                kib(total),
                kib(TOTAL_MAXIMUM_BYTES as u64),
                largest(sizes)
            ));
        }
        if self.files.len() > FILES_MAXIMUM {
            return refused(format!(
                "it has {} files, and a job takes {FILES_MAXIMUM}",
                self.files.len()
            ));
        }
        Ok(self.files)
    }
}

fn largest(mut sizes: Vec<(&String, u64)>) -> String {
    sizes.sort_by_key(|(path, size)| (u64::MAX - size, (*path).clone()));
    let named: Vec<String> = sizes
        .iter()
        .take(LARGEST_NAMED)
        .map(|(path, size)| format!("{path} ({})", kib(*size)))
        .collect();
    named.join(", ")
}

fn kib(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        bytes => format!("{} KiB", bytes.div_ceil(1024)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        directory
    }

    fn read_of(directory: &tempfile::TempDir) -> Result<BTreeMap<String, String>, Problem> {
        read(directory.path(), &directory.path().join("job.yaml"))
    }

    #[test]
    fn files_go_in_with_their_paths_but_for_what_nobody_means() {
        let directory = directory(&[
            ("main.py", b"print(1)"),
            ("package/__init__.py", b""),
            ("package/__pycache__/a.pyc", b"\xff"),
            (".git/config", b"x"),
            ("job.yaml", b"kind: DaskJob"),
        ]);
        symlink(
            directory.path().join("main.py"),
            directory.path().join("link.py"),
        )
        .unwrap();
        let files = read_of(&directory).unwrap();
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["link.py", "main.py", "package/__init__.py"]);
        assert_eq!(files["main.py"], "print(1)");
    }

    #[test]
    fn everything_that_cannot_go_in_is_named() {
        let directory = directory(&[
            ("main.py", b"x"),
            ("data.bin", b"\xff\xfe"),
            ("deep/model.bin", b"\x80"),
        ]);
        symlink(directory.path(), directory.path().join("round")).unwrap();
        symlink("/does/not/exist", directory.path().join("broken")).unwrap();
        let problem = read_of(&directory).unwrap_err();
        for named in [
            "data.bin: is not text",
            "deep/model.bin: is not text",
            "round: is a link to a directory",
            "broken: ",
        ] {
            assert!(problem.said.contains(named), "{}", problem.said);
        }
        assert!(!problem.said.contains("main.py"));
    }

    #[test]
    fn too_much_together_names_the_largest() {
        let half = vec![b'x'; TOTAL_MAXIMUM_BYTES / 2];
        let directory = directory(&[("a.txt", &half), ("b.txt", &half), ("main.py", b"x")]);
        let problem = read_of(&directory).unwrap_err();
        assert!(
            problem
                .said
                .contains("900 KiB; the largest: a.txt (451 KiB), b.txt (451 KiB)"),
            "{}",
            problem.said
        );
    }

    #[test]
    fn one_file_that_is_too_much_is_named() {
        let large = vec![b'x'; TOTAL_MAXIMUM_BYTES];
        let problem = read_of(&directory(&[("table.csv", &large)])).unwrap_err();
        assert!(
            problem.said.contains("table.csv: has 900 KiB"),
            "{}",
            problem.said
        );
    }

    #[test]
    fn too_many_files_an_empty_directory_and_none_at_all_are_refused() {
        let many: Vec<(String, &[u8])> = (0..17)
            .map(|number| (format!("{number}.py"), b"x" as &[u8]))
            .collect();
        let many: Vec<(&str, &[u8])> = many
            .iter()
            .map(|(name, bytes)| (name.as_str(), *bytes))
            .collect();
        assert!(
            read_of(&directory(&many))
                .unwrap_err()
                .said
                .contains("it has 17 files")
        );
        assert!(
            read_of(&directory(&[]))
                .unwrap_err()
                .said
                .contains("there is no file")
        );
        let missing = read(Path::new("/does/not/exist"), Path::new("-")).unwrap_err();
        assert!(missing.said.contains("is not there"));
    }
}
