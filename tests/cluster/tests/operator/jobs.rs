//! Manifests of the jobs that are run here, and the programs in them.

use serde_json::{Value, json};

use crate::scene::Scene;

/// A job with one worker that runs this program; `cue.py` is beside it.
pub fn job(scene: &Scene<'_>, name: &str, program: &str) -> Value {
    json!({
        "apiVersion": crd::api_version(),
        "kind": crd::KIND,
        "metadata": {"name": name},
        "spec": {
            "env": [{"name": "TEST_CUES", "value": scene.cues.address()}],
            "job": {
                "command": ["python", "main.py"],
                "files": {"main.py": program, "cue.py": include_str!("cue.py")},
            },
            "workers": {"numberOfWorkers": 1, "threads": 1},
        },
    })
}

/// A manifest of `manifests/examples` whose workers tell the test that they have worked, where a user's says nothing.
pub fn witnessed(scene: &Scene<'_>, example: &str) -> Value {
    let path = format!(
        "{}/../../manifests/examples/{example}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).expect("the example is there");
    let mut job = contract::yaml::parse(&text).expect("the example is YAML");
    let files = &mut job["spec"]["job"]["files"];
    files["cue.py"] = include_str!("cue.py").into();
    files["witness.py"] = include_str!("witness.py").into();
    job["spec"]["env"] = json!([
        {"name": "TEST_CUES", "value": scene.cues.address()},
        {"name": "DASK_DISTRIBUTED__WORKER__PRELOAD", "value": "[\"witness\"]"},
    ]);
    job
}

/// Adds one task and ends well.
pub const ADDS: &str = "
from dask.distributed import Client

client = Client()
assert client.submit(sum, [1, 2]).result() == 3
print('three')
";

/// Tells that it began, and once the test says so runs one task and ends well.
pub const WAITS: &str = "
from dask.distributed import Client

from cue import tell, wait_for

client = Client()
client.wait_for_workers(1)
tell('begun')
wait_for('end')
assert client.submit(sum, [1, 2]).result() == 3
";

/// A task that the test lets go on, with the runner waiting for it. Each run of the task is told.
pub const WORKS: &str = "
from dask.distributed import Client

import work

client = Client()
print(client.submit(work.long).result())
";

/// The task of [`WORKS`], a module so that workers import it.
pub const WORK: &str = "
from cue import tell, wait_for


def long():
    tell('works')
    wait_for('end')
    return 'done'
";
