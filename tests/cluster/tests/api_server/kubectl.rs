//! What a user sees with kubectl.

use cluster::{Cluster, Tier, on_cluster};
use serde_json::json;

use crate::table::job;

#[test]
fn the_definition_is_applied_by_the_client_as_often_as_one_likes() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for _ in 0..2 {
            let answer = cluster.kubectl(&["apply", "-f", "manifests/crds"], "");
            assert_eq!(answer.stderr, "", "nothing to warn of");
            let said = answer.expect_success();
            assert!(
                said.lines().all(|line| line.ends_with(" unchanged")),
                "{said}"
            );
        }
    });
}

#[test]
fn the_columns_of_a_list_tell_how_jobs_are() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("columns").await;
        let path = Cluster::jobs_path(namespace.name());
        let spec = json!({"job": {"command": ["x"]}});
        cluster
            .send("POST", &path, &job("listed", &spec))
            .await
            .expect("it is accepted");
        let status = json!({"status": {
            "jobStatus": "Running", "attempt": 2, "workers": {"ready": 3, "desired": 4},
            "schedulerAddress": "tcp://listed-2-scheduler:8786",
            "failure": {"class": "Application", "reason": "ExitCode", "role": "runner", "message": "m"},
        }});
        cluster
            .send("PATCH", &format!("{path}/listed/status"), &status)
            .await
            .expect("it is taken");
        let list = |more: &[&str]| {
            let mut arguments = vec!["get", "dj", "-n", namespace.name()];
            arguments.extend(more);
            let table = cluster.kubectl(&arguments, "").expect_success();
            table
                .lines()
                .map(|line| {
                    line.split_whitespace()
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        let table = list(&[]);
        assert_eq!(
            table[0],
            ["NAME", "STATUS", "READY", "WORKERS", "ATTEMPT", "AGE"]
        );
        assert_eq!(table[1][..5], ["listed", "Running", "3", "4", "2"]);
        let wide = list(&["-o", "wide"]);
        assert_eq!(wide[0][6..], ["REASON", "SCHEDULER"]);
        assert_eq!(wide[1][6..], ["ExitCode", "tcp://listed-2-scheduler:8786"]);
    });
}

#[test]
fn a_job_is_found_by_its_short_name_and_among_all() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("found").await;
        let path = Cluster::jobs_path(namespace.name());
        cluster
            .send("POST", &path, &job("here", &json!({})))
            .await
            .expect("it is accepted");
        for kind in ["dj", "daskjob", "daskjobs.daskjob.dev", "all"] {
            let found = cluster.kubectl(&["get", kind, "-n", namespace.name(), "-o", "name"], "");
            assert!(
                found.expect_success().contains("daskjob.daskjob.dev/here"),
                "{kind}"
            );
        }
    });
}

#[test]
fn explain_describes_every_field_it_is_asked_for() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for (field, description) in [
            ("daskjob", "A job and a Dask cluster of its own"),
            ("daskjob.spec.workers.numberOfWorkers", "How many workers"),
            (
                "daskjob.spec.workers.number_of_workers",
                "spelling of the job protobuf",
            ),
            (
                "daskjob.spec.workerGroups.daskResources",
                "abstract resources",
            ),
            ("daskjob.spec.job.files", "relative path to text"),
            ("daskjob.status.conditions", "each with reason and time"),
            ("daskjob.status.failure.class", "Kind of failure"),
        ] {
            let explained = cluster.kubectl(&["explain", field], "").expect_success();
            let words = explained.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(description), "{field}: {explained}");
        }
    });
}

#[test]
fn apply_tells_a_user_the_field_and_what_to_do() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for (spec, sentences) in [
            (
                "job: {command: [x]}, workers: {minimum: 2}",
                &["spec.workers.minimum", "needs a maximum"][..],
            ),
            (
                "job: {command: [x]}, workers: {numberOfWorker: 2}",
                &["unknown field \"spec.workers.numberOfWorker\""],
            ),
            (
                "job: {command: [x]}, requests: {memory: 2GB}",
                &["spec.requests.memory", "2GB"],
            ),
        ] {
            let manifest = format!(
                "{{apiVersion: {}, kind: DaskJob, metadata: {{name: wrong}}, spec: {{{spec}}}}}",
                crd::api_version()
            );
            let answer = cluster.kubectl(&["apply", "-f", "-"], &manifest);
            assert!(!answer.success, "{spec} was applied");
            for sentence in sentences {
                assert!(
                    answer.stderr.contains(sentence),
                    "{spec}: {}",
                    answer.stderr
                );
            }
        }
    });
}
