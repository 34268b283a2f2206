//! Many seeds, on all processors. `SIMULATION_SEED=7` replays one with every message, `SIMULATION_SEEDS=100000` runs more.

use simulation::{Summary, run};
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 10_000;

#[test]
fn every_wish_is_granted_and_nothing_is_left_over_whatever_happens() {
    if let Some(seed) = number("SIMULATION_SEED") {
        match run(seed, true) {
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
            scope.spawn(|| work(seeds, &next, &failed, &total));
        }
    });
    let failed = failed.into_inner().unwrap();
    for (seed, why) in failed.iter().take(12) {
        eprintln!("seed {seed} failed: {why}");
        eprintln!(
            "replay: SIMULATION_SEED={seed} cargo test --release -p simulation -- --nocapture"
        );
    }
    println!("{seeds} seeds: {:?}", total.into_inner().unwrap());
    assert!(
        failed.is_empty(),
        "{} of {seeds} seeds failed",
        failed.len()
    );
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn work(seeds: u64, next: &AtomicU64, failed: &Mutex<Vec<(u64, String)>>, total: &Mutex<Summary>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds || failed.lock().expect("its holders do not panic").len() >= 12 {
            return;
        }
        match catch_unwind(|| run(seed, false)) {
            Ok(Ok(summary)) => {
                let mut total = total.lock().expect("its holders do not panic");
                total.events += summary.events;
                total.tasks_run += summary.tasks_run;
                total.deaths += summary.deaths;
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
