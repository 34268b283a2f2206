//! A job through the life of a release: installed, upgraded, uninstalled, installed again.

use cluster::{Cluster, Tier, eventually, on_cluster, on_fake_nodes, within};
use serde_json::{Value, json};
use std::time::Duration;

use crate::chart::{Chart, OnTheNode, Release, on_the_node};
use crate::operators::metrics;

/// A job whose pods run on nodes where nothing ends by itself.
fn endless(name: &str) -> Value {
    json!({
        "apiVersion": "daskjob.dev/v1alpha1",
        "kind": "DaskJob",
        "metadata": {"name": name},
        "spec": {
            "job": {"command": ["python", "-c", "pass"]},
            "workers": {"numberOfWorkers": 2},
            "template": {"spec": on_fake_nodes()},
        },
    })
}

async fn job(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    let path = format!("{}/{name}", Cluster::jobs_path(namespace));
    let job = cluster.send("GET", &path, &json!({})).await;
    job.expect("the job is there")
}

async fn becomes(cluster: &Cluster, namespace: &str, name: &str, status: &str) {
    let mut last = Value::Null;
    let is_so = within(Duration::from_secs(120), async || {
        last = job(cluster, namespace, name).await;
        last["status"]["jobStatus"] == status
    });
    assert!(is_so.await, "not {status}: {last:#}");
}

/// Uids of the job's pods.
fn pods(release: &Release<'_>, name: &str) -> Vec<String> {
    let selector = format!("--selector=daskjob.dev/job-name={name}");
    let path = "jsonpath={range .items[*]}{.metadata.uid}{\"\\n\"}{end}";
    let uids = release.kubectl(&["get", "pods", &selector, "-o", path]);
    let mut uids: Vec<_> = uids.lines().map(str::to_owned).collect();
    uids.sort();
    uids
}

fn operators(release: &Release<'_>) -> Vec<String> {
    let selector = format!("--selector=app.kubernetes.io/instance={}", release.name);
    let path = "jsonpath={range .items[*]}{.metadata.name}{\"\\n\"}{end}";
    let names = release.kubectl(&["get", "pods", &selector, "-o", path]);
    names.lines().map(str::to_owned).collect()
}

#[test]
fn a_job_lives_through_upgrade_and_uninstallation_and_ends_after_the_next_installation() {
    Release::on_the_node("life", async |node| {
        let OnTheNode {
            cluster,
            chart,
            release,
            mut values,
            ..
        } = node;
        // The definition too, whoever had it before; no other test asks for it.
        values["crds"] = json!({"takeOver": true});
        release.install(&chart, &values).expect_success();

        let path = Cluster::jobs_path(&release.namespace);
        let taken = cluster.send("POST", &path, &endless("long")).await;
        taken.expect("the job is taken");
        becomes(cluster, &release.namespace, "long", "Running").await;
        let at_first = pods(&release, "long");
        assert_eq!(at_first.len(), 4, "scheduler, runner, two workers");

        let before = operators(&release);
        values["log"] = json!({"level": "debug", "format": "json"});
        release.upgrade(&chart, &values).expect_success();
        assert!(release.has_definition());
        eventually("the operator is another", async || {
            let now = operators(&release);
            now.len() == 1 && now != before
        })
        .await;
        assert_eq!(pods(&release, "long"), at_first);

        release.uninstall().expect_success();
        eventually("no operator is left", async || {
            operators(&release).is_empty()
        })
        .await;
        assert_eq!(pods(&release, "long"), at_first);
        assert_eq!(
            job(cluster, &release.namespace, "long").await["status"]["jobStatus"],
            "Running"
        );
        // The program ends while nobody looks.
        release.kubectl(&[
            "annotate",
            "pod",
            "long-1-runner",
            "daskjob.dev/test-exit-code=0",
        ]);

        release.install(&chart, &values).expect_success();
        becomes(cluster, &release.namespace, "long", "Complete").await;
        nothing_was_forbidden(cluster, &release).await;
        release.kubectl(&["delete", "daskjob", "long", "--wait"]);
        eventually("nothing of it is left", async || {
            pods(&release, "long").is_empty()
        })
        .await;
    });
}

/// The operator asked for nothing it has no right to.
async fn nothing_was_forbidden(cluster: &Cluster, release: &Release<'_>) {
    let operators = operators(release);
    let [operator] = &operators[..] else {
        panic!("{operators:?}");
    };
    let metrics = metrics(cluster, &release.namespace, operator).await;
    assert!(metrics.contains("daskjob_operator_leader 1"), "{metrics}");
    assert!(
        metrics.contains("code=\"200\""),
        "calls are counted: {metrics}"
    );
    assert!(!metrics.contains("code=\"403\""), "{metrics}");
    let log = release.kubectl(&["logs", operator]);
    // Of the API server, not of a program: a create is refused in a namespace that is going.
    assert!(!log.contains("is forbidden"), "{log}");
    let events = release.kubectl(&[
        "get",
        "events",
        "--field-selector=involvedObject.kind=DaskJob",
    ]);
    assert!(events.contains("daskjob/long"), "{events}");
}

#[test]
fn releases_of_one_name_run_jobs_side_by_side_each_its_own() {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        cluster.install_images();
        let chart = Chart::copied();
        let namespaces = [
            cluster.namespace("side-one").await,
            cluster.namespace("side-two").await,
        ];
        let releases = [
            Release::new(&cluster, "same", &namespaces[0]),
            Release::new(&cluster, "same", &namespaces[1]),
        ];
        for release in &releases {
            let values = on_the_node(&[&release.namespace]);
            release.install_without_definition(&chart, &values);
        }
        for release in &releases {
            let path = Cluster::jobs_path(&release.namespace);
            let taken = cluster.send("POST", &path, &endless("long")).await;
            taken.expect("the job is taken");
        }
        for release in &releases {
            becomes(&cluster, &release.namespace, "long", "Running").await;
            let operators = operators(release);
            let metrics = metrics(&cluster, &release.namespace, &operators[0]).await;
            let one = "daskjob_operator_jobs{phase=\"Running\"} 1";
            assert!(
                metrics.contains(one),
                "each sees its own job alone: {metrics}"
            );
            release.kubectl(&["delete", "daskjob", "long", "--wait"]);
        }
    });
}

/// Word for word, by a shell.
#[test]
fn the_commands_that_an_installation_prints_run_a_first_job() {
    Release::on_the_node("notes", async |node| {
        let OnTheNode {
            cluster,
            chart,
            release,
            mut values,
            ..
        } = node;
        values["crds"] = json!({"install": false});
        let said = release.install(&chart, &values).expect_success();
        let (_, commands) = said.split_once("Is it ready?").expect("the notes");
        // What people read between the commands begins like a sentence.
        let is_command =
            |line: &&str| !(line.starts_with(char::is_uppercase) && line.contains(' '));
        let script: String = commands
            .lines()
            .filter(is_command)
            .map(|line| format!("{line}\n"))
            .collect();
        let output = shell(cluster, &script);
        assert!(output.contains("328350\n"), "{script}{output}");
        assert!(
            output.contains("the job's program ended with code 0"),
            "{output}"
        );
        release.kubectl(&["delete", "daskjob", "hello", "--wait"]);
    });
}

/// What a script prints where `kubectl` is on PATH.
fn shell(cluster: &Cluster, script: &str) -> String {
    let kubectl = cluster.program("kubectl");
    let directory = kubectl.parent().expect("it lies in a directory");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new("bash")
        .args(["-e", "-c", script])
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .expect("bash can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{script}{said}{output:?}");
    said
}
