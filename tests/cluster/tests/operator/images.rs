//! Images and namespaces that are not as we would make them.

use std::fs;

use contract::Role;
use serde_json::json;

use crate::jobs::{ADDS, job};
use crate::scene::{Scene, with_operator};
use crate::waits::restrict;

/// A namespace as a careful administrator makes it: restricted, and with a quota that wants to be told everything.
async fn is_strict(scene: &Scene<'_>) {
    let label = json!({"metadata": {"labels": {
        "pod-security.kubernetes.io/enforce": "restricted",
    }}});
    restrict(scene, &label).await;
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "everything"},
        "spec": {"hard": {
            "requests.cpu": "4", "requests.memory": "8Gi", "limits.cpu": "16", "limits.memory": "8Gi",
        }},
    });
    let path = format!("/api/v1/namespaces/{}/resourcequotas", scene.namespace());
    let taken = scene.cluster.send("POST", &path, &quota).await;
    taken.expect("the quota is taken");
}

/// What such a namespace asks of a job: a template and amounts, each once for all roles.
fn made_strict(job: &mut serde_json::Value) {
    let container = |name: &str| {
        json!({"spec": {"containers": [
            {"name": name, "securityContext": {"readOnlyRootFilesystem": true}},
        ]}})
    };
    let spec = &mut job["spec"];
    spec["template"] = json!({"spec": {"securityContext": {
        "runAsNonRoot": true, "runAsUser": 1234, "runAsGroup": 1234,
    }}});
    spec["requests"] = json!({"cpu": "20m", "memory": "128Mi"});
    spec["limits"] = json!({"cpu": "2", "memory": "512Mi"});
    spec["job"]["template"] = container("runner");
    spec["workers"]["template"] = container("worker");
    spec["scheduler"] = json!({"template": container("scheduler")});
}

#[test]
fn a_strict_namespace_takes_a_job_that_says_what_it_needs() {
    with_operator("strict", async |scene| {
        is_strict(scene).await;
        let mut strict = job(scene, "strict", ADDS);
        made_strict(&mut strict);
        scene.submit(&strict).await;
        scene.completes("strict").await;
        assert_eq!(scene.log("strict-1-runner").trim_end(), "three");
    });
}

/// Another libc, another Python, nothing of ours; and the user is root.
const DOCKERFILE: &str = r"
ARG BASE
FROM ${BASE}
ARG PIP_INDEX_URL
ARG PIP_CERT
RUN python3 -m venv /opt/environment \
    && /opt/environment/bin/python -m pip install --no-cache-dir --disable-pip-version-check distributed==VERSION
ENV PATH=/opt/environment/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
";

/// An image with nothing but Python and distributed, in its newest release that is supported.
fn plain_image(scene: &Scene<'_>) -> &'static str {
    const IMAGE: &str = "localhost/daskjob-test/plain:1";
    let context = std::env::temp_dir().join(format!("daskjob-plain-{}", scene.namespace()));
    fs::create_dir_all(&context).expect("a directory can be made");
    let version = contract::distributed::SUPPORTED.1;
    let dockerfile = DOCKERFILE.replace("VERSION", version);
    fs::write(context.join("Dockerfile"), dockerfile).expect("a file can be written");
    let base = scene.cluster.base_image("trixie");
    scene.cluster.build_image_on(&base, IMAGE, &context);
    fs::remove_dir_all(&context).expect("it can be removed");
    IMAGE
}

/// Says where it runs.
const SAYS_WHERE: &str = "
import platform
import sys

from dask.distributed import Client

with Client() as client:
    assert client.submit(sum, [1, 2]).result() == 3
    print(platform.libc_ver()[1], '%d.%d' % sys.version_info[:2])
";

#[test]
#[ignore = "its image takes minutes to make"]
fn an_image_of_a_users_own_needs_nothing_of_ours() {
    with_operator("plain", async |scene| {
        let image = plain_image(scene);
        is_strict(scene).await;
        for engine in ["native", "dask"] {
            let mut plain = job(scene, engine, SAYS_WHERE);
            plain["spec"]["image"] = json!(image);
            plain["spec"]["engine"] = json!(engine);
            made_strict(&mut plain);
            scene.submit(&plain).await;
            let status = scene.completes(engine).await;
            assert_eq!(status.attempt, 1);
            let log = scene.log(&format!("{engine}-1-runner"));
            assert_eq!(log.trim_end(), "2.41 3.13");
        }
    });
}

#[test]
#[ignore = "stock Dask starts slowly"]
fn the_images_own_dask_takes_the_place_of_our_engine() {
    with_operator("stock", async |scene| {
        let mut stock = job(scene, "stock", ADDS);
        stock["spec"]["engine"] = json!("dask");
        scene.submit(&stock).await;
        scene
            .eventually("there is a scheduler", async || {
                !scene.pods("stock", Role::Scheduler).await.is_empty()
            })
            .await;
        let pod = &scene.pods("stock", Role::Scheduler).await[0];
        let command = pod["spec"]["containers"][0]["command"].to_string();
        assert!(
            command.contains("distributed.cli.dask_scheduler"),
            "{command}"
        );
        scene.completes("stock").await;
    });
}
