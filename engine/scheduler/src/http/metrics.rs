//! `/metrics`: the scheduler's numbers in Prometheus' text format, under the names of stock Dask.
//!
//! Left out because nothing here has them: Python's garbage collector and lock (the collector's time is always zero),
//! semaphores and work stealing. Invariant: one family's samples stand together under one head.

use super::json::Failure;
use super::{Shown, metrics_of_process};
use crate::clock;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use scheduler_core::{Counters, PrefixTotals, Scheduler, WorkerCounts};
use std::fmt::Write as _;

/// What the core has to say.
struct Figures {
    clients: usize,
    desired_workers: u64,
    workers: WorkerCounts,
    tasks: Vec<(&'static str, u64)>,
    task_groups: usize,
    prefixes: Vec<PrefixTotals>,
    counters: Counters,
}

impl Figures {
    fn of(core: &Scheduler) -> Self {
        Self {
            clients: core.client_count(),
            desired_workers: core.adaptive_target(None),
            workers: core.worker_counts(),
            tasks: core.task_counts(),
            task_groups: core.group_count(),
            prefixes: core.prefix_totals(),
            counters: core.counters().clone(),
        }
    }
}

pub async fn metrics(State(shown): State<Shown>) -> Result<impl IntoResponse, Failure> {
    let figures = shown.ctx.core.call(|core, _, _| Figures::of(core)).await?;
    let mut text = Text::new(&shown.ctx.config.dask.prometheus_namespace);
    clients_and_workers(&mut text, &figures);
    tasks(&mut text, &figures);
    prefixes(&mut text, &figures.prefixes);
    event_loop(
        &mut text,
        shown.ticks.take_longest_seconds(),
        shown.ticks.count(),
    );
    metrics_of_process::write(&mut text, shown.ctx.identity.started.seconds());
    Ok((
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text.finish(),
    ))
}

fn clients_and_workers(text: &mut Text, figures: &Figures) {
    let counters = &figures.counters;
    text.gauge("clients", "Clients connected", figures.clients as f64);
    text.counter(
        "client_connections_added",
        "Clients that ever connected",
        counters.client_connections_added as f64,
    );
    text.counter(
        "client_connections_removed",
        "Clients that ever left",
        counters.client_connections_removed as f64,
    );
    text.gauge(
        "desired_workers",
        "Workers the present work could use",
        figures.desired_workers as f64,
    );
    let workers = &figures.workers;
    text.family("workers", "gauge", "Workers by what they do");
    for (state, count) in [
        ("idle", workers.idle),
        ("partially_saturated", workers.partially_saturated),
        ("saturated", workers.saturated),
        ("paused", workers.paused),
        ("retiring", workers.retiring),
    ] {
        text.sample("workers", &[("state", state)], count as f64);
    }
    text.counter(
        "workers_added",
        "Workers that ever registered",
        counters.workers_added as f64,
    );
    text.counter(
        "workers_removed",
        "Workers that ever left",
        counters.workers_removed as f64,
    );
}

fn tasks(text: &mut Text, figures: &Figures) {
    text.family("tasks", "gauge", "Tasks by state");
    for (state, count) in &figures.tasks {
        text.sample("tasks", &[("state", state)], *count as f64);
    }
    text.counter(
        "tasks_forgotten",
        "Tasks forgotten since the start",
        figures.counters.tasks_forgotten as f64,
    );
    text.gauge("task_groups", "Groups of tasks", figures.task_groups as f64);
}

fn prefixes(text: &mut Text, prefixes: &[PrefixTotals]) {
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&PrefixTotals) -> f64| {
        text.family(name, kind, help);
        for prefix in prefixes {
            text.sample(name, &[("task_prefix_name", &prefix.name)], value(prefix));
        }
    };
    family(
        "tasks_suspicious_total",
        "counter",
        "How often tasks were on a worker that was lost",
        |prefix| prefix.suspicious as f64,
    );
    family(
        "tasks_compute_seconds_total",
        "counter",
        "Time spent computing",
        |prefix| prefix.compute_seconds,
    );
    family(
        "tasks_transfer_seconds_total",
        "counter",
        "Time spent fetching inputs",
        |prefix| prefix.transfer_seconds,
    );
    family(
        "tasks_output_bytes",
        "gauge",
        "Bytes of results in memory, without duplicates",
        |prefix| prefix.output_bytes as f64,
    );
    let name = "prefix_state_totals_total";
    text.family(name, "counter", "How often tasks entered a state");
    for prefix in prefixes {
        for (state, count) in &prefix.state_totals {
            text.sample(
                name,
                &[("task_prefix_name", &prefix.name), ("state", state)],
                *count as f64,
            );
        }
    }
}

fn event_loop(text: &mut Text, longest_seconds: f64, ticks: u64) {
    text.gauge(
        "tick_duration_maximum_seconds",
        "Longest time the scheduler took to answer since the last scrape",
        longest_seconds,
    );
    text.counter("tick_count", "How often that was measured", ticks as f64);
    text.counter(
        "gc_collection_seconds",
        "Time spent collecting garbage; this scheduler has none",
        0.0,
    );
    text.counter(
        "last_time",
        "When these numbers were taken",
        clock::now().seconds(),
    );
}

/// Text under construction.
pub struct Text {
    /// `dask_scheduler_`
    prefix: String,
    text: String,
}

impl Text {
    fn new(namespace: &str) -> Self {
        let separator = if namespace.is_empty() { "" } else { "_" };
        Self {
            prefix: format!("{namespace}{separator}scheduler_"),
            text: String::new(),
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A counter's name ends with `_total`.
    fn counter(&mut self, name: &str, help: &str, value: f64) {
        let name = format!("{name}_total");
        self.family(&name, "counter", help);
        self.sample(&name, &[], value);
    }

    /// A number of the process, under the name every program has for it.
    pub fn of_process(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        let prefix = std::mem::replace(&mut self.prefix, "process_".to_owned());
        self.family(name, kind, help);
        self.sample(name, &[], value);
        self.prefix = prefix;
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = &self.prefix;
        // Writing to a String cannot fail.
        let _infallible = write!(
            self.text,
            "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(&self.prefix);
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let (open, value) = (if at == 0 { '{' } else { ',' }, escaped(value));
            let _infallible = write!(self.text, "{open}{label}=\"{value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _infallible = writeln!(self.text, "{close} {value:?}");
    }

    fn finish(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_namespace() {
        for (namespace, line) in [
            ("dask", "dask_scheduler_clients 1.0"),
            ("", "scheduler_clients 1.0"),
        ] {
            let mut text = Text::new(namespace);
            text.gauge("clients", "h", 1.0);
            assert_eq!(text.finish().lines().last(), Some(line));
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::new("dask");
        text.sample("x", &[("a", "1"), ("b", "q\"\\\n")], 2.5);
        assert_eq!(
            text.finish(),
            "dask_scheduler_x{a=\"1\",b=\"q\\\"\\\\\\n\"} 2.5\n"
        );
    }

    #[test]
    fn a_counter_ends_with_total_in_head_and_sample() {
        let mut text = Text::new("dask");
        text.counter("workers_added", "Workers", 3.0);
        assert_eq!(
            text.finish(),
            "# HELP dask_scheduler_workers_added_total Workers\n\
             # TYPE dask_scheduler_workers_added_total counter\n\
             dask_scheduler_workers_added_total 3.0\n"
        );
    }
}
