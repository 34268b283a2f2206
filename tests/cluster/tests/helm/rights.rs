//! What the operator may do, and what users of DaskJobs may, as the API server sees it.

use cluster::{Cluster, Tier, eventually, on_cluster};
use serde_json::{Value, json};

use crate::chart::{Chart, Release, objects, on_no_node};

/// Verbs of the operator where it runs jobs, by API group and resource.
const OF_OPERATOR: [(&str, &str, &[&str]); 8] = [
    (
        "daskjob.dev",
        "daskjobs",
        &["get", "list", "watch", "delete"],
    ),
    ("daskjob.dev", "daskjobs/status", &["update"]),
    ("daskjob.dev", "daskjobs/finalizers", &["update"]),
    ("", "pods", OF_WHAT_IT_MAKES),
    (
        "",
        "services",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("", "configmaps", OF_WHAT_IT_MAKES),
    ("networking.k8s.io", "networkpolicies", OF_WHAT_IT_MAKES),
    ("events.k8s.io", "events", &["create", "patch"]),
];
const OF_WHAT_IT_MAKES: &[&str] = &["get", "list", "watch", "create", "delete"];

/// What no operator of ours needs, and somebody who has taken one over would like.
const TEMPTING: [(&str, &str); 12] = [
    ("", "secrets"),
    ("", "pods/exec"),
    ("", "pods/log"),
    ("", "pods/ephemeralcontainers"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("", "namespaces"),
    ("", "nodes"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
];

const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

/// Who asks, where.
struct Asking<'a> {
    cluster: &'a Cluster,
    user: String,
    groups: Vec<String>,
    namespace: Option<&'a str>,
}

impl Asking<'_> {
    async fn may(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let (resource, below) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.user, "groups": self.groups, "resourceAttributes": {
                "namespace": self.namespace, "verb": verb, "group": group, "resource": resource,
                "subresource": below, "name": name,
            }},
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = self.cluster.send("POST", path, &review).await;
        answer.expect("the question is understood")["status"]["allowed"] == true
    }

    /// The verbs it may use.
    async fn verbs(&self, group: &str, resource: &str) -> Vec<&'static str> {
        let mut verbs = Vec::new();
        for verb in VERBS {
            if self.may(verb, group, resource, "").await {
                verbs.push(verb);
            }
        }
        verbs
    }

    async fn may_do_what_an_operator_does(&self) {
        for (group, resource, wanted) in OF_OPERATOR {
            let mut wanted = wanted.to_vec();
            wanted.sort_by_key(|verb| VERBS.iter().position(|known| known == verb));
            assert_eq!(self.verbs(group, resource).await, wanted, "{resource}");
        }
    }

    async fn may_do_none_of_it(&self) {
        for (group, resource, _) in OF_OPERATOR {
            let none: [&str; 0] = [];
            assert_eq!(self.verbs(group, resource).await, none, "{resource}");
        }
    }

    async fn is_not_tempted(&self) {
        for (group, resource) in TEMPTING {
            let none: [&str; 0] = [];
            assert_eq!(self.verbs(group, resource).await, none, "{resource}");
        }
        assert!(!self.may("*", "*", "*", "").await);
    }
}

fn operator<'a>(
    cluster: &'a Cluster,
    release: &Release<'_>,
    namespace: Option<&'a str>,
) -> Asking<'a> {
    let name = format!("{}-daskjob-operator", release.name);
    Asking {
        cluster,
        user: format!("system:serviceaccount:{}:{name}", release.namespace),
        groups: ["system:serviceaccounts", "system:authenticated"]
            .map(str::to_owned)
            .to_vec(),
        namespace,
    }
}

/// Without replicas, for nobody is to act on the jobs of all tests.
fn no_replica(namespaces: &[&str]) -> Value {
    let mut values = on_no_node(namespaces);
    values["replicas"] = json!(0);
    values
}

#[test]
fn with_namespaces_the_operator_has_its_rights_there_and_nowhere_else() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let own = cluster.namespace("rights-own").await;
        let (one, two) = (
            cluster.namespace("rights-one").await,
            cluster.namespace("rights-two").await,
        );
        let chart = Chart::copied();
        let release = Release::new(&cluster, "rights", &own);
        let values = no_replica(&[one.name(), two.name()]);
        release.install_without_definition(&chart, &values);
        for namespace in [one.name(), two.name()] {
            let operator = operator(&cluster, &release, Some(namespace));
            operator.may_do_what_an_operator_does().await;
            operator.is_not_tempted().await;
        }
        for namespace in [Some(own.name()), Some("kube-system"), None] {
            let operator = operator(&cluster, &release, namespace);
            operator.may_do_none_of_it().await;
            operator.is_not_tempted().await;
        }
    });
}

#[test]
fn without_namespaces_the_operator_has_the_same_rights_everywhere() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let own = cluster.namespace("rights-all").await;
        let chart = Chart::copied();
        let release = Release::new(&cluster, "rights", &own);
        release.install_without_definition(&chart, &no_replica(&[]));
        for namespace in [Some("default"), None] {
            let operator = operator(&cluster, &release, namespace);
            operator.may_do_what_an_operator_does().await;
            operator.is_not_tempted().await;
        }
    });
}

#[test]
fn the_operator_holds_its_own_lease_and_no_other() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let own = cluster.namespace("rights-lease").await;
        let chart = Chart::copied();
        let release = Release::new(&cluster, "rights", &own);
        release.install_without_definition(&chart, &no_replica(&[own.name()]));
        let (group, leases) = ("coordination.k8s.io", "leases");
        let here = operator(&cluster, &release, Some(own.name()));
        for verb in ["get", "patch"] {
            assert!(
                here.may(verb, group, leases, "rights-daskjob-operator")
                    .await
            );
            assert!(!here.may(verb, group, leases, "another").await);
        }
        assert_eq!(here.verbs(group, leases).await, ["create"]);
        let elsewhere = operator(&cluster, &release, Some("kube-system"));
        let none: [&str; 0] = [];
        assert_eq!(elsewhere.verbs(group, leases).await, none);
    });
}

#[test]
fn no_role_of_the_chart_has_a_wildcard_or_reaches_for_secrets() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let chart = Chart::copied();
        for namespaces in [json!([]), json!(["one"])] {
            let values = json!({"watchNamespaces": namespaces});
            let rendered = chart.render(&cluster, "there", &values).expect_success();
            let mut rules = 0;
            for object in objects(&rendered) {
                for rule in object["rules"].as_array().into_iter().flatten() {
                    rules += 1;
                    let said = rule.to_string();
                    for bad in ["\"*\"", "secrets", "escalate", "impersonate", "bind"] {
                        assert!(!said.contains(bad), "{bad} in {said}");
                    }
                }
            }
            assert!(rules > 8, "there are rules to look at");
        }
    });
}

#[test]
fn whoever_may_view_or_edit_a_namespace_may_so_its_jobs() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("rights-users").await;
        let chart = Chart::copied();
        let release = Release::new(&cluster, "users", &namespace);
        release.install_without_definition(&chart, &no_replica(&[namespace.name()]));
        let views: &[&str] = &["get", "list", "watch"];
        let edits: &[&str] = &VERBS;
        for (role, jobs, scale) in [
            ("view", views, views),
            ("edit", edits, &["get", "list", "watch", "update", "patch"]),
            ("admin", edits, &["get", "list", "watch", "update", "patch"]),
        ] {
            let bind = [
                "create",
                "rolebinding",
                role,
                &format!("--clusterrole={role}"),
                &format!("--user={role}er"),
                "--namespace",
                namespace.name(),
            ];
            cluster.kubectl(&bind, "").expect_success();
            let user = Asking {
                cluster: &cluster,
                user: format!("{role}er"),
                groups: vec!["system:authenticated".to_owned()],
                namespace: Some(namespace.name()),
            };
            // Roles are gathered by a controller.
            eventually("the role has what it is to have", async || {
                user.verbs("daskjob.dev", "daskjobs").await == jobs
                    && user.verbs("daskjob.dev", "daskjobs/scale").await == scale
            })
            .await;
            // What the operator says is the operator's to say.
            let status = user.verbs("daskjob.dev", "daskjobs/status").await;
            assert_eq!(status, views, "{role}");
        }
    });
}
