//! What is counted and measured, and how it is shown to Prometheus.
//!
//! Invariant: labels have few values; none of them is the name of an object.

use crate::queue::Queue;
use crate::store::Store;
use contract::status::{JobStatus, Phase, Timeline};
use contract::timestamp::Timestamp;
use http::StatusCode;
use plan::life::Time;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

const LATENCIES: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
const PHASES: [f64; 10] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 1800.0];

/// All words for where a job is, so that one without jobs shows as 0.
const ALL_PHASES: [Phase; 6] = [
    Phase::Suspended,
    Phase::Pending,
    Phase::Starting,
    Phase::Running,
    Phase::Complete,
    Phase::Failed,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCall {
    verb: &'static str,
    code: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerb {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStep {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: String,
}

type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

pub struct Metrics {
    registry: Registry,
    jobs: Family<OfPhase, Gauge>,
    pods: Gauge,
    queued: Gauge,
    leaked: Gauge,
    leader: Gauge,
    reconcile: Histogram,
    reconcile_failures: Counter,
    calls: Family<OfCall, Counter>,
    call_latency: Histograms<OfVerb>,
    startup: Histograms<OfStep>,
    failures: Family<OfClass, Counter>,
    undecodable: Counter,
    events_dropped: Counter,
    asks: Family<OfCall, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("daskjob_operator"),
            jobs: Family::default(),
            pods: Gauge::default(),
            queued: Gauge::default(),
            leaked: Gauge::default(),
            leader: Gauge::default(),
            reconcile: latencies(),
            reconcile_failures: Counter::default(),
            calls: Family::default(),
            call_latency: Family::new_with_constructor(latencies as fn() -> Histogram),
            startup: Family::new_with_constructor(phases as fn() -> Histogram),
            failures: Family::default(),
            undecodable: Counter::default(),
            events_dropped: Counter::default(),
            asks: Family::default(),
        };
        metrics.register();
        metrics
    }
}

fn latencies() -> Histogram {
    Histogram::new(LATENCIES)
}

fn phases() -> Histogram {
    Histogram::new(PHASES)
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("jobs", "Jobs by where they are", self.jobs.clone());
        registry.register("pods", "Pods of all jobs", self.pods.clone());
        registry.register(
            "queue_depth",
            "Jobs waiting to be looked at",
            self.queued.clone(),
        );
        registry.register(
            "leaked_objects",
            "Objects of jobs that ended more than a minute ago",
            self.leaked.clone(),
        );
        registry.register("leader", "1 on the replica that acts", self.leader.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "How long one look at one job takes",
            Unit::Seconds,
            self.reconcile.clone(),
        );
        registry.register(
            "reconcile_failures",
            "Looks at a job that are tried again",
            self.reconcile_failures.clone(),
        );
        registry.register(
            "api_calls",
            "Calls to the API server by verb and answer",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "api_call_duration",
            "How long the API server takes",
            Unit::Seconds,
            self.call_latency.clone(),
        );
        registry.register_with_unit(
            "startup",
            "From the beginning of an attempt to each of its steps",
            Unit::Seconds,
            self.startup.clone(),
        );
        registry.register(
            "failures",
            "Attempts that failed, by class",
            self.failures.clone(),
        );
        registry.register(
            "undecodable_objects",
            "Jobs that were met and could not be read",
            self.undecodable.clone(),
        );
        registry.register(
            "events_dropped",
            "Events that were not published because too many waited",
            self.events_dropped.clone(),
        );
        registry.register(
            "scheduler_requests",
            "Questions to schedulers of jobs, by outcome",
            self.asks.clone(),
        );
    }

    /// A call to the API server ended; without a code it had no answer.
    pub fn called(&self, verb: &'static str, code: Option<StatusCode>, took: Duration) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.as_u16().to_string());
        self.calls.get_or_create(&OfCall { verb, code }).inc();
        self.call_latency
            .get_or_create(&OfVerb { verb })
            .observe(took.as_secs_f64());
    }

    /// A scheduler was asked.
    pub fn asked(&self, verb: &'static str, answered: bool) {
        let code = if answered { "answered" } else { "failed" }.to_owned();
        self.asks.get_or_create(&OfCall { verb, code }).inc();
    }

    /// A job was looked at.
    pub fn reconciled(&self, took: Duration, failed: bool) {
        self.reconcile.observe(took.as_secs_f64());
        if failed {
            self.reconcile_failures.inc();
        }
    }

    /// A status took the place of another.
    pub fn status_stored(&self, before: &JobStatus, after: &JobStatus) {
        if let Some(failure) = &after.failure
            && before.failure.as_ref() != Some(failure)
        {
            let class = format!("{:?}", failure.class);
            self.failures.get_or_create(&OfClass { class }).inc();
        }
        let Some(created) = seconds(after.timeline.created.as_ref()) else {
            return;
        };
        let is_same_attempt = before.timeline.created == after.timeline.created;
        for (step, of) in STEPS {
            let was_known = is_same_attempt && of(&before.timeline).is_some();
            if let (false, Some(at)) = (was_known, seconds(of(&after.timeline))) {
                let took = at.saturating_sub(created);
                let took = Duration::from_secs(took).as_secs_f64();
                self.startup.get_or_create(&OfStep { step }).observe(took);
            }
        }
    }

    pub fn undecodable(&self) {
        self.undecodable.inc();
    }

    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All of it as text, with what is counted only when somebody asks.
    pub fn text(&self, store: &Store, queue: &Queue, now: Time) -> String {
        let phases = store.phases();
        for phase in ALL_PHASES {
            let jobs = phases.get(&phase).copied().unwrap_or_default();
            let phase = format!("{phase:?}");
            self.jobs.get_or_create(&OfPhase { phase }).set(count(jobs));
        }
        self.pods.set(count(store.pods()));
        self.queued.set(count(queue.depth()));
        self.leaked.set(count(store.leaked(now)));
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("text can be written to a string");
        text
    }
}

type Step = fn(&Timeline) -> Option<&Timestamp>;

/// The steps of a start, from its beginning.
const STEPS: [(&str, Step); 4] = [
    ("scheduler_ready", |timeline| {
        timeline.scheduler_ready.as_ref()
    }),
    ("first_worker", |timeline| timeline.first_worker.as_ref()),
    ("all_workers", |timeline| timeline.all_workers.as_ref()),
    ("runner_started", |timeline| {
        timeline.runner_started.as_ref()
    }),
];

fn seconds(timestamp: Option<&Timestamp>) -> Option<u64> {
    timestamp?.unix_seconds()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_a_start_is_measured_once_an_attempt() {
        let metrics = Metrics::default();
        let at = |seconds| Some(Timestamp::from_unix_seconds(seconds));
        let before = JobStatus {
            timeline: Timeline {
                created: at(10),
                ..Timeline::default()
            },
            ..JobStatus::default()
        };
        let mut after = before.clone();
        after.timeline.scheduler_ready = at(14);
        metrics.status_stored(&before, &after);
        metrics.status_stored(&after, &after);
        let text = metrics.text(&Store::default(), &Queue::default(), Time(20));
        let sum = "daskjob_operator_startup_seconds_sum{step=\"scheduler_ready\"} 4.0";
        assert!(text.contains(sum), "{text}");
        assert!(
            text.contains("daskjob_operator_jobs{phase=\"Running\"} 0"),
            "{text}"
        );
        assert!(text.contains("daskjob_operator_leaked_objects 0"), "{text}");
    }

    /// Every metric with every label, as Prometheus sees it.
    fn all() -> String {
        let metrics = Metrics::default();
        metrics.called("get", Some(StatusCode::OK), Duration::ZERO);
        metrics.asked("target", true);
        metrics.reconciled(Duration::ZERO, true);
        let failure = serde_json::json!({
            "role": "runner", "class": "Application", "reason": "r", "message": "m",
        });
        let failed = JobStatus {
            failure: Some(serde_json::from_value(failure).unwrap()),
            timeline: Timeline {
                created: Some(Timestamp::from_unix_seconds(1)),
                scheduler_ready: Some(Timestamp::from_unix_seconds(2)),
                ..Timeline::default()
            },
            ..JobStatus::default()
        };
        metrics.status_stored(&JobStatus::default(), &failed);
        metrics.text(&Store::default(), &Queue::default(), Time(20))
    }

    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .filter(|word| word.starts_with("daskjob_operator_"))
            .collect()
    }

    #[test]
    fn the_chart_s_dashboard_shows_every_metric_and_no_other() {
        let path = "../charts/daskjob-operator/files/dashboard.json";
        let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
        let dashboard = std::fs::read_to_string(path).unwrap();
        let text = all();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples: Vec<&str> = lines.collect();
        let samples = samples.join("\n");
        let (shown, known) = (names(&dashboard), names(&samples));
        for name in &shown {
            assert!(known.contains(name), "{name} is on the dashboard alone");
        }
        for name in known {
            let family = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name);
            let is_shown = shown.iter().any(|shown| shown.starts_with(family));
            assert!(is_shown, "{name} is not on the dashboard");
        }
        for label in ["phase", "class", "step", "verb", "code"] {
            assert!(dashboard.contains(&format!("{{{{{label}}}}}")), "{label}");
            assert!(text.contains(&format!("{label}=\"")), "{label}");
        }
    }
}
