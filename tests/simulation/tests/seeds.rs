//! Many seeds, on all processors. `SIMULATION_SEED=7` replays one with every message, `SIMULATION_SEEDS=100000` runs more;
//! the name of a test after `--` chooses one of the two.

use simulation::{Summary, Workers, run};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 10_000;

/// What real workers go through in so many seeds; a simulation that does not lead there proves nothing of it.
const MUST_BE_SEEN: [(&str, &str); 33] = [
    ("released", "waiting"),
    ("released", "fetch"),
    ("released", "missing"),
    ("released", "memory"),
    ("released", "error"),
    ("waiting", "ready"),
    ("waiting", "constrained"),
    ("waiting", "released"),
    ("ready", "executing"),
    ("ready", "waiting"),
    ("ready", "released"),
    ("constrained", "executing"),
    ("constrained", "released"),
    ("executing", "memory"),
    ("executing", "error"),
    ("executing", "released"),
    ("executing", "long-running"),
    ("long-running", "memory"),
    ("long-running", "released"),
    ("fetch", "flight"),
    ("fetch", "missing"),
    ("fetch", "released"),
    ("flight", "memory"),
    ("flight", "fetch"),
    ("flight", "missing"),
    ("flight", "released"),
    ("missing", "fetch"),
    ("missing", "released"),
    ("a run", "cancelled"),
    ("a run", "called back"),
    ("a peer", "busy"),
    ("a value", "on disk"),
    ("a value", "called back"),
];

#[test]
fn every_wish_is_granted_and_nothing_is_left_over_whatever_happens() {
    run_seeds(Workers::Models);
}

#[test]
fn so_it_is_with_real_workers() {
    run_seeds(Workers::Cores);
}

fn run_seeds(workers: Workers) {
    if let Some(seed) = number("SIMULATION_SEED") {
        match run(seed, workers, true) {
            Ok(summary) => println!("seed {seed}: {summary:?}"),
            Err(failure) => panic!("{}", failure.0),
        }
        return;
    }
    let seeds =
        number("SIMULATION_FROM").unwrap_or(0) + number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(number("SIMULATION_FROM").unwrap_or(0));
    let failed = Mutex::new(Vec::new());
    let total = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| work(workers, seeds, &next, &failed, &total));
        }
    });
    let failed = failed.into_inner().expect("its holders do not panic");
    for (seed, why) in failed.iter().take(12) {
        eprintln!("seed {seed} failed: {why}");
        eprintln!(
            "replay: SIMULATION_SEED={seed} cargo test --release -p simulation -- --nocapture {}",
            test_of(workers)
        );
    }
    let total = total.into_inner().expect("its holders do not panic");
    println!("{workers:?}, {seeds} seeds: {total:#?}");
    if workers == Workers::Cores && seeds == SEEDS {
        for what in MUST_BE_SEEN {
            assert!(total.seen.contains_key(&what), "{what:?} never happened");
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed",
        failed.len()
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn test_of(workers: Workers) -> &'static str {
    match workers {
        Workers::Models => "every_wish",
        Workers::Cores => "so_it_is",
    }
}

fn work(
    workers: Workers,
    seeds: u64,
    next: &AtomicU64,
    failed: &Mutex<Vec<(u64, String)>>,
    total: &Mutex<Summary>,
) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds || failed.lock().expect("its holders do not panic").len() >= 12 {
            return;
        }
        match catch_unwind(|| run(seed, workers, false)) {
            Ok(Ok(summary)) => {
                let mut total = total.lock().expect("its holders do not panic");
                total.add(&summary);
            }
            Ok(Err(failure)) => failed
                .lock()
                .expect("its holders do not panic")
                .push((seed, failure.0)),
            Err(_) => failed
                .lock()
                .expect("its holders do not panic")
                .push((seed, "an invariant is broken (see above)".to_owned())),
        }
    }
}
