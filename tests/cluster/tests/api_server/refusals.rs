//! What `plan` refuses, the API server refuses too, as far as a schema and CEL can say it.

use cluster::{Cluster, Refusal, Tier, on_cluster};
use serde_json::{Value, json};

use crate::table::{cases, manifest_of};

async fn try_to_create(cluster: &Cluster, manifest: &Value) -> Result<Value, Refusal> {
    let path = format!("{}?dryRun=All", Cluster::jobs_path("default"));
    cluster.send("POST", &path, manifest).await
}

/// What is wrong with the answer to a case that must be refused.
fn complaint(case: &Value, answer: Result<Value, Refusal>) -> Option<String> {
    let Err(refusal) = answer else {
        return Some("it is accepted".to_owned());
    };
    if !(400..500).contains(&refusal.code) {
        return Some(format!("the server fails: {refusal:?}"));
    }
    // The server's own name for the field where it differs, else the one of the table.
    let field = case["server_field"]
        .as_str()
        .or(case["field"].as_str())
        .expect("a case names its field");
    let names_field = match refusal.causes.is_empty() {
        true => refusal.message.contains(&format!("\"{field}\"")),
        false => refusal.causes.iter().any(|(named, _)| named == field),
    };
    if !names_field {
        return Some(format!("it does not name {field}: {refusal:#?}"));
    }
    let says = case["server_says"].as_str().unwrap_or_default();
    (!refusal.message.contains(says)).then(|| format!("it does not say {says:?}: {refusal:#?}"))
}

#[test]
fn what_plan_refuses_the_api_server_refuses_naming_the_field() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let mut wrong = Vec::new();
        for case in cases("refused").iter().filter(|case| case["api"] != "no") {
            let answer = try_to_create(&cluster, &manifest_of(case)).await;
            wrong.extend(complaint(case, answer).map(|what| format!("{}: {what}", case["rule"])));
        }
        assert!(
            wrong.is_empty(),
            "{} of them:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    });
}

/// The list of what only `plan` refuses is exact.
#[test]
fn what_the_table_calls_inexpressible_passes_the_api_server() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for case in cases("refused").iter().filter(|case| case["api"] == "no") {
            let answer = try_to_create(&cluster, &manifest_of(case)).await;
            assert!(answer.is_ok(), "{}: {answer:?}", case["rule"]);
        }
    });
}

#[test]
fn what_plan_accepts_the_api_server_accepts() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for case in cases("accepted") {
            let answer = try_to_create(&cluster, &manifest_of(&case)).await;
            assert!(answer.is_ok(), "{}: {answer:?}", case["rule"]);
        }
    });
}

#[test]
fn every_example_is_accepted() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let examples = ["apply", "--dry-run=server", "-f", "examples"];
        let answer = cluster.kubectl(&examples, "").expect_success();
        assert!(answer.lines().count() >= 6, "{answer}");
    });
}

#[test]
fn the_same_spec_counts_the_same_in_both_spellings() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for spelling in ["numberOfWorkers", "number_of_workers"] {
            let spec = json!({"job": {"command": ["x"]}, "workers": {spelling: 3}});
            let manifest = crate::table::job("case", &spec);
            let stored = try_to_create(&cluster, &manifest)
                .await
                .expect("it is accepted");
            assert_eq!(stored["spec"]["workers"], json!({ spelling: 3 }));
        }
    });
}
