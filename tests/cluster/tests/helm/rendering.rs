//! What the chart renders to: taken by the API server, whatever the values.

use cluster::{Cluster, Tier, on_cluster};
use serde_json::{Value, json};
use std::sync::OnceLock;

use crate::chart::{Chart, kubernetes, objects, of_kind, the};

#[test]
fn lint_has_nothing_against_the_chart() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        let version = kubernetes(&cluster);
        let lint = ["lint", "--strict", "--kube-version", &version];
        for values in [json!({}), everything("somewhere")] {
            let (path, values) = (chart.path(), chart.values(&values));
            let more = ["--values", &values, &path];
            let said = cluster.run("helm", &[&lint[..], &more].concat());
            assert!(said.expect_success().contains("0 chart(s) failed"));
        }
    });
}

/// Every value other than its default.
fn everything(namespace: &str) -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    let any = json!({"namespaceSelector": {}});
    json!({
        "nameOverride": "short",
        "fullnameOverride": "whole",
        "commonLabels": {"team": "data"},
        "watchNamespaces": [namespace],
        "replicas": 3,
        "podDisruptionBudget": {"maxUnavailable": "50%"},
        "image": {"repository": "example.com/o", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "workerImage": {"repository": "example.com/w", "tag": "2"},
        "jobs": {
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["one", "two"],
            "runAsNonRoot": true,
            "terminationGraceSeconds": 30,
        },
        "clusterDomain": "cluster.example",
        "concurrency": 64,
        "log": {"level": "operator=debug,info", "format": "json"},
        "crds": {"takeOver": true},
        "serviceAccount": {"name": "account", "annotations": {"a": "b"}},
        "metrics": {
            "service": {"enabled": true, "annotations": {"prometheus.io/scrape": "true"}},
            "serviceMonitor": {"enabled": true, "labels": {"release": "p"}, "interval": "30s"},
            "podMonitor": {"enabled": true, "labels": {"release": "p"}, "interval": "1m30s"},
        },
        "dashboard": {"enabled": true, "namespace": namespace, "annotations": {"folder": "Dask"}},
        "networkPolicy": {"enabled": true, "metricsFrom": [any], "apiServerPorts": [8443]},
        "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "extraEnv": [{"name": "A", "value": "b"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "podLabels": {"sidecar.istio.io/inject": "false"},
        "podAnnotations": {"c": "d"},
        "podSecurityContext": {"runAsUser": 1000},
        "securityContext": {"runAsGroup": 1000},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}],
        }}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    })
}

/// A name and values.
fn matrix(namespace: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("defaults", json!({})),
        ("everything", everything(namespace)),
        ("one namespace", json!({"watchNamespaces": [namespace]})),
        ("replicas", json!({"replicas": 2})),
        ("no replica", json!({"replicas": 0})),
        ("no lease", json!({"leaderElection": {"enabled": false}})),
        (
            "no budget",
            json!({"replicas": 2, "podDisruptionBudget": {"enabled": false}}),
        ),
        ("without definition", json!({"crds": {"install": false}})),
        (
            "own roles",
            json!({"rbac": {"create": false, "aggregateRoles": false}}),
        ),
        (
            "own account",
            json!({"serviceAccount": {"create": false, "name": "mine"}}),
        ),
        (
            "default account",
            json!({"serviceAccount": {"create": false}}),
        ),
        (
            "monitored",
            json!({"metrics": {"podMonitor": {"enabled": true}, "serviceMonitor": {"enabled": true}}}),
        ),
        ("dashboard", json!({"dashboard": {"enabled": true}})),
        ("closed", json!({"networkPolicy": {"enabled": true}})),
        ("nothing spread", json!({"topologySpreadConstraints": []})),
        (
            "without limits",
            json!({"resources": {"limits": {"memory": null}}}),
        ),
        (
            "part of another chart",
            json!({"global": {"imageRegistry": "x"}}),
        ),
    ]
}

#[test]
fn the_api_server_takes_all_objects_whatever_the_values() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = restricted(&cluster, "rendering").await;
        let chart = Chart::copied();
        for (name, values) in matrix(namespace.name()) {
            let rendered = chart.render(&cluster, namespace.name(), &values);
            let mut list = objects(&rendered.expect_success());
            // The kinds of the Prometheus operator are not there.
            list.retain(|object| object["apiVersion"] != "monitoring.coreos.com/v1");
            let list = json!({"apiVersion": "v1", "kind": "List", "items": list}).to_string();
            let apply = ["apply", "--dry-run=server", "--validate=strict"];
            let more = ["-f", "-"];
            let said = cluster.kubectl(&[&apply[..], &more].concat(), &list);
            // A warning would be about pod security, or about something that is no longer wanted.
            assert!(said.success && said.stderr.is_empty(), "{name}: {said:#?}");
        }
    });
}

/// A namespace that takes only the strictest pods, and says so of what would make others.
async fn restricted<'a>(cluster: &'a Cluster, purpose: &str) -> cluster::TestNamespace<'a> {
    let namespace = cluster.namespace(purpose).await;
    let label = ["label", "namespace", namespace.name()];
    let labels = ["enforce", "warn"];
    let labels = labels.map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    cluster
        .kubectl(&[&label[..], &labels].concat(), "")
        .expect_success();
    namespace
}

#[test]
fn what_is_off_by_default_is_rendered_only_when_asked_for() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        let kinds = |values: Value| {
            let rendered = chart.render(&cluster, "there", &values).expect_success();
            let mut kinds: Vec<_> = objects(&rendered)
                .iter()
                .map(|object| object["kind"].as_str().unwrap_or_default().to_owned())
                .collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        let always = [
            "ClusterRole",
            "ClusterRoleBinding",
            "CustomResourceDefinition",
            "Deployment",
            "Role",
            "RoleBinding",
            "ServiceAccount",
        ];
        assert_eq!(kinds(json!({})), always);
        let cases = [
            (json!({"replicas": 2}), "PodDisruptionBudget"),
            (json!({"dashboard": {"enabled": true}}), "ConfigMap"),
            (json!({"networkPolicy": {"enabled": true}}), "NetworkPolicy"),
            (
                json!({"metrics": {"service": {"enabled": true}}}),
                "Service",
            ),
            (
                json!({"metrics": {"podMonitor": {"enabled": true}}}),
                "PodMonitor",
            ),
        ];
        for (values, kind) in cases {
            let added: Vec<_> = kinds(values)
                .into_iter()
                .filter(|kind| !always.contains(&kind.as_str()))
                .collect();
            assert_eq!(added, [kind]);
        }
        let monitored = kinds(json!({"metrics": {"serviceMonitor": {"enabled": true}}}));
        assert!(monitored.contains(&"Service".to_owned()), "{monitored:?}");
    });
}

/// The objects of a release with every value other than its default, rendered once for all tests of a process.
fn with_everything(cluster: &Cluster) -> &'static [Value] {
    static OBJECTS: OnceLock<Vec<Value>> = OnceLock::new();
    OBJECTS.get_or_init(|| {
        let rendered = Chart::copied().render(cluster, "there", &everything("jobs"));
        objects(&rendered.expect_success())
    })
}

/// What must agree with what, in the objects of a release.
#[test]
fn selectors_meet_the_pods_and_the_ports_they_are_for() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let objects = with_everything(&cluster);
        let pod = &the(objects, "Deployment")["spec"]["template"];
        let selects = |selector: &Value| {
            let selector = selector.as_object().expect("a selector is a map");
            !selector.is_empty()
                && selector
                    .iter()
                    .all(|(key, value)| pod["metadata"]["labels"][key] == *value)
        };
        assert!(selects(
            &the(objects, "Deployment")["spec"]["selector"]["matchLabels"]
        ));
        assert!(selects(
            &the(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
        ));
        assert!(selects(
            &the(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
        ));
        assert!(selects(
            &the(objects, "PodMonitor")["spec"]["selector"]["matchLabels"]
        ));
        let spread = &pod["spec"]["topologySpreadConstraints"][0];
        assert!(selects(&spread["labelSelector"]["matchLabels"]), "{spread}");
        let service = the(objects, "Service");
        assert!(selects(&service["spec"]["selector"]));
        let monitor = &the(objects, "ServiceMonitor")["spec"];
        for (key, value) in monitor["selector"]["matchLabels"]
            .as_object()
            .expect("a map")
        {
            assert_eq!(service["metadata"]["labels"][key], *value);
        }
        let container = &pod["spec"]["containers"][0];
        let port = &container["ports"][0];
        assert_eq!(port["name"], "http");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
        assert_eq!(
            monitor["endpoints"][0]["port"],
            service["spec"]["ports"][0]["name"]
        );
        assert_eq!(
            the(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"],
            "http"
        );
        for probe in ["livenessProbe", "readinessProbe"] {
            assert_eq!(container[probe]["httpGet"]["port"], "http");
        }
    });
}

#[test]
fn the_operator_is_told_who_it_is_and_whom_to_work_for() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let objects = with_everything(&cluster);
        let pod = &the(objects, "Deployment")["spec"]["template"];
        let environment = pod["spec"]["containers"][0]["env"].as_array();
        let of = |name: &str| {
            let environment = environment.expect("it has an environment");
            let variable = environment.iter().find(|each| each["name"] == name);
            variable.unwrap_or_else(|| panic!("{name} is not set"))
        };
        let said = |name: &str| of(name)["value"].as_str().expect("a text").to_owned();
        for label in said("DASKJOB_OPERATOR_LABELS").split(',') {
            let (key, value) = label.split_once('=').expect("KEY=VALUE");
            assert_eq!(pod["metadata"]["labels"][key], value);
        }
        let own = &of("DASKJOB_OPERATOR_NAMESPACE")["valueFrom"]["fieldRef"]["fieldPath"];
        assert_eq!(own, "metadata.namespace");
        assert_eq!(said("DASKJOB_OPERATOR_NAMESPACES"), "jobs");
        assert_eq!(said("DASKJOB_OPERATOR_WORKER_IMAGE"), "example.com/w:2");
        assert_eq!(said("DASKJOB_OPERATOR_IMAGE_PULL_SECRETS"), "one,two");
        let image = pod["spec"]["containers"][0]["image"].as_str();
        assert_eq!(
            image.map(|image| image.split_once('@').map(|(name, _)| name)),
            Some(Some("example.com/o"))
        );
        // The Lease the operator asks for is the one it may have.
        let lease = said("DASKJOB_OPERATOR_LEASE_NAME");
        let rules = of_kind(objects, "Role").into_iter().flat_map(|role| {
            let rules = role["rules"].as_array().expect("rules are a list");
            rules.iter()
        });
        let names: Vec<_> = rules
            .filter_map(|rule| rule["resourceNames"].as_array())
            .flatten()
            .collect();
        assert_eq!(names, [&json!(lease)]);
    });
}

#[test]
fn the_dashboard_arrives_as_it_is() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        let values = json!({"dashboard": {"enabled": true}});
        let rendered = chart.render(&cluster, "there", &values).expect_success();
        let map = objects(&rendered);
        let map = the(&map, "ConfigMap");
        let arrived = map["data"]["daskjob-operator.json"].as_str();
        let arrived: Value = serde_json::from_str(arrived.expect("a text")).expect("JSON");
        let file = std::fs::read_to_string(format!("{}/files/dashboard.json", chart.path()));
        let file: Value = serde_json::from_str(&file.expect("a file")).expect("JSON");
        assert_eq!(arrived, file);
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    });
}
