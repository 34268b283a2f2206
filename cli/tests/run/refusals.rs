//! What is not run: broken manifests, missing prerequisites. A sentence each, never a stack trace.

use crate::harness::{Finished, Place};

fn no_stack_trace(finished: &Finished) {
    for sign in ["panicked", "Traceback", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!finished.stderr.contains(sign), "{}", finished.stderr);
    }
}

#[test]
fn a_typo_is_named_with_line_and_remedy() {
    let place = Place::new();
    let spec = "job: {command: [x]}\nworkers:\n  numberOfWorker: 2";
    for command in ["run", "validate"] {
        let manifest = place.manifest(spec);
        let finished = place.run(&[command, manifest.to_str().unwrap()]);
        let said = finished.text() + &finished.stderr;
        assert!(
            said.contains("job.yaml:7:5: spec.workers.numberOfWorker: is not a field here"),
            "{said}"
        );
        assert!(said.contains("did you mean numberOfWorkers?"), "{said}");
        assert_eq!(finished.code, if command == "run" { 2 } else { 1 });
        no_stack_trace(&finished);
    }
}

#[test]
fn a_refused_run_has_a_status_too() {
    let place = Place::new();
    let finished = place.run_job("job: {}", &["--output", "json"]);
    assert_eq!(finished.code, 2);
    let status = finished.status();
    assert_eq!(status["jobStatus"], "Failed");
    assert_eq!(status["failure"]["class"], "Invalid");
    assert!(
        status["failure"]["message"]
            .as_str()
            .unwrap()
            .contains("spec.job.command: is missing"),
        "{status:#}"
    );
}

#[test]
fn what_cannot_be_read_is_a_sentence() {
    let place = Place::new();
    std::fs::create_dir(place.here().join("directory.yaml")).unwrap();
    std::fs::write(place.here().join("binary.yaml"), b"\xff\xfe\0").unwrap();
    place.write("empty.yaml", "");
    place.write("broken.yaml", "spec: [\n");
    for (name, sentence) in [
        ("nowhere.yaml", "nowhere.yaml: there is no such file\n"),
        (
            "directory.yaml",
            "directory.yaml: it is a directory; name the manifest in it\n",
        ),
        ("binary.yaml", "binary.yaml: it is not text in UTF-8\n"),
        ("empty.yaml", "empty.yaml: the manifest is empty\n"),
        ("broken.yaml", "the manifest is not YAML: "),
    ] {
        let finished = place.run(&["run", place.here().join(name).to_str().unwrap()]);
        let finished = finished.expect(2);
        finished.expect_said(sentence);
        no_stack_trace(&finished);
    }
    place
        .run(&["validate", "nowhere.yaml"])
        .expect(2)
        .expect_said("cannot read nowhere.yaml: there is no such file");
}

#[test]
fn two_jobs_in_one_file_are_named() {
    let place = Place::new();
    let job = |name: &str| {
        format!(
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {{name: {name}}}\nspec: {{job: {{command: [x]}}}}\n"
        )
    };
    let manifest = place.write("two.yaml", &format!("{}---\n{}", job("a"), job("b")));
    let finished = place.run(&["run", manifest.to_str().unwrap()]).expect(2);
    finished.expect_said("two.yaml holds 2 jobs (a, b): write them into files of their own");
}

#[test]
fn validate_answers_programs_in_json() {
    let place = Place::new();
    let manifest = place.write(
        "two.yaml",
        "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: a}\nspec: {job: {command: [x]}}\n---\n\
         apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: b}\nspec: {engine: daks, job: {command: [x]}}\n",
    );
    let finished = place.run(&["validate", manifest.to_str().unwrap(), "--output", "json"]);
    assert_eq!(finished.code, 1);
    let answers: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(
        (&answers[0]["valid"], &answers[0]["job"]["name"]),
        (&true.into(), &"a".into())
    );
    let refusal = &answers[1]["refusals"][0];
    assert_eq!(
        (&refusal["field"], &refusal["line"]),
        (&"spec.engine".into(), &9.into()),
        "{answers:#}"
    );
    assert_eq!(refusal["remedy"], "did you mean dask?");
}

#[test]
fn a_suspended_job_is_explained() {
    Place::new()
        .run_job("suspend: true\njob: {command: [x]}", &[])
        .expect(2)
        .expect_said("spec.suspend: a suspended job runs nothing");
}

#[test]
fn a_secret_of_the_cluster_must_be_in_the_shell() {
    let spec = "env: [{name: DASKJOB_TEST_SECRET, valueFrom: {secretKeyRef: {name: a, key: b}}}]\njob: {command: [x]}";
    Place::new()
        .run_job(spec, &[])
        .expect(2)
        .expect_said("set DASKJOB_TEST_SECRET in your shell");
}

#[test]
fn a_missing_python_is_a_sentence() {
    let place = Place::new();
    let manifest = place.manifest("job: {command: [x]}");
    let mut command = place.command(&["run", manifest.to_str().unwrap()]);
    let output = command
        .env_remove("DASKJOB_PYTHON")
        .env("PATH", "/nowhere")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(
        said.contains("there is no python3 on PATH. Install Python 3.10 or newer"),
        "{said}"
    );
    place.nothing_is_left(&said);
}

#[test]
fn a_python_without_distributed_is_a_sentence() {
    let place = Place::new();
    // A stand-in that answers the question for versions as such a Python would.
    let environment = place.here().join("venv/bin");
    std::fs::create_dir_all(&environment).unwrap();
    let python = environment.join("python");
    std::fs::write(&python, "#!/bin/sh\necho 3.12.1\n").unwrap();
    std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let manifest = place.manifest("job: {command: [x]}");
    let mut command = place.command(&["run", manifest.to_str().unwrap()]);
    let output = command
        .env_remove("DASKJOB_PYTHON")
        .env("VIRTUAL_ENV", place.here().join("venv"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(70), "{said}");
    assert!(
        said.contains("(from VIRTUAL_ENV) has no distributed"),
        "{said}"
    );
}

#[test]
fn a_command_for_a_cluster_says_how_to_name_one() {
    let finished = Place::new()
        .run(&["list", "--kubeconfig", "/does/not/exist"])
        .expect(2);
    finished.expect_said("the kubeconfig /does/not/exist cannot be used");
    finished.expect_said("remedy: give another with --kubeconfig");
}

#[test]
fn a_job_is_refused_before_any_cluster_is_asked() {
    let place = Place::new();
    let file = place.write("bad.yaml", "kind: DaskJob\n");
    let finished = place.run(&[
        "submit",
        file.to_str().unwrap(),
        "--kubeconfig",
        "/does/not/exist",
    ]);
    finished.expect(2).expect_said("apiVersion: is missing");
}

/// A kubeconfig for a server at this address.
fn kubeconfig(place: &Place, address: &str) -> String {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    let path = place.write("kubeconfig", &text);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_cluster_that_does_not_answer_is_told_with_what_to_look_at() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let finished = place.run(&["list", "--kubeconfig", &kubeconfig(&place, &address)]);
    let finished = finished.expect(70);
    finished.expect_said("the cluster cannot be reached");
    finished.expect_said("kubectl cluster-info");
}

#[test]
fn a_cluster_without_the_definition_is_told_with_how_to_install_it() {
    use std::io::{Read, Write};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 4096];
            let _ = stream.read(&mut asked);
            let _ = stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\nConnection: close\r\n\r\n404 page not found\n",
            );
        }
    });
    let place = Place::new();
    let finished = place.run(&["list", "--kubeconfig", &kubeconfig(&place, &address)]);
    let finished = finished.expect(70);
    finished.expect_said("this cluster does not know DaskJobs");
    finished.expect_said("helm install daskjob-operator");
}
