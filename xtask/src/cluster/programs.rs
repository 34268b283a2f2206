//! The programs of a cluster, built from Go modules that tests/cluster/programs pins. Each is built once and kept in
//! the cache under a name made from all that it is built from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Tier, Unavailable, say};
use crate::cache;
use crate::command::{Run, root};

/// Where the modules are.
const MODULES: &str = "tests/cluster/programs";

/// File beside the program `kwok`: how it plays nodes and pods.
pub const KWOK_STAGES: &str = "stages.yaml";

/// A program, the module directory that pins it and its Go package.
struct Program {
    name: &'static str,
    directory: &'static str,
    package: &'static str,
    /// What a build on two cores takes where nothing was built before.
    takes: &'static str,
}

const fn program(
    name: &'static str,
    directory: &'static str,
    package: &'static str,
    takes: &'static str,
) -> Program {
    Program {
        name,
        directory,
        package,
        takes,
    }
}

const ETCD: Program = program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "15 s");
const KWOK: Program = program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "2 min");
const COREDNS: Program = program("coredns", "coredns", "github.com/coredns/coredns", "3 min");
const HELM: Program = program("helm", "helm", "helm.sh/helm/v3/cmd/helm", "70 s");

const fn of_kubernetes(name: &'static str, package: &'static str, takes: &'static str) -> Program {
    program(name, "kubernetes", package, takes)
}

/// Says whether the oldest supported Kubernetes takes a definition.
const VALIDATE_DEFINITION: Program = program("validate-definition", "oldest", ".", "1 min");

const CONTROL_PLANE: [Program; 8] = [
    ETCD,
    of_kubernetes(
        "kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "3 min",
    ),
    of_kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl", "25 s"),
    of_kubernetes(
        "kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "50 s",
    ),
    of_kubernetes(
        "kube-scheduler",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "5 s",
    ),
    KWOK,
    HELM,
    VALIDATE_DEFINITION,
];

const NODE: [Program; 3] = [
    of_kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet", "20 s"),
    of_kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", "15 s"),
    COREDNS,
];

/// Programs that are built: where each is.
#[derive(Debug, Clone, Default)]
pub struct Programs(BTreeMap<&'static str, PathBuf>);

impl Programs {
    /// Builds what a tier needs, as far as it is not there yet.
    pub fn of(tier: Tier) -> Result<Self> {
        tier.choose(&CONTROL_PLANE, &NODE)
            .map(|program| Ok((program.name, build(program)?)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Where a program is; one that was not asked for is looked for on PATH.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.get(name).cloned().unwrap_or_else(|| name.into())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

/// Helm alone, which needs no cluster to render a chart.
pub fn helm() -> Result<PathBuf> {
    build(&HELM)
}

/// The release of Kubernetes that the tests run.
pub fn kubernetes_version() -> Result<String> {
    let text = read(&root().join(MODULES).join("kubernetes/go.mod"))?;
    version_of("k8s.io/kubernetes", &text)
        .context("find the version of k8s.io/kubernetes in its go.mod")
}

fn version_of(module: &str, text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line
            .trim()
            .trim_start_matches("require ")
            .split_whitespace();
        let version = (words.next() == Some(module))
            .then(|| words.next())
            .flatten()?;
        version.starts_with('v').then(|| version.to_owned())
    })
}

fn build(program: &Program) -> Result<PathBuf> {
    let module = root().join(MODULES).join(program.directory);
    let flags = linker_flags(program)?;
    let made_from = [
        read(&module.join("go.mod"))?,
        read(&module.join("go.sum"))?,
        // Only a program of our own has one.
        fs::read_to_string(module.join("main.go")).unwrap_or_default(),
        format!("{} {flags}", program.package),
    ];
    let key = cache::fingerprint(&made_from.join("\n"));
    let directory = Path::new("programs").join(format!("{}-{key}", program.name));
    let made = cache::once(&directory, |directory| {
        check_go()?;
        say(&format!(
            "building {} (about {}, once) …",
            program.name, program.takes
        ));
        fs::create_dir_all(directory)?;
        compile(program, &module, &flags, directory)
    })?;
    Ok(made.join(program.name))
}

fn compile(program: &Program, module: &Path, flags: &str, directory: &Path) -> Result<()> {
    Run::new("go")
        .args(&["-C"])
        .arg(module)
        .args(&["build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o"])
        .arg(directory.join(program.name))
        .arg(program.package)
        .env("CGO_ENABLED", "0")
        .run_quietly()
        .with_context(|| {
            format!(
                "build {} from {MODULES}/{}: it needs the Go module proxy and 3 GB in Go's caches (`go env GOCACHE GOMODCACHE`)",
                program.name, program.directory
            )
        })?;
    if program.name == KWOK.name {
        fs::write(directory.join(KWOK_STAGES), kwok_stages(module)?)?;
    }
    Ok(())
}

/// Sets the version, or every program says that it is unreleased and Helm's checks of capabilities fail.
fn linker_flags(program: &Program) -> Result<String> {
    let strip = "-s -w";
    if program.directory != "kubernetes" {
        return Ok(strip.to_owned());
    }
    let version = kubernetes_version()?;
    let minor = version.split('.').nth(1).unwrap_or_default();
    let stamp = |package: &str| {
        format!(
            " -X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor}"
        )
    };
    Ok(format!(
        "{strip}{}{}",
        stamp("k8s.io/component-base/version"),
        stamp("k8s.io/client-go/pkg/version")
    ))
}

/// The stages that come with KWOK's module, in one file. Without `---` between them it finds only the first.
fn kwok_stages(module: &Path) -> Result<String> {
    let answer = Run::new("go")
        .args(&["-C"])
        .arg(module)
        .args(&["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"])
        .read()?;
    let stages = Path::new(answer.trim()).join("kustomize/stage");
    [
        "pod/fast/pod-ready.yaml",
        "pod/fast/pod-complete.yaml",
        "pod/fast/pod-delete.yaml",
        "node/fast/node-initialize.yaml",
        "node/heartbeat/node-heartbeat.yaml",
    ]
    .iter()
    .map(|stage| read(&stages.join(stage)))
    .collect::<Result<Vec<_>>>()
    .map(|stages| stages.join("\n---\n"))
}

/// Any Go since 1.21 fetches the release a module asks for by itself.
fn check_go() -> Result<()> {
    let Ok(output) = Command::new("go").args(["env", "GOVERSION"]).output() else {
        bail!(Unavailable(
            "Go is not on PATH: install it (https://go.dev/doc/install, or `apt-get install golang` where that is 1.21 or newer)"
                .to_owned()
        ));
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if minor_of_go(&version).is_none_or(|minor| minor < 21) {
        bail!(Unavailable(format!(
            "Go on PATH says it is {version:?}, and 1.21 or newer is needed: install a newer one (https://go.dev/doc/install)"
        )));
    }
    Ok(())
}

fn minor_of_go(version: &str) -> Option<u32> {
    let digits = version.strip_prefix("go1.")?;
    let end = digits
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_required() {
        let text = "replace k8s.io/api => k8s.io/api v0.34.4\n\nrequire (\n\tk8s.io/kubernetes v1.34.4 // indirect\n)";
        assert_eq!(
            version_of("k8s.io/kubernetes", text).as_deref(),
            Some("v1.34.4")
        );
        assert_eq!(version_of("k8s.io/api", text), None);
        assert!(kubernetes_version().is_ok());
    }

    #[test]
    fn the_release_of_go_is_read() {
        assert_eq!(minor_of_go("go1.26.8"), Some(26));
        assert_eq!(minor_of_go("go1.22rc1"), Some(22));
        assert_eq!(minor_of_go("devel +abc"), None);
    }
}
