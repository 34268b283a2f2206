//! Images for the node, built without a registry.

use std::path::Path;
use std::process::Command;

use crate::Cluster;

/// Debian with Python: the argument `BASE` of every Dockerfile here, in place of a public image.
pub const BASE_IMAGE: &str = "localhost/daskjob-test/base:bookworm";

impl Cluster {
    /// A base image of another release of Debian (`trixie`), for what must run with another libc and another Python.
    pub fn base_image(&self, release: &str) -> String {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["xtask", "cluster", "base-image", release])
            .current_dir(crate::described::root())
            .stderr(std::process::Stdio::inherit())
            .output()
            .expect("cargo can be started");
        assert!(output.status.success(), "there is no base image {release}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Builds the Dockerfile in a directory, over that directory, and gives the image to the node. Its name must begin
    /// with `localhost/`, and pods must not ask for the tag `latest`, which is always pulled.
    pub fn build_image(&self, reference: &str, context: &Path) {
        let archive = context.join(".image.tar");
        let base = format!("BASE={BASE_IMAGE}");
        succeed(
            Command::new("buildah")
                .arg("--root")
                .arg(&self.description.image_storage)
                .args([
                    "bud",
                    "--isolation",
                    "chroot",
                    "--layers",
                    "--build-arg",
                    &base,
                ])
                .args(["--tag", reference])
                .arg(context),
        );
        succeed(
            Command::new("buildah")
                .arg("--root")
                .arg(&self.description.image_storage)
                .args(["push", reference])
                .arg(format!("docker-archive:{}:{reference}", archive.display())),
        );
        self.import_image(&archive);
        // It holds the whole image; the next build finds its layers in the storage.
        let _ = std::fs::remove_file(archive);
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
