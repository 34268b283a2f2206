//! Gathers Dask configuration from where Dask users keep it: YAML directories, `DASK_…` variables, and the
//! configuration a parent process hands down.
//!
//! Owns the order of those sources and the renamed keys; judges no value. Invariant: a later source wins, as in Dask.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::yaml;
use thiserror::Error;

use super::literal;
use super::tree::{Node, Priority, Raw, Tree};

/// Hands a parent's whole configuration to its children, as base64 of JSON.
const INHERITED: &str = "DASK_INTERNAL_INHERIT_CONFIG";

/// What configuration is gathered from.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    pub variables: Vec<(String, String)>,
    /// `sys.prefix` of the Python whose `etc/dask` counts.
    pub python_prefix: Option<PathBuf>,
}

impl Environment {
    /// The variables of this process. Variables that are not UTF-8 are none of Dask's.
    pub fn of_process(python_prefix: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            python_prefix,
        }
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn directories(&self) -> Vec<PathBuf> {
        let root = self.variable("DASK_ROOT_CONFIG").unwrap_or("/etc/dask");
        let mut paths = vec![PathBuf::from(root)];
        paths.extend(
            self.python_prefix
                .iter()
                .map(|prefix| prefix.join("etc/dask")),
        );
        paths.extend(
            self.variable("HOME")
                .map(|home| Path::new(home).join(".config/dask")),
        );
        paths.extend(self.variable("DASK_CONFIG").map(PathBuf::from));
        // A path named twice counts where it comes last.
        let repeated = |at: usize| paths[at + 1..].contains(&paths[at]);
        (0..paths.len())
            .filter(|at| !repeated(*at))
            .map(|at| paths[at].clone())
            .collect()
    }
}

/// A source that cannot be read as configuration.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("read configuration file {}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error(
        "read the configuration in environment variable {INHERITED}: {reason}; it must be base64 of a JSON object"
    )]
    Inherited { reason: String },
}

/// The merged configuration, and the renamed keys that were met as (old, new).
pub struct Collected {
    pub tree: Tree,
    pub renamed: Vec<(&'static str, &'static str)>,
}

pub fn collect(environment: &Environment) -> Result<Collected, SourceError> {
    let mut sources = Vec::new();
    for path in environment
        .directories()
        .iter()
        .flat_map(|path| files(path))
    {
        sources.extend(read_file(&path)?);
    }
    sources.push(from_variables(environment)?);
    // From the last to the first, as in Dask: this decides what becomes of a map where another source has a plain value.
    let mut tree = Tree::default();
    for source in sources.iter().rev() {
        tree.update(source, Priority::Old);
    }
    let renamed = rename(&mut tree);
    Ok(Collected { tree, renamed })
}

/// The configuration files a path stands for; what cannot be listed has none.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(listing) = fs::read_dir(path) else {
        return Vec::new();
    };
    let is_configuration = |path: &PathBuf| {
        path.extension()
            .and_then(OsStr::to_str)
            .is_some_and(|extension| {
                ["json", "yaml", "yml"].contains(&extension.to_lowercase().as_str())
            })
    };
    let mut files: Vec<_> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_configuration)
        .collect();
    files.sort();
    files
}

/// Reads one file. A file that may not be opened is passed over, as in Dask; one that makes no sense is an error.
fn read_file(path: &Path) -> Result<Option<Tree>, SourceError> {
    let fail = |reason: String| SourceError::File {
        path: path.to_owned(),
        reason,
    };
    let Ok(bytes) = fs::read(path) else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| fail("it is not UTF-8".to_owned()))?;
    let origin: Arc<str> = Arc::from(format!("file {}", path.display()));
    let value = yaml::parse_configuration(&text).map_err(|error| fail(sentence(&error)))?;
    match Raw::from(value) {
        Raw::Null => Ok(None),
        raw => match Node::new(raw, &origin) {
            Node::Tree(tree) => Ok(Some(tree)),
            Node::Leaf(_) => Err(fail(
                "it must hold names with values at its top level".to_owned(),
            )),
        },
    }
}

fn from_variables(environment: &Environment) -> Result<Tree, SourceError> {
    let mut tree = Tree::default();
    if let Some(inherited) = environment.variable(INHERITED) {
        tree = inherited_tree(inherited).map_err(|reason| SourceError::Inherited { reason })?;
    }
    for (name, text) in &environment.variables {
        let Some(key) = name.strip_prefix("DASK_") else {
            continue;
        };
        if name == INHERITED || key.is_empty() {
            continue;
        }
        let key = key.to_lowercase().replace("__", ".");
        let origin: Arc<str> = Arc::from(format!("environment variable {name}"));
        tree.set(&key, Node::new(literal::interpret(text), &origin));
    }
    Ok(tree)
}

fn inherited_tree(text: &str) -> Result<Tree, String> {
    let bytes = base64(text).ok_or("it is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let origin: Arc<str> = Arc::from(format!("environment variable {INHERITED}"));
    // JSON is YAML; Python's writer adds `NaN` and `Infinity`, which only YAML readers survive.
    let value = yaml::parse_configuration(&text).map_err(|error| sentence(&error))?;
    match Node::new(Raw::from(value), &origin) {
        Node::Tree(tree) => Ok(tree),
        Node::Leaf(_) => Err("it is not an object".to_owned()),
    }
}

fn sentence(error: &yaml::YamlError) -> String {
    match (error.line, error.column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: {error}"),
        _ => error.to_string(),
    }
}

/// Decodes base64 in the URL alphabet.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for c in text.trim().trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

/// Old names of keys a scheduler reads, with their present ones.
const RENAMED: [(&str, &str); 13] = [
    ("allowed-failures", "distributed.scheduler.allowed-failures"),
    ("bandwidth", "distributed.scheduler.bandwidth"),
    (
        "default-data-size",
        "distributed.scheduler.default-data-size",
    ),
    ("work-stealing", "distributed.scheduler.work-stealing"),
    ("worker-ttl", "distributed.scheduler.worker-ttl"),
    ("compression", "distributed.comm.compression"),
    ("connect-timeout", "distributed.comm.timeouts.connect"),
    ("tcp-timeout", "distributed.comm.timeouts.tcp"),
    ("default-scheme", "distributed.comm.default-scheme"),
    ("socket-backlog", "distributed.comm.socket-backlog"),
    ("log-length", "distributed.admin.log-length"),
    ("diagnostics-link", "distributed.dashboard.link"),
    (
        "distributed.scheduler.events-log-length",
        "distributed.admin.low-level-log-length",
    ),
];

fn rename(tree: &mut Tree) -> Vec<(&'static str, &'static str)> {
    let mut renamed = Vec::new();
    for (old, new) in RENAMED {
        if let Some(node) = tree.take(old) {
            tree.set(new, node);
            renamed.push((old, new));
        }
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Environment {
        Environment {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            python_prefix: None,
        }
    }

    fn value(tree: &Tree, key: &str) -> Option<Raw> {
        match tree.get(key)? {
            Node::Leaf(leaf) => Some(leaf.value.clone()),
            Node::Tree(_) => None,
        }
    }

    /// Directories for the root, the interpreter and the user, and a `DASK_CONFIG` of its own.
    fn directories() -> (tempfile::TempDir, Environment) {
        let top = tempfile::tempdir().unwrap();
        for directory in ["root", "prefix/etc/dask", "home/.config/dask", "extra"] {
            fs::create_dir_all(top.path().join(directory)).unwrap();
        }
        let path = |name: &str| top.path().join(name).display().to_string();
        let mut environment = with(&[
            ("DASK_ROOT_CONFIG", &path("root")),
            ("HOME", &path("home")),
            ("DASK_CONFIG", &path("extra")),
        ]);
        environment.python_prefix = Some(top.path().join("prefix"));
        (top, environment)
    }

    #[test]
    fn a_later_directory_wins() {
        let (top, environment) = directories();
        for (at, (file, keys)) in [
            ("root/a.yaml", "w: 0\nx: 0\ny: 0\nz: 0"),
            ("prefix/etc/dask/a.yml", "x: 1\ny: 1\nz: 1"),
            ("home/.config/dask/b.JSON", "{\"y\": 2, \"z\": 2}"),
            ("extra/c.yaml", "z: 3"),
            ("extra/ignored.txt", "z: 4"),
        ]
        .iter()
        .enumerate()
        {
            fs::write(top.path().join(file), keys).unwrap_or_else(|_| panic!("file {at}"));
        }
        let tree = collect(&environment).unwrap().tree;
        for (key, number) in [("w", 0), ("x", 1), ("y", 2), ("z", 3)] {
            assert_eq!(value(&tree, key), Some(Raw::Int(number)), "{key}");
        }
    }

    #[test]
    fn a_variable_wins_over_files_and_over_what_a_parent_hands_down() {
        let (top, mut environment) = directories();
        fs::write(
            top.path().join("extra/c.yaml"),
            "distributed: {scheduler: {worker-ttl: 1s, allowed-failures: 9}}",
        )
        .unwrap();
        // {"distributed": {"scheduler": {"worker-ttl": "2s", "idle-timeout": "1h"}}}
        let inherited = "eyJkaXN0cmlidXRlZCI6IHsic2NoZWR1bGVyIjogeyJ3b3JrZXItdHRsIjogIjJzIiwgImlkbGUtdGltZW91dCI6ICIxaCJ9fX0=";
        environment
            .variables
            .push((INHERITED.to_owned(), inherited.to_owned()));
        environment.variables.push((
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL".to_owned(),
            "3s".to_owned(),
        ));
        let tree = collect(&environment).unwrap().tree;
        let text = |text: &str| Some(Raw::Text(text.to_owned()));
        assert_eq!(value(&tree, "distributed.scheduler.worker-ttl"), text("3s"));
        assert_eq!(
            value(&tree, "distributed.scheduler.idle-timeout"),
            text("1h")
        );
        assert_eq!(
            value(&tree, "distributed.scheduler.allowed-failures"),
            Some(Raw::Int(9))
        );
    }

    #[test]
    fn a_malformed_file_is_an_error_that_names_it() {
        for text in ["a: [1", "- a list", "just text", "a: 1\nb: : 2"] {
            let (top, environment) = directories();
            fs::write(top.path().join("root/broken.yaml"), text).unwrap();
            let error = collect(&environment).err().unwrap().to_string();
            assert!(error.contains("broken.yaml"), "{error}");
        }
    }

    #[test]
    fn an_empty_file_says_nothing() {
        let (top, environment) = directories();
        fs::write(top.path().join("root/empty.yaml"), "# only a comment\n").unwrap();
        let tree = collect(&environment).unwrap().tree;
        assert_eq!(value(&tree, "distributed"), None);
    }

    #[test]
    fn an_old_name_is_read_as_the_new_one() {
        let collected = collect(&with(&[("DASK_ALLOWED_FAILURES", "7")])).unwrap();
        assert_eq!(
            value(&collected.tree, "distributed.scheduler.allowed-failures"),
            Some(Raw::Int(7))
        );
        assert_eq!(collected.renamed.len(), 1);
    }

    #[test]
    fn what_is_handed_down_must_be_base64_of_an_object() {
        for text in ["%%%", "WzFd", "eyJ"] {
            assert!(collect(&with(&[(INHERITED, text)])).is_err(), "{text}");
        }
    }
}
