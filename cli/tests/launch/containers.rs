//! Other images: no root, nothing that can be written, nothing at all.

use crate::harness::{NO_STATIC, Place, is_root, program, skip_unless, static_program};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

#[test]
fn the_copy_of_the_program_is_whole_and_may_be_run_by_everyone() {
    let place = Place::new();
    let file = place.file("daskjob");
    // What was there is replaced, also while it runs.
    std::fs::write(&file, "old").unwrap();
    let status = Command::new(program())
        .args(["install", &file])
        .status()
        .unwrap();
    assert!(status.success());
    let metadata = std::fs::metadata(&file).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
    assert_eq!(metadata.len(), std::fs::metadata(program()).unwrap().len());
    let names: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    let again = Command::new(&file)
        .args(["install", &file])
        .status()
        .unwrap();
    assert!(again.success());
    let output = Command::new(program())
        .args(["install", "/nowhere/daskjob"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/daskjob"));
}

#[test]
fn without_root_and_with_nothing_writable_it_runs_and_leaves_its_message() {
    skip_unless!(is_root(), "becoming another user and mounting need root");
    let place = Place::new();
    let copy = place.file("daskjob");
    std::fs::copy(program(), &copy).unwrap();
    let log = place.file("termination-log");
    let here = place.path().display().to_string();
    // As the kubelet does it: everything is read-only, but the file of the message is mounted over it.
    let script = format!(
        "mount --bind {log} {log} && mount -o remount,bind,ro {here} || mount --bind {here} {here} && mount -o remount,bind,ro {here} && \
         mount --bind {log} {log} && mount -o remount,bind,rw {log} && cd {here} && \
         exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps=-all \"$@\""
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", &script, "sh", &copy])
        .args(place.words(
            &[],
            &[
                "sh",
                "-c",
                "id -u; touch x 2>/dev/null || echo read-only; kill -SEGV $$",
            ],
        ))
        .current_dir(place.path());
    let ended = place.start(unshare).end();
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (139, "65534\nread-only\n"),
        "{ended:?}"
    );
    assert_eq!(ended.message()["reason"], "KilledBySignal");
}

#[test]
fn the_static_program_runs_where_there_is_nothing_else() {
    let program = static_program();
    skip_unless!(program.is_some(), NO_STATIC);
    skip_unless!(is_root(), "changing the root needs root");
    let place = Place::new();
    let root = place.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::copy(program.unwrap(), root.join("daskjob")).unwrap();
    std::fs::write(root.join("log"), "").unwrap();
    let within = |words: &[&str]| {
        let mut chroot = Command::new("chroot");
        chroot.arg(&root).arg("/daskjob").args(words);
        place.start(chroot).end()
    };
    let log = ["launch", "--termination-log", "/log"];
    // Its own version is the only program there is.
    let ended = within(&[&log[..], &["--", "/daskjob", "--version"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.starts_with("daskjob "), "{ended:?}");
    let ended = within(&[&log[..], &["--", "python"]].concat());
    assert_eq!(ended.code, 127, "{ended:?}");
    assert!(
        std::fs::read_to_string(root.join("log"))
            .unwrap()
            .contains("python was not found on PATH")
    );
    // No /etc, no name server: a literal address is asked all the same.
    let flags = [
        "--scheduler",
        "tcp://127.0.0.1:1",
        "--scheduler-timeout",
        "1",
        "--",
        "/daskjob",
        "--version",
    ];
    assert_eq!(within(&[&log[..], &flags].concat()).code, 70);
}

#[test]
fn the_static_program_reaches_names_and_schedulers() {
    let program = static_program();
    skip_unless!(program.is_some(), NO_STATIC);
    let place = Place::new();
    let mut launcher = Command::new(program.unwrap());
    launcher.args(place.words(
        &[
            "--scheduler",
            "tcp://localhost:1",
            "--scheduler-timeout",
            "1",
        ],
        &["true"],
    ));
    let ended = place.start(launcher).end();
    assert_eq!(ended.code, 70);
    assert!(
        ended.left.to_lowercase().contains("refused"),
        "{}",
        ended.left
    );
}
