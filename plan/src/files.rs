//! The files of a job: relative paths to text, checked once, so that who writes them cannot leave
//! the working directory.

use crate::refusal::Refusals;
use serde::Serialize;
use std::collections::BTreeMap;

/// Together the files must stay below this: a ConfigMap holds at most 1 MiB.
pub const TOTAL_MAXIMUM_BYTES: usize = 900 * 1024;

/// A path that stays inside the directory it is joined to: not empty, not absolute, no `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RelativePath(String);

/// Why a text is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path is absolute")]
    Absolute,
    #[error("the path leaves the working directory or is not in its shortest form")]
    Dots,
    #[error("the path ends with a separator or has two in a row")]
    EmptyPart,
    #[error("the path holds a control character or a backslash")]
    Character,
}

impl RelativePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for RelativePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        if text.contains(|letter: char| letter.is_control() || letter == '\\') {
            return Err(PathError::Character);
        }
        for part in text.split('/') {
            if part.is_empty() {
                return Err(PathError::EmptyPart);
            }
            if part == "." || part == ".." {
                return Err(PathError::Dots);
            }
        }
        Ok(RelativePath(text.to_owned()))
    }
}

/// The files of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Files(BTreeMap<RelativePath, String>);

impl Files {
    pub fn iter(&self) -> impl Iterator<Item = (&RelativePath, &str)> {
        self.0.iter().map(|(path, text)| (path, text.as_str()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Reads the raw map; refuses paths that leave the directory, too much text, and a file that is also
/// the directory of another.
pub(crate) fn resolve(
    raw: &BTreeMap<String, String>,
    field: &str,
    refusals: &mut Refusals,
) -> Files {
    let mut files = BTreeMap::new();
    for (path, text) in raw {
        match path.parse::<RelativePath>() {
            Ok(path) => {
                files.insert(path, text.clone());
            }
            Err(error) => refusals.add(
                format!("{field}[{path}]"),
                error.to_string(),
                "write a path below the working directory, such as main.py or package/module.py",
            ),
        }
    }
    let total: usize = raw.iter().map(|(path, text)| path.len() + text.len()).sum();
    if total >= TOTAL_MAXIMUM_BYTES {
        refusals.add(
            field,
            format!("the files have {total} bytes together, {TOTAL_MAXIMUM_BYTES} or more"),
            "put large files into the image or a volume",
        );
    }
    for path in files.keys() {
        let directories = path.0.match_indices('/').map(|(end, _)| &path.0[..end]);
        for directory in directories {
            if raw.contains_key(directory) {
                refusals.add(
                    format!("{field}[{directory}]"),
                    format!("is a file and also the directory of {}", path.0),
                    "rename one of the two",
                );
            }
        }
    }
    Files(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_stays_inside_is_taken() {
        for path in [
            "main.py",
            "package/__init__.py",
            ".hidden",
            "..hidden",
            "a..b/c.",
            "a b.txt",
            "é.py",
        ] {
            assert_eq!(
                path.parse::<RelativePath>().map(|path| path.0),
                Ok(path.to_owned())
            );
        }
    }

    #[test]
    fn a_path_that_could_leave_is_refused() {
        for path in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "./x",
            "a//b",
            "a/",
            "a\\b",
            "a\nb",
        ] {
            assert!(path.parse::<RelativePath>().is_err(), "{path:?}");
        }
    }
}
