//! What `daskjob plan` says before anything is made.

use serde_json::Value;

use crate::scene::{Scene, without_operator};

fn apply(scene: &Scene<'_>, text: &str) {
    scene
        .cluster
        .kubectl(&["apply", "-n", scene.namespace(), "-f", "-"], text)
        .expect_success();
}

#[test]
fn a_job_that_would_start_is_shown_as_the_cluster_would_store_it() {
    without_operator("plan-good", async |scene| {
        let manifest = scene.manifest("good", "print(1)");
        let image = ["--worker-image", cluster::WORKER_IMAGE];
        let (text, _) = scene.does(&[&["plan", &manifest], &image[..]].concat());
        for told in [
            "Pod good-1-scheduler",
            "ConfigMap good-1-files",
            "Together: 3 pods",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
        let (yaml, _) =
            scene.does(&[&["plan", &manifest, "--output", "yaml"], &image[..]].concat());
        let objects = contract::yaml::parse_documents(&yaml).expect("it is YAML");
        assert_eq!(objects.len(), 6, "{yaml}");
        let runner = objects
            .iter()
            .map(|(_, object)| object)
            .find(|object| object["metadata"]["name"] == "good-1-runner");
        // A default of the API server's, and the owner that the operator sets.
        let runner = runner.expect("there is a runner");
        assert_eq!(runner["spec"]["schedulerName"], "default-scheduler");
        assert_eq!(runner["metadata"]["ownerReferences"][0]["kind"], "DaskJob");
        let left = [
            "get",
            "dj,pods,services,configmaps",
            "-n",
            scene.namespace(),
            "-l",
            "daskjob.dev/job-name",
        ];
        assert_eq!(
            scene.cluster.kubectl(&left, "").stdout,
            "",
            "nothing was made"
        );
    });
}

#[test]
fn quota_bounds_nodes_and_what_is_missing_are_told_before_anything_is_made() {
    without_operator("plan-bad", async |scene| {
        apply(
            scene,
            "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: small}\nspec: {hard: {requests.cpu: '2', pods: '20'}}\n---\n\
             apiVersion: v1\nkind: LimitRange\nmetadata: {name: bounds}\nspec: {limits: [{type: Container, max: {memory: 1Gi}, default: {memory: 256Mi}, defaultRequest: {cpu: 100m, memory: 256Mi}}]}\n",
        );
        // A quota counts once its controller has seen it.
        cluster::eventually("the quota counts", async || {
            let arguments = [
                "get",
                "quota",
                "small",
                "-n",
                scene.namespace(),
                "-o",
                "jsonpath={.status.hard.pods}",
            ];
            scene.cluster.kubectl(&arguments, "").stdout == "20"
        })
        .await;
        let manifest = scene.write(
            "bad.yaml",
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: bad}\nspec:\n  job: {command: [python]}\n  env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: login, key: token}}}]\n  \
             workers:\n    numberOfWorkers: 4\n    requests: {cpu: '1'}\n  workerGroups:\n    - {name: huge, requests: {cpu: '900'}}\n    - {name: fat, limits: {memory: 2Gi}}\n    \
             - {name: nowhere, template: {spec: {nodeSelector: {pool: gpu}}}}\n",
        );
        let (code, answer) = scene.daskjob(&["plan", &manifest]);
        assert_eq!(code, 1, "{answer:#?}");
        for told in [
            "quota small: requests.cpu: the job needs ",
            "too small even when nothing else runs",
            "worker of huge: no node is large enough: cpu: 900 asked",
            "worker of nowhere: none of ",
            "no label pool=gpu",
            "maximum memory usage per Container is 1Gi",
            "Secret login: it is not there in namespace",
            "As things are, it would not start.",
        ] {
            assert!(answer.stdout.contains(told), "{told}: {}", answer.stdout);
        }
        let (code, answer) = scene.daskjob(&["plan", &manifest, "--output", "json"]);
        assert_eq!(code, 1);
        let all: Value = serde_json::from_str(&answer.stdout).expect("it is JSON");
        assert_eq!(all["findings"][0]["severity"], "blocks");
    });
}

#[test]
fn whoever_may_only_edit_jobs_is_told_what_could_not_be_looked_at() {
    without_operator("plan-rights", async |scene| {
        let namespace = scene.namespace();
        apply(
            scene,
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: jobs}\nrules: [{apiGroups: [daskjob.dev], resources: [daskjobs], verbs: ['get', 'create']}]\n",
        );
        let bind = [
            "create",
            "rolebinding",
            "jobs",
            "--role=jobs",
            "--user=eve",
            "-n",
            namespace,
        ];
        scene.cluster.kubectl(&bind, "").expect_success();
        let manifest = scene.manifest("mine", "print(1)");
        let (code, answer) = scene.daskjob(&["plan", &manifest, "--as", "eve"]);
        assert_eq!(code, 0, "{answer:#?}");
        for told in [
            "nodes: you may not list those",
            "you may not create pods",
            "Nothing stands in its way.",
        ] {
            assert!(answer.stdout.contains(told), "{told}: {}", answer.stdout);
        }
    });
}
