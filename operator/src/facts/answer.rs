//! What a scheduler's answers say, native or stock. Pure.

use contract::http::SchedulerStatus;
use plan::life::{Facts, Time, WorkerFact};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Which of the two sets of routes a scheduler has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Native,
    Stock,
}

impl From<crd::Engine> for Engine {
    fn from(engine: crd::Engine) -> Self {
        match engine {
            crd::Engine::Native => Engine::Native,
            crd::Engine::Dask => Engine::Stock,
        }
    }
}

/// An answer, whichever scheduler gave it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    pub workers: BTreeMap<String, WorkerFact>,
    pub desired_workers: Option<u32>,
    /// Seconds since the Unix epoch.
    pub idle_since: Option<f64>,
}

impl Said {
    pub fn into_facts(self, attempt: u32, at: Time) -> Facts {
        Facts {
            attempt,
            at,
            workers: self.workers,
            desired_workers: self.desired_workers,
            idle_since: self
                .idle_since
                .filter(|since| since.is_finite() && *since >= 0.0)
                // What is beyond the present is a clock that goes wrong; a float cast to an integer saturates.
                .map(|since| Time(since as u64).min(at)),
        }
    }
}

/// From `/api/v1/status` of the native scheduler.
pub fn of_native(body: &[u8]) -> Result<Said, serde_json::Error> {
    let status: SchedulerStatus = serde_json::from_slice(body)?;
    let workers = status.workers.into_iter().map(|worker| {
        let fact = WorkerFact {
            address: worker.address,
            processing: worker.processing,
            result_bytes: worker.result_bytes,
        };
        (worker.name, fact)
    });
    Ok(Said {
        workers: workers.collect(),
        desired_workers: Some(clamped(status.desired_workers)),
        idle_since: status.idle_since,
    })
}

#[derive(Deserialize)]
struct StockWorkers {
    workers: Vec<StockWorker>,
}

#[derive(Deserialize)]
struct StockWorker {
    /// A number where nobody chose a name.
    name: serde_json::Value,
    address: String,
}

/// From `get_workers` of a stock scheduler: it does not say what they are doing.
pub fn of_stock_workers(body: &[u8]) -> Result<BTreeMap<String, WorkerFact>, serde_json::Error> {
    let answer: StockWorkers = serde_json::from_slice(body)?;
    let workers = answer.workers.into_iter().map(|worker| {
        let name = match worker.name {
            serde_json::Value::String(name) => name,
            other => other.to_string(),
        };
        let fact = WorkerFact {
            address: worker.address,
            processing: 0,
            result_bytes: 0,
        };
        (name, fact)
    });
    Ok(workers.collect())
}

#[derive(Deserialize)]
struct StockTarget {
    workers: u64,
}

pub fn of_stock_target(body: &[u8]) -> Result<u32, serde_json::Error> {
    let answer: StockTarget = serde_json::from_slice(body)?;
    Ok(clamped(answer.workers))
}

#[derive(Deserialize)]
struct StockIdleness {
    idle_since: Option<f64>,
}

pub fn of_stock_idleness(body: &[u8]) -> Result<Option<f64>, serde_json::Error> {
    let answer: StockIdleness = serde_json::from_slice(body)?;
    Ok(answer.idle_since)
}

fn clamped(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_schedulers_name_their_workers() {
        let native = br#"{"workers": [{"name": "w-0", "address": "tcp://1", "processing": 3, "result_bytes": 9}],
                          "desired_workers": 7, "idle_since": 12.9}"#;
        let said = of_native(native).unwrap();
        assert_eq!(said.workers["w-0"].processing, 3);
        let facts = said.into_facts(2, Time(100));
        assert_eq!(
            (facts.desired_workers, facts.idle_since),
            (Some(7), Some(Time(12)))
        );
        let stock = br#"{"num_workers": 2, "workers": [{"name": "w-0", "address": "tcp://1"},
                         {"name": 4, "address": "tcp://2"}]}"#;
        let workers = of_stock_workers(stock).unwrap();
        assert_eq!(workers.keys().collect::<Vec<_>>(), ["4", "w-0"]);
        assert_eq!(of_stock_target(br#"{"workers": 5}"#).unwrap(), 5);
        assert_eq!(of_stock_idleness(br#"{"idle_since": null}"#).unwrap(), None);
    }

    #[test]
    fn an_answer_of_nonsense_is_an_error_or_harmless() {
        assert!(of_native(b"<html>").is_err());
        assert!(of_stock_workers(br#"{"workers": 3}"#).is_err());
        for idle_since in [f64::NAN, f64::INFINITY, -1.0] {
            let said = Said {
                idle_since: Some(idle_since),
                ..Said::default()
            };
            assert_eq!(said.into_facts(1, Time(5)).idle_since, None);
        }
        let far = Said {
            idle_since: Some(1e300),
            ..Said::default()
        };
        assert_eq!(far.into_facts(1, Time(5)).idle_since, Some(Time(5)));
    }
}
