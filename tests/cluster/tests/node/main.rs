//! A real node: pods run their programs, reach each other through services, and end as the kernel ends them.

use cluster::{Cluster, Tier, eventually, on_cluster};
use serde_json::{Value, json};

/// A pod of the base image, as strict as the strictest name spaces want it.
fn pod(name: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "main",
                "image": cluster::BASE_IMAGE,
                "command": command,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}},
            }],
        },
    })
}

async fn create(cluster: &Cluster, namespace: &str, kind: &str, object: &Value) {
    let path = format!("/api/v1/namespaces/{namespace}/{kind}");
    cluster
        .send("POST", &path, object)
        .await
        .expect("it is accepted");
}

/// How the container of a pod ended, once the pod has failed.
async fn how_it_failed(cluster: &Cluster, namespace: &str, name: &str) -> Value {
    eventually("it failed", async || {
        phase_is(cluster, namespace, name, "Failed").await
    })
    .await;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let mut pod = cluster
        .send("GET", &path, &json!({}))
        .await
        .expect("it is there");
    pod["status"]["containerStatuses"][0]["state"]["terminated"].take()
}

async fn phase_is(cluster: &Cluster, namespace: &str, name: &str, phase: &str) -> bool {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let pod = cluster
        .send("GET", &path, &json!({}))
        .await
        .expect("it is there");
    pod["status"]["phase"] == phase
}

/// Asks a service by its name until somebody answers: the proxy learns of it in its own time.
const CLIENT: &str = "
import time, urllib.request
for attempt in range(100):
    try:
        print('answered', urllib.request.urlopen('http://web:80/', timeout=2).status)
        break
    except OSError as error:
        print(error)
        time.sleep(0.2)
else:
    raise SystemExit(1)
";

#[test]
fn a_pod_is_reached_by_the_name_of_its_service() {
    on_cluster(Tier::Node, async |cluster| {
        let namespace = cluster.namespace("service").await;
        let server = pod(
            "web",
            &[
                "python3",
                "-m",
                "http.server",
                "8000",
                "--directory",
                "/usr",
            ],
        );
        create(&cluster, namespace.name(), "pods", &server).await;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8000}],
        }});
        create(&cluster, namespace.name(), "services", &service).await;
        let client = pod("client", &["python3", "-c", CLIENT]);
        create(&cluster, namespace.name(), "pods", &client).await;
        eventually("the client was answered", async || {
            phase_is(&cluster, namespace.name(), "client", "Succeeded").await
        })
        .await;
        let log = cluster.kubectl(&["logs", "client", "-n", namespace.name()], "");
        assert!(log.expect_success().ends_with("answered 200\n"));
        let inside = ["exec", "web", "-n", namespace.name(), "--", "id", "-u"];
        assert_eq!(cluster.kubectl(&inside, "").expect_success(), "1000\n");
    });
}

#[test]
fn a_program_that_takes_too_much_memory_is_killed_for_it() {
    on_cluster(Tier::Node, async |cluster| {
        let namespace = cluster.namespace("memory").await;
        let greedy = pod("greedy", &["python3", "-c", "b'x' * (256 << 20)"]);
        create(&cluster, namespace.name(), "pods", &greedy).await;
        let ended = how_it_failed(&cluster, namespace.name(), "greedy").await;
        assert_eq!(
            (&ended["reason"], &ended["exitCode"]),
            (&json!("OOMKilled"), &json!(137))
        );
    });
}

#[test]
fn what_a_program_leaves_as_its_last_words_is_in_its_status() {
    on_cluster(Tier::Node, async |cluster| {
        let namespace = cluster.namespace("words").await;
        let script = "open('/dev/termination-log', 'w').write('because'); raise SystemExit(3)";
        create(
            &cluster,
            namespace.name(),
            "pods",
            &pod("last", &["python3", "-c", script]),
        )
        .await;
        let ended = how_it_failed(&cluster, namespace.name(), "last").await;
        assert_eq!(
            (&ended["message"], &ended["exitCode"]),
            (&json!("because"), &json!(3))
        );
    });
}

#[test]
fn an_image_that_is_built_here_runs_there() {
    on_cluster(Tier::Node, async |cluster| {
        let context = std::env::temp_dir().join(format!("daskjob-image-{}", std::process::id()));
        std::fs::create_dir_all(&context).expect("a directory can be made");
        std::fs::write(context.join("hello.txt"), "hello\n").expect("a file can be written");
        let dockerfile = "ARG BASE\nFROM ${BASE}\nCOPY hello.txt /hello.txt\n";
        std::fs::write(context.join("Dockerfile"), dockerfile).expect("a file can be written");
        cluster.build_image("localhost/daskjob-test/hello:1", &context);
        std::fs::remove_dir_all(&context).expect("it can be removed");
        let namespace = cluster.namespace("image").await;
        let mut hello = pod("hello", &["cat", "/hello.txt"]);
        hello["spec"]["containers"][0]["image"] = json!("localhost/daskjob-test/hello:1");
        create(&cluster, namespace.name(), "pods", &hello).await;
        eventually("it ran", async || {
            phase_is(&cluster, namespace.name(), "hello", "Succeeded").await
        })
        .await;
        let log = cluster.kubectl(&["logs", "hello", "-n", namespace.name()], "");
        assert_eq!(log.expect_success(), "hello\n");
    });
}

#[test]
fn helm_knows_the_release_of_the_cluster() {
    on_cluster(Tier::Node, async |cluster| {
        let answer = cluster.run("helm", &["list", "--all-namespaces"]);
        assert!(answer.success, "{answer:?}");
    });
}
