//! Values that are refused, and in which words.

use cluster::{Tier, on_cluster};
use serde_json::{Value, json};

use crate::chart::Chart;

/// Values, and words of the refusal: the field, and what is wrong with it.
fn table() -> Vec<(Value, [&'static str; 2])> {
    let unknown = "additional properties";
    vec![
        (json!({"replica": 2}), ["'replica'", unknown]),
        (json!({"image": {"registry": "x"}}), ["/image", unknown]),
        (json!({"jobs": {"imagePullSecret": []}}), ["/jobs", unknown]),
        (
            json!({"metrics": {"serviceMonitor": {"enable": true}}}),
            ["/metrics/serviceMonitor", unknown],
        ),
        (
            json!({"leaderElection": true}),
            ["/leaderElection", "got boolean, want object"],
        ),
        (
            json!({"leaderElection": {"enabled": "yes"}}),
            ["/leaderElection/enabled", "got string, want boolean"],
        ),
        (
            json!({"replicas": "2"}),
            ["/replicas", "got string, want integer"],
        ),
        (json!({"replicas": -1}), ["/replicas", "minimum"]),
        (
            json!({"image": {"pullPolicy": "Sometimes"}}),
            ["/image/pullPolicy", "must be one of"],
        ),
        (
            json!({"image": {"digest": "abc"}}),
            ["/image/digest", "does not match pattern"],
        ),
        (
            json!({"image": {"repository": ""}}),
            ["/image/repository", "minLength"],
        ),
        (
            json!({"watchNamespaces": "one"}),
            ["/watchNamespaces", "got string, want array"],
        ),
        (
            json!({"watchNamespaces": ["a,b"]}),
            ["/watchNamespaces/0", "does not match pattern"],
        ),
        (
            json!({"watchNamespaces": ["a", "a"]}),
            ["/watchNamespaces", "items at 0 and 1 are equal"],
        ),
        (
            json!({"log": {"format": "xml"}}),
            ["/log/format", "must be one of"],
        ),
        (json!({"concurrency": 0}), ["/concurrency", "minimum"]),
        (
            json!({"imagePullSecrets": ["registry"]}),
            ["/imagePullSecrets/0", "got string, want object"],
        ),
        (
            json!({"extraEnv": {"A": "b"}}),
            ["/extraEnv", "got object, want array"],
        ),
        (
            json!({"tolerations": [{"effects": "NoSchedule"}]}),
            ["/tolerations/0", unknown],
        ),
        (
            json!({"affinity": {"podAffinities": {}}}),
            ["/affinity", unknown],
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1}]}),
            ["/topologySpreadConstraints/0", "missing properties"],
        ),
        (
            json!({"networkPolicy": {"apiServerPorts": []}}),
            ["/networkPolicy/apiServerPorts", "minItems"],
        ),
        (
            json!({"nodeSelector": {"a": true}}),
            ["/nodeSelector/a", "got boolean, want string"],
        ),
        (
            json!({"replicas": 2, "leaderElection": {"enabled": false}}),
            ["replicas", "need leaderElection.enabled: true"],
        ),
    ]
}

#[test]
fn a_value_that_means_nothing_is_refused_by_name() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        for (values, words) in table() {
            let said = chart.render(&cluster, "there", &values);
            assert!(!said.success, "{values} is taken");
            for word in words {
                assert!(
                    said.stderr.contains(word),
                    "{values}: {word} is not in {}",
                    said.stderr
                );
            }
        }
    });
}

#[test]
fn a_cluster_that_is_too_old_is_refused() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        let template = ["template", &chart.path(), "--kube-version", "1.32.9"];
        let said = cluster.run("helm", &template);
        assert!(
            !said.success && said.stderr.contains(">=1.33.0"),
            "{said:?}"
        );
    });
}
