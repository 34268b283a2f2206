//! What clients submit, and how tasks behave when they run.

use crate::chance::Chance;
use crate::settings::Settings;
use protocol::{Key, Text, Value};
use scheduler_core::{Actors, Annotations, Dep, Graph, GraphTask, RunSpec, SpecSlab};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What running a task is like.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub duration_ms: u64,
    pub nbytes: u64,
    /// So many runs fail before one succeeds.
    pub failures: u32,
    pub reschedules: u32,
    pub secedes: bool,
    pub kills: bool,
}

#[derive(Default)]
pub struct Workload {
    pub behaviours: BTreeMap<Key, Behaviour>,
    made: usize,
}

const PREFIXES: [&str; 4] = ["load", "inc", "sum", "join"];

impl Workload {
    /// A random graph; some of it may build on `known` keys. The sinks and some others are wanted.
    pub fn graph(
        &mut self,
        chance: &mut Chance,
        settings: &Settings,
        known: &[Key],
        workers: &[Arc<str>],
    ) -> Graph {
        let count = 1 + chance.below(settings.tasks_a_graph);
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(self.key(chance, known));
        }
        keys.sort();
        keys.dedup();
        let mut graph = Graph {
            fifo_timeout_ns: 100_000_000,
            stimulus_id: Text::from_static("update-graph-simulated"),
            ..Graph::default()
        };
        let mut depended = vec![false; keys.len()];
        for (at, key) in keys.iter().enumerate() {
            let start = graph.dependencies.len() as u32;
            self.draw_dependencies(
                chance,
                at,
                &keys,
                known,
                &mut depended,
                &mut graph.dependencies,
            );
            let end = graph.dependencies.len() as u32;
            self.behaviours
                .entry(key.clone())
                .or_insert_with(|| behaviour(chance, settings));
            graph.tasks.push(GraphTask {
                key: key.clone(),
                dependencies: start..end,
                run_spec: Some(spec()),
                data_producer: chance.percent(5),
                is_barrier: false,
                annotations: annotations(chance, settings, workers),
            });
            graph.internal_priority.push(at as i32);
        }
        graph.keys = keys
            .iter()
            .enumerate()
            .filter(|(at, _)| !depended[*at] || chance.percent(20))
            .map(|(_, key)| key.clone())
            .collect();
        if chance.percent(4) {
            graph.actors = Actors::These(graph.keys.iter().take(1).cloned().collect());
        }
        graph
    }

    /// Mostly new; sometimes one that was there before, so that graphs overlap and collide.
    fn key(&mut self, chance: &mut Chance, known: &[Key]) -> Key {
        if chance.percent(15)
            && let Some(key) = chance.pick(known)
        {
            return key.clone();
        }
        self.made += 1;
        let prefix = chance.pick(&PREFIXES).copied().unwrap_or("load");
        Key::str(&format!("{prefix}-{}", self.made))
    }

    fn draw_dependencies(
        &mut self,
        chance: &mut Chance,
        at: usize,
        keys: &[Key],
        known: &[Key],
        depended: &mut [bool],
        into: &mut Vec<Dep>,
    ) {
        if at > 0 && chance.percent(60) {
            let mut chosen: Vec<usize> =
                (0..1 + chance.below(4)).map(|_| chance.below(at)).collect();
            chosen.sort_unstable();
            chosen.dedup();
            for on in chosen {
                // A known key might reach this one already; only new ones are sure to make no circle.
                if !known.contains(&keys[on]) && !known.contains(&keys[at]) {
                    depended[on] = true;
                    into.push(Dep::Task(on as u32));
                }
            }
        }
        if chance.percent(20)
            && let Some(key) = chance.pick(known)
            && !keys.contains(key)
            && !known.contains(&keys[at])
        {
            into.push(Dep::External(key.clone()));
        }
    }
}

fn behaviour(chance: &mut Chance, settings: &Settings) -> Behaviour {
    let failing = chance.percent(settings.failing);
    Behaviour {
        duration_ms: *chance.pick(&[0, 1, 30, 300]).unwrap_or(&1),
        nbytes: chance.between(1, 100_000),
        failures: match (failing, chance.percent(50)) {
            (true, true) => u32::MAX,
            (true, false) => 1 + chance.below(2) as u32,
            (false, _) => 0,
        },
        reschedules: u32::from(chance.percent(5)),
        secedes: chance.percent(10),
        kills: chance.percent(settings.killing),
    }
}

fn spec() -> RunSpec {
    RunSpec {
        slab: SpecSlab::new(bytes::Bytes::from_static(b"."), Vec::new()),
        start: 0,
        len: 1,
    }
}

fn annotations(
    chance: &mut Chance,
    settings: &Settings,
    workers: &[Arc<str>],
) -> Option<Arc<Annotations>> {
    let mut annotations = Annotations {
        retries: if chance.percent(15) { 2 } else { 0 },
        priority: chance.percent(10).then(|| chance.below(5) as f64 - 2.0),
        ..Annotations::default()
    };
    if chance.percent(settings.restricted) {
        if chance.percent(50) {
            annotations.resources = Some(Arc::from(vec![(Arc::from("GPU"), 1.0)]));
        } else if let Some(address) = chance.pick(workers) {
            annotations.workers = vec![Value::from(&**address)];
            annotations.allow_other_workers = chance.percent(50);
        }
    }
    let plain = annotations.retries == 0
        && annotations.priority.is_none()
        && annotations.resources.is_none()
        && annotations.workers.is_empty();
    (!plain).then(|| Arc::new(annotations))
}
