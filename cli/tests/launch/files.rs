//! What the command finds: files, working directory, environment, interpreter.

use crate::harness::{NO_PYTHON, Place, python, skip_unless};
use std::os::unix::fs::symlink;
use std::path::Path;

/// What the kubelet makes of a ConfigMap with `main.py` and `pkg/mod.py`.
fn mount_files(place: &Place) -> String {
    let files = place.path().join("files");
    let of_date = files.join("..2026_01_02_03");
    std::fs::create_dir_all(of_date.join("pkg")).unwrap();
    std::fs::write(
        of_date.join("main.py"),
        "import pkg.mod\nprint(pkg.mod.__file__)",
    )
    .unwrap();
    std::fs::write(of_date.join("pkg/mod.py"), "").unwrap();
    symlink("..2026_01_02_03", files.join("..data")).unwrap();
    symlink("..data/main.py", files.join("main.py")).unwrap();
    symlink("..data/pkg", files.join("pkg")).unwrap();
    place.file("files")
}

#[test]
fn the_command_runs_in_a_copy_of_the_files() {
    let place = Place::new();
    let (files, work) = (mount_files(&place), place.file("work"));
    let script =
        "pwd; ls -A; ls pkg; echo new >> main.py; test ! -L main.py; echo $?; echo $PYTHONPATH";
    let flags = ["--files", &files, "--work-directory", &work];
    let mut launcher = place.launcher(&flags, &["sh", "-c", script]);
    launcher.env("PYTHONPATH", "/opt/app");
    let ended = place.start(launcher).end();
    let expected = format!("{work}\nmain.py\npkg\nmod.py\n0\n{files}:/opt/app\n");
    assert_eq!(
        (ended.code, ended.stdout),
        (0, expected),
        "{}",
        ended.stderr
    );
    let original = std::fs::read_to_string(Path::new(&files).join("main.py")).unwrap();
    assert!(!original.contains("new"));
}

#[test]
fn without_a_work_directory_the_command_stays_where_it_is() {
    let place = Place::new();
    let files = mount_files(&place);
    let mut launcher = place.launcher(&["--files", &files], &["sh", "-c", "pwd; echo $PYTHONPATH"]);
    launcher.env_remove("PYTHONPATH");
    let ended = place.start(launcher).end();
    let here = place.path().display();
    assert_eq!(ended.stdout, format!("{here}\n{files}\n"));
}

#[test]
fn a_command_beside_the_files_is_found() {
    let place = Place::new();
    let files = mount_files(&place);
    let script = place.path().join("files/..2026_01_02_03/run.sh");
    std::fs::write(&script, "#!/bin/sh\nexit 11\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    symlink("..data/run.sh", place.path().join("files/run.sh")).unwrap();
    let ended = place.run(
        &["--files", &files, "--work-directory", &place.file("work")],
        &["./run.sh"],
    );
    assert_eq!(ended.code, 11, "{ended:?}");
}

#[test]
fn files_that_cannot_be_copied_are_an_ending_of_their_own() {
    let place = Place::new();
    let ended = place.run(
        &[
            "--files",
            "/nowhere",
            "--work-directory",
            &place.file("work"),
        ],
        &["true"],
    );
    assert_eq!(ended.code, 70);
    let message = ended.message();
    assert!(
        message["message"].as_str().unwrap().contains("/nowhere"),
        "{message}"
    );
}

#[test]
fn what_the_image_sets_wins_over_a_default() {
    let place = Place::new();
    let flags = [
        "--default-env",
        "OMP_NUM_THREADS=1",
        "--default-env",
        "DASK_X=a=[\"b\"]",
    ];
    let mut launcher = place.launcher(&flags, &["sh", "-c", "echo $OMP_NUM_THREADS; echo $DASK_X"]);
    launcher.env("OMP_NUM_THREADS", "4");
    assert_eq!(place.start(launcher).end().stdout, "4\na=[\"b\"]\n");
}

#[test]
fn a_python_command_takes_the_named_interpreter_else_the_one_on_path() {
    let place = Place::new();
    let shown = "#!/bin/sh\necho \"$0 $*\"\n";
    let named = place.script("named", shown);
    let python = place.script("python", shown);
    let words = ["-m", "distributed.cli.dask_worker"];
    for (wish, expected) in [(Some(&named), &named), (None, &python)] {
        let mut launcher = place.launcher(&["--python-command"], &words);
        launcher
            .env("PATH", place.path())
            .env_remove("DASKJOB_PYTHON");
        launcher.envs(wish.map(|wish| ("DASKJOB_PYTHON", wish)));
        // Its shell needs no PATH.
        let ended = place.start(launcher).end();
        assert_eq!(
            ended.stdout,
            format!("{expected} -m distributed.cli.dask_worker\n"),
            "{ended:?}"
        );
    }
    let mut launcher = place.launcher(&["--python-command"], &words);
    launcher
        .env("PATH", "/nowhere")
        .env_remove("DASKJOB_PYTHON");
    let ended = place.start(launcher).end();
    assert_eq!(ended.code, 127);
    assert!(
        ended
            .left
            .contains("neither python3 nor python on PATH (/nowhere)"),
        "{}",
        ended.left
    );
}

#[test]
fn modules_are_found_among_the_files() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let place = Place::new();
    let (files, work) = (mount_files(&place), place.file("work"));
    let flags = [
        "--files",
        &files,
        "--work-directory",
        &work,
        "--python-command",
    ];
    let ended = place.run(&flags, &["main.py"]);
    // The program's own directory comes before PYTHONPATH.
    assert_eq!(ended.stdout, format!("{work}/pkg/mod.py\n"), "{ended:?}");
}
