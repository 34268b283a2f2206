//! The launcher that becomes our worker, and what that does as the first process of a container.

use crate::harness::{NO_PYTHON, Place, free_port, is_root, program, python, skip_unless, until};
use crate::schedulers::scheduler;
use std::process::Command;

/// The words of a worker of the scheduler at this port.
fn words<'a>(python: &'a str, address: &'a str, scratch: &'a str) -> Vec<&'a str> {
    let place = ["--host", "127.0.0.1", "--local-directory", scratch];
    let mut words = vec![program(), "worker", address, "--python", python];
    words.extend(place);
    words
}

#[test]
fn the_launcher_becomes_its_command() {
    let place = Place::new();
    let flags = ["--exec", "--default-env", "A=1", "--files", "/f"];
    let script = "echo $$ $A $PYTHONPATH; exit 3";
    let mut launcher = place.launcher(&flags, &["sh", "-c", script]);
    launcher.env_remove("PYTHONPATH");
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo $$; exec \"$0\" \"$@\""]);
    shell.arg(launcher.get_program()).args(launcher.get_args());
    shell.env_remove("PYTHONPATH").current_dir(place.path());
    let ended = place.start(shell).end();
    let mut lines = ended.stdout.lines();
    let before = lines.next().unwrap();
    assert_eq!(lines.next(), Some(format!("{before} 1 /f").as_str()));
    assert_eq!((ended.code, ended.left.as_str()), (3, ""));
}

#[test]
fn what_it_cannot_become_is_in_its_message() {
    let ended = Place::new().run(&["--exec"], &["pyhton"]);
    assert_eq!(ended.code, 127);
    assert_eq!(ended.message()["reason"], "StartFailed");
    for watched in ["--end-when-out-of-memory", "--start-beside"] {
        let flags = ["--scheduler", "tcp://127.0.0.1:1", "--exec", watched];
        assert_eq!(Place::new().run(&flags, &["true"]).code, 2, "{watched}");
    }
}

#[test]
fn a_worker_that_waits_for_its_scheduler_gives_up_with_a_message() {
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let (python, place) = (python.unwrap(), Place::new());
    let address = format!("tcp://127.0.0.1:{}", free_port());
    let (scratch, log) = (place.file("scratch"), place.file("termination-log"));
    let mut words = words(&python, &address, &scratch);
    words.extend(["--termination-log", &log, "--death-timeout", "1"]);
    let ended = place.run(&["--exec"], &words);
    assert_eq!(ended.code, 70, "{}", ended.stderr);
    let message = ended.message();
    assert_eq!(message["class"], "SchedulerLost");
    let text = message["message"].as_str().unwrap();
    assert!(text.contains(&address), "{text}");
}

#[test]
fn a_worker_without_distributed_says_so_in_its_message() {
    let place = Place::new();
    let python = place.script("python", "#!/bin/sh\nexit 5\n");
    let (scratch, log) = (place.file("scratch"), place.file("termination-log"));
    let mut words = words(&python, "tcp://127.0.0.1:1", &scratch);
    words.extend(["--termination-log", &log]);
    let ended = place.run(&["--exec"], &words);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let message = ended.message();
    assert_eq!(message["class"], "Image");
    let text = message["message"].as_str().unwrap();
    assert!(text.contains("ended with exit code 5"), "{text}");
}

#[test]
fn a_worker_as_process_one_waits_registers_buries_orphans_and_ends_when_told() {
    skip_unless!(is_root(), "making a process namespace needs root");
    let python = python();
    skip_unless!(python.is_some(), NO_PYTHON);
    let (python, place, port) = (python.unwrap(), Place::new(), free_port());
    let address = format!("tcp://127.0.0.1:{port}");
    let scratch = place.file("scratch");
    let words = words(&python, &address, &scratch);
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--pid", "--fork", "--mount-proc", program()])
        .args(place.words(&["--exec"], &words))
        .current_dir(place.path());
    let worker = place.start(unshare);
    let _scheduler = scheduler(&place, port);
    until("it has registered", || {
        worker.stdout().contains("worker registered")
            || worker.stderr().contains("worker registered")
    });
    // Two orphans of a task; and the count of those that nobody has buried, seen from inside.
    let script = format!(
        "import subprocess, time
from distributed import Client
def leaves_orphans():
    subprocess.run(['sh', '-c', '(sleep 0.1 &) ; (sleep 0.1 &)'])
    deadline = time.time() + 60
    zombies = 1
    time.sleep(0.5)
    while zombies and time.time() < deadline:
        time.sleep(0.5)
        states = subprocess.run('grep -h ^State /proc/[0-9]*/status', shell=True, capture_output=True).stdout
        zombies = states.count(b'zombie')
    return zombies
with Client('{address}') as client:
    print(client.submit(leaves_orphans).result())"
    );
    let client = Command::new(&python)
        .args(["-c", &script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    assert_eq!(said.trim(), "0", "{client:?}");
    // From inside: the first process of a namespace gets no signal from there that it does not take.
    let stop = "from distributed import Client
import os, signal
client = Client(ADDRESS)
future = client.submit(os.kill, 1, signal.SIGTERM, pure=False)
import time; time.sleep(1)"
        .replace("ADDRESS", &format!("'{address}'"));
    Command::new(&python).args(["-c", &stop]).output().unwrap();
    let ended = worker.end();
    assert_eq!((ended.code, ended.left.as_str()), (0, ""), "{ended:?}");
}
