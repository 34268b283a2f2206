//! Images for the node, built without a registry.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::Cluster;
use crate::cargo;
use crate::cluster::outside;

/// Debian with Python: the argument `BASE` of every Dockerfile here, in place of a public image.
pub const BASE_IMAGE: &str = "localhost/daskjob-test/base:bookworm";

/// The worker image, once [`Cluster::install_images`] has given it to the node.
pub const WORKER_IMAGE: &str = "localhost/daskjob/worker:dev";

/// The operator's image, likewise.
pub const OPERATOR_IMAGE: &str = "localhost/daskjob/operator:dev";

/// Names the static program where the images are made and given already, as `cargo xtask test` does.
const KNOWN: &str = "DASKJOB_STATIC_BIN";

impl Cluster {
    /// Makes the worker image and the operator's and gives them to the node, once in a test process. Returns the
    /// program that is in both.
    pub fn install_images(&self) -> PathBuf {
        static INSTALLED: Mutex<Option<PathBuf>> = Mutex::new(None);
        if let Some(program) = env::var_os(KNOWN) {
            return program.into();
        }
        let mut installed = INSTALLED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        installed
            .get_or_insert_with(|| PathBuf::from(xtask(&["image", "node"])))
            .clone()
    }

    /// A base image of another release of Debian (`trixie`), for what must run with another libc and another Python.
    pub fn base_image(&self, release: &str) -> String {
        xtask(&["cluster", "base-image", release])
    }

    /// Builds the Dockerfile in a directory, over that directory, and gives the image to the node. Its name must begin
    /// with `localhost/`, and pods must not ask for the tag `latest`, which is always pulled.
    pub fn build_image(&self, reference: &str, context: &Path) {
        self.build_image_on(BASE_IMAGE, reference, context);
    }

    /// The same on another base. A Dockerfile that runs pip takes `PIP_INDEX_URL` and `PIP_CERT` as arguments.
    pub fn build_image_on(&self, base: &str, reference: &str, context: &Path) {
        let archive = context.join(".image.tar");
        let mut build = self.buildah();
        build.args(["bud", "--isolation", "chroot", "--layers"]);
        build.args(["--build-arg", &format!("BASE={base}")]);
        for name in ["PIP_INDEX_URL", "PIP_CERT"] {
            if let Ok(value) = env::var(name) {
                build.args(["--build-arg", &format!("{name}={value}")]);
            }
        }
        if let Some(certificate) = env::var_os("PIP_CERT")
            && let Some(directory) = Path::new(&certificate).parent()
        {
            build.args(["--volume", &format!("{0}:{0}:ro", directory.display())]);
        }
        succeed(build.args(["--tag", reference]).arg(context));
        succeed(
            self.buildah()
                .args(["push", reference])
                .arg(format!("docker-archive:{}:{reference}", archive.display())),
        );
        self.import_image(&archive);
        // It holds the whole image; the next build finds its layers in the storage.
        let _ = std::fs::remove_file(archive);
    }

    fn buildah(&self) -> Command {
        let mut buildah = outside("buildah");
        buildah.arg("--root").arg(&self.description.image_storage);
        buildah
    }

    /// Gives an image in an archive (`docker save`, `buildah push docker-archive:`) to the node.
    pub fn import_image(&self, archive: &Path) {
        succeed(
            Command::new("ctr")
                .arg("--address")
                .arg(self.containerd_socket())
                .args(["--namespace", "k8s.io", "images", "import"])
                .arg(archive),
        );
    }
}

/// What `cargo xtask` says last.
fn xtask(arguments: &[&str]) -> String {
    let output = cargo::xtask(outside(cargo::program()), arguments)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo xtask {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().last().unwrap_or_default().trim().to_owned()
}

fn succeed(command: &mut Command) {
    let output = command
        .output()
        .expect("the tools of a cluster with a node are installed");
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
