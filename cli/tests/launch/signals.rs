//! Signals and children: the launcher as the first process.

use crate::harness::{Place, Running, is_root, program, skip_unless, until};
use rustix::process::Signal;
use std::process::Command;
use std::time::Duration;

/// A shell that says which signals it gets, and ends with 7 on the last.
const TELLS: &str = "\
for signal in HUP INT QUIT USR1 USR2 WINCH CONT; do trap \"echo $signal\" $signal; done
trap 'echo TERM; exit 7' TERM
: > ready
while :; do sleep 0.02; done";

fn telling(place: &Place) -> Running<'_> {
    let running = place.start(place.launcher(&[], &["sh", "-c", TELLS]));
    place.wait_for("ready");
    running
}

#[test]
fn signals_are_passed_on() {
    let place = Place::new();
    let running = telling(&place);
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::WINCH, "WINCH"),
        (Signal::CONT, "CONT"),
    ] {
        running.signal(signal);
        until(name, || running.stdout().lines().any(|line| line == name));
    }
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!((ended.code, ended.left.as_str()), (7, ""));
    assert_eq!(
        ended.stdout.lines().count(),
        8,
        "each came once: {}",
        ended.stdout
    );
}

#[test]
fn a_command_that_ends_by_a_signal_it_was_sent_leaves_no_message() {
    let place = Place::new();
    let running = place.start(place.launcher(&[], &["sh", "-c", ": > ready; exec sleep 60"]));
    place.wait_for("ready");
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!((ended.code, ended.left.as_str()), (143, ""));
}

/// The kubelet has its own patience, and kills both then.
#[test]
fn a_command_that_does_not_care_is_left_alone() {
    let place = Place::new();
    let script = "trap '' TERM; : > ready; while [ ! -e done ]; do sleep 0.02; done; exit 5";
    let mut running = place.start(place.launcher(&[], &["sh", "-c", script]));
    place.wait_for("ready");
    running.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(300));
    assert!(running.runs());
    std::fs::write(place.path().join("done"), "").unwrap();
    assert_eq!(running.end().code, 5);
}

#[test]
fn a_command_does_not_inherit_what_the_launcher_does_with_signals() {
    let ended = Place::new().run_script(&[], "grep -E '^Sig(Ign|Blk)' /proc/self/status");
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    // What this test was started with, without what the language adds, without what the launcher takes and passes on
    // (`nohup` and a shell's background have some of it ignored), and without the C library's own signals.
    let taken = [
        Signal::PIPE,
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::TERM,
    ];
    let taken = taken
        .iter()
        .fold(0, |mask, signal| mask | 1 << (signal.as_raw() - 1));
    let named = (1 << 31) - 1;
    let expected = mask(&own, "SigIgn:") & !taken & named;
    assert_eq!(mask(&ended.stdout, "SigIgn:") & named, expected);
    assert_eq!(mask(&ended.stdout, "SigBlk:"), mask(&own, "SigBlk:"));
}

fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
fn as_process_one_it_buries_orphans() {
    skip_unless!(is_root(), "making a process namespace needs root");
    let place = Place::new();
    // Two orphans that end while the command runs, and one that outlives it.
    let script = "\
[ \"$(cut -d ' ' -f 4 /proc/$$/stat)\" = 1 ] || exit 9
(sleep 0.1 &)
(sleep 0.1 &)
(sleep 60 &)
sleep 0.5
grep -h '^State' /proc/[0-9]*/status | grep -c Z
exit 4";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--pid", "--fork", "--mount-proc", program()])
        .args(place.words(&[], &["sh", "-c", script]))
        .current_dir(place.path());
    let ended = place.start(unshare).end();
    assert_eq!((ended.code, ended.stdout.trim()), (4, "0"), "{ended:?}");
}

#[test]
fn as_process_one_it_passes_signals_on() {
    skip_unless!(is_root(), "making a process namespace needs root");
    let place = Place::new();
    let script = "trap 'exit 6' TERM; kill -TERM 1; sleep 10 & wait";
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--pid", "--fork", "--mount-proc", program()])
        .args(place.words(&[], &["sh", "-c", script]))
        .current_dir(place.path());
    assert_eq!(place.start(unshare).end().code, 6);
}
