//! Every example runs as it is, and its tasks run in the worker pods.

use std::collections::BTreeSet;

use contract::Role;
use serde_json::Value;

use crate::jobs::witnessed;
use crate::scene::{name_of, with_operator};

/// Runs it to Complete. The workers that have worked are those pods, at those addresses, and each is our program.
fn runs_on_its_workers(example: &str) {
    with_operator(example, async |scene| {
        let job = witnessed(scene, example);
        scene.submit(&job).await;
        let mut workers: BTreeSet<(String, String)> = BTreeSet::new();
        scene
            .eventually("every worker has an address", async || {
                let pods = scene.pods(example, Role::Worker).await;
                assert!(pods.iter().all(runs_our_worker), "{pods:#?}");
                workers = pods
                    .iter()
                    .filter_map(|pod| Some((name_of(pod), address_of(pod)?)))
                    .collect();
                workers.len() == workers_of(&job)
            })
            .await;
        scene.completes(example).await;
        let told = scene.cues.told("ran");
        assert!(!told.is_empty(), "no worker has worked");
        for ran in told {
            let (name, address) = ran.detail.split_once(' ').expect("name and address");
            let host = ran.from.to_string();
            assert!(
                workers.contains(&(name.to_owned(), host.clone())),
                "{ran:?}, but the workers are {workers:?}"
            );
            assert!(
                address.starts_with(&format!("tcp://{host}:")),
                "{address} is not at {host}"
            );
        }
    });
}

/// The launcher becomes our worker: whoever answers at the pod's address is it.
fn runs_our_worker(pod: &Value) -> bool {
    let words = pod["spec"]["containers"][0]["command"].as_array();
    let words: Vec<&str> = words
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let program = contract::paths::PROGRAM_IN_IMAGE;
    words.contains(&contract::launch::EXEC) && words.ends_with(&["--", program, "worker"])
}

fn address_of(pod: &Value) -> Option<String> {
    pod["status"]["podIP"].as_str().map(str::to_owned)
}

fn workers_of(job: &Value) -> usize {
    let groups = job["spec"]["workerGroups"].as_array();
    let counts = [&job["spec"]["workers"]]
        .into_iter()
        .chain(groups.into_iter().flatten())
        .map(|group| group["numberOfWorkers"].as_u64().unwrap_or(1));
    usize::try_from(counts.sum::<u64>()).expect("a few workers")
}

macro_rules! examples {
    ($($name:ident: $file:literal,)*) => {
        const EXAMPLES: &[&str] = &["quickstart", $($file,)*];

        $(
            #[test]
            #[ignore = "one example is enough for every change"]
            fn $name() {
                runs_on_its_workers($file);
            }
        )*
    };
}

#[test]
fn quickstart() {
    runs_on_its_workers("quickstart");
}

examples! {
    array: "array",
    dataframe: "dataframe",
    resources: "resources",
    retries: "retries",
    word_count: "word-count",
}

#[test]
fn no_example_is_forgotten() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/examples");
    let files: BTreeSet<String> = std::fs::read_dir(directory)
        .expect("examples are among the manifests")
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".yaml")?
                    .to_owned(),
            )
        })
        .collect();
    let known: BTreeSet<String> = EXAMPLES.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(files, known);
}
