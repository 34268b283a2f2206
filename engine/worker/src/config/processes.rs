//! How many workers of how many threads, and what memory each may take.

use super::{ConfigError, wrong};
use crate::args::WorkerArgs;
use configuration::units;

pub struct Processes {
    pub workers: usize,
    pub nthreads: usize,
}

impl Processes {
    /// `--nworkers auto` decides about threads too, a negative number counts from the cores down.
    pub fn of(args: &WorkerArgs, cores: usize) -> Result<Self, ConfigError> {
        let text = args.nworkers.as_str();
        let own = match text {
            "auto" => return Ok(Self::auto(cores)),
            "" => 1,
            number => {
                let reason = "it must be a number or auto";
                number
                    .parse::<i64>()
                    .map_err(|_| wrong("--nworkers", text, reason))?
            }
        };
        let workers = match own {
            1.. => own,
            _ => own + cores as i64 + 1,
        };
        let workers = usize::try_from(workers)
            .ok()
            .filter(|count| own != 0 && *count > 0);
        let workers = workers
            .ok_or_else(|| wrong("--nworkers", text, "there must be at least one worker"))?;
        if workers > 1 && args.no_nanny {
            return Err(ConfigError::Together {
                one: "--no-nanny",
                other: "--nworkers",
                reason: "several workers need their nannies",
            });
        }
        let nthreads = match args.nthreads {
            0 => (cores / workers).max(1),
            given => given,
        };
        Ok(Self { workers, nthreads })
    }

    /// As stock has it: one thread each where there are few cores, else about as many workers as threads of each.
    fn auto(cores: usize) -> Self {
        let root = |count: &usize| count * count >= cores;
        let divides = |count: &usize| cores.is_multiple_of(*count);
        let workers = match cores {
            0..=4 => cores.max(1),
            _ => (1..=cores)
                .find(|own| divides(own) && root(own))
                .unwrap_or(cores),
        };
        Self {
            workers,
            nthreads: (cores / workers).max(1),
        }
    }
}

/// As `distributed` understands it.
pub fn memory_limit(text: &str, nthreads: usize, cores: usize) -> Result<Option<u64>, ConfigError> {
    let machine = crate::measure::memory_of_machine();
    let share = |fraction: f64| machine.map(|bytes| (bytes as f64 * fraction) as u64);
    let limit = match text {
        "" | "0" | "none" | "None" => return Ok(None),
        "auto" => return Ok(share((nthreads as f64 / cores as f64).min(1.0))),
        number => match number.parse::<f64>() {
            Ok(fraction) if fraction <= 1.0 => {
                return Ok(share(fraction).filter(|limit| *limit > 0));
            }
            Ok(bytes) => bytes as u64,
            Err(_) => {
                let bytes = units::parse_bytes(number);
                let bytes = bytes.map_err(|error| wrong("--memory-limit", text, error))?;
                u64::try_from(bytes).map_err(|error| wrong("--memory-limit", text, error))?
            }
        },
    };
    Ok(Some(machine.map_or(limit, |most| limit.min(most))).filter(|limit| *limit > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(nworkers: &str, nthreads: usize, cores: usize) -> (usize, usize) {
        let args = WorkerArgs {
            nworkers: nworkers.to_owned(),
            nthreads,
            ..WorkerArgs::default()
        };
        let processes = Processes::of(&args, cores).ok();
        processes.map_or((0, 0), |it| (it.workers, it.nthreads))
    }

    #[test]
    fn workers_and_threads_are_those_of_stock() {
        for (nworkers, nthreads, cores, expected) in [
            ("1", 0, 8, (1, 8)),
            ("3", 0, 8, (3, 2)),
            ("16", 0, 8, (16, 1)),
            ("2", 5, 8, (2, 5)),
            ("-1", 0, 8, (8, 1)),
            ("-5", 0, 8, (4, 2)),
            ("auto", 7, 1, (1, 1)),
            ("auto", 7, 4, (4, 1)),
            ("auto", 7, 8, (4, 2)),
            ("auto", 7, 32, (8, 4)),
            ("auto", 0, 7, (7, 1)),
            ("0", 0, 8, (0, 0)),
            ("-9", 0, 8, (0, 0)),
            ("many", 0, 8, (0, 0)),
        ] {
            let found = counts(nworkers, nthreads, cores);
            assert_eq!(found, expected, "{nworkers} of {cores} cores");
        }
    }
}
