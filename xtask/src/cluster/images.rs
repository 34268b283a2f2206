//! Container images, made without a registry: from Debian packages and what this repository builds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::Layout;
use super::prerequisites::tool_named;
use super::say;
use crate::cache;
use crate::command::{Run, root};

/// The image that holds a pod's namespaces.
pub const PAUSE: &str = "localhost/daskjob-test/pause:1";
/// Debian with Python.
pub const BASE: &str = "localhost/daskjob-test/base:bookworm";

/// Packages of a base image beside the smallest Debian system.
const PACKAGES: &str = "python3,python3-venv,ca-certificates,procps";

const SOURCES: &str = "tests/cluster/images";
const ARCHIVE: &str = "image.tar";

/// An image in a file.
pub struct Archive(PathBuf);

impl Archive {
    pub fn at(path: &Path) -> Self {
        Archive(path.to_owned())
    }
}

/// Where buildah keeps images and layers, for all clusters of this user.
pub fn storage() -> Result<PathBuf> {
    let storage = cache::directory()?.join("images/storage");
    fs::create_dir_all(&storage)?;
    Ok(storage)
}

/// Every image that a node has from the start.
pub fn all() -> Result<Vec<Archive>> {
    Ok(vec![pause()?, base("bookworm")?])
}

fn pause() -> Result<Archive> {
    once("pause", "", |directory| {
        Run::new("rustc")
            .args(&["-C", "opt-level=s", "-C", "target-feature=+crt-static"])
            .args(&["-C", "strip=symbols", "--edition=2024", "-o"])
            .arg(directory.join("pause"))
            .arg(root().join(SOURCES).join("pause/pause.rs"))
            .run_quietly()
            .context("build the program `pause`")?;
        build("pause", PAUSE, directory)
    })
}

/// Name of the base image of a release of Debian.
pub fn base_reference(suite: &str) -> String {
    format!("localhost/daskjob-test/base:{suite}")
}

/// A release of Debian with Python.
pub fn base(suite: &str) -> Result<Archive> {
    once("base", &format!("{suite} {PACKAGES}"), |directory| {
        say(&format!(
            "making a base image of Debian {suite} from its packages (about 2 min, once) …"
        ));
        let rootfs = directory.join("rootfs");
        tool_named("debootstrap")
            .args(&["--variant=minbase", &format!("--include={PACKAGES}"), suite])
            .arg(&rootfs)
            .run_quietly()
            .context("make a Debian system: it needs Debian's package archive")?;
        for unneeded in ["var/cache/apt/archives", "var/lib/apt/lists"] {
            let _ = fs::remove_dir_all(rootfs.join(unneeded));
        }
        build("base", &base_reference(suite), directory)?;
        fs::remove_dir_all(&rootfs).context("remove what the base image was made from")
    })
}

/// Makes an image's archive once for what it is made from.
fn once(name: &str, more: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Archive> {
    let mut made_from = more.to_owned();
    let mut sources: Vec<_> = fs::read_dir(root().join(SOURCES).join(name))?
        .collect::<Result<Vec<_>, _>>()?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    sources.sort_unstable();
    for source in sources {
        made_from.push_str(&fs::read_to_string(source)?);
    }
    let directory = Path::new("images").join(format!("{name}-{}", cache::fingerprint(&made_from)));
    let made = cache::once(&directory, |directory| {
        fs::create_dir_all(directory)?;
        make(directory)
    })?;
    Ok(Archive(made.join(ARCHIVE)))
}

/// Builds an image's Dockerfile over a directory and writes the archive there.
fn build(name: &str, reference: &str, directory: &Path) -> Result<()> {
    let buildah = || -> Result<Run> { Ok(tool_named("buildah").arg("--root").arg(storage()?)) };
    buildah()?
        .args(&["bud", "--isolation", "chroot", "--tag", reference, "--file"])
        .arg(root().join(SOURCES).join(name).join("Dockerfile"))
        .arg(directory)
        .run_quietly()
        .with_context(|| format!("build the image {reference}"))?;
    let archive = directory.join(ARCHIVE);
    buildah()?
        .args(&["push", reference])
        .arg(format!("docker-archive:{}:{reference}", archive.display()))
        .run_quietly()
        .with_context(|| format!("write the image {reference} to a file"))
}

/// Gives an image to the node.
pub fn import(layout: &Layout, Archive(archive): &Archive) -> Result<()> {
    tool_named("ctr")
        .arg("--address")
        .arg(layout.containerd_socket())
        .args(&["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .run_quietly()
        .with_context(|| format!("import the image {}", archive.display()))
}
