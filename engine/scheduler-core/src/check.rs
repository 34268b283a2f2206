//! The invariants, walked after every event where that was asked for. A violation is our bug: it panics.

use crate::scheduler::{QueuePlace, Scheduler};
use crate::story::Transition;
use crate::task::{Flags, Phase, State, Task, TaskId};
use crate::worker::Worker;

impl Scheduler {
    /// Panics if anything that should always hold does not.
    pub(crate) fn check_invariants(&self) {
        assert!(self.recommendations.is_empty(), "recommendations left");
        for (id, task) in self.tasks.iter() {
            self.check_edges(id, task);
            self.check_state(id, task);
            self.check_books(id, task);
        }
        for worker in self.workers.iter() {
            self.check_worker(worker);
        }
        self.check_totals();
        self.check_queue_served();
    }

    fn check_edges(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        assert_eq!(
            self.tasks.find(key),
            Some(id),
            "{key:?} is not found by its key"
        );
        for on in task.dependencies.iter() {
            let other = &self.tasks[on];
            assert!(
                other.phase() != Phase::Forgotten,
                "{key:?} depends on a forgotten task"
            );
            assert!(
                other.dependents.contains(id),
                "{key:?} is missing in dependents of {:?}",
                other.key
            );
        }
        for by in task.dependents.iter() {
            let other = &self.tasks[by];
            assert!(
                other.phase() != Phase::Forgotten,
                "{key:?} has a forgotten dependent"
            );
            assert!(
                other.dependencies.contains(id),
                "{key:?} is missing in dependencies of {:?}",
                other.key
            );
        }
        let waiters = task
            .dependents
            .iter()
            .filter(|by| self.tasks[*by].has(Flags::WAITS))
            .count();
        assert_eq!(task.waiters as usize, waiters, "waiters of {key:?}");
        let in_play = matches!(
            task.phase(),
            Phase::Waiting | Phase::Queued | Phase::NoWorker | Phase::Processing
        );
        assert_eq!(
            task.has(Flags::WAITS),
            in_play,
            "{key:?} waits in {:?}",
            task.state
        );
    }

    fn check_state(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        let missing = task
            .dependencies
            .iter()
            .filter(|on| self.tasks[*on].who_has.is_empty())
            .count();
        assert_eq!(
            task.who_has.is_empty(),
            task.phase() != Phase::Memory,
            "replicas of {key:?} in {:?}",
            task.state
        );
        match task.state {
            State::Released => assert_eq!(task.waiters, 0, "somebody waits for released {key:?}"),
            State::Waiting { missing: counted } => {
                assert_eq!(counted as usize, missing, "what {key:?} waits for");
                assert!(missing > 0, "{key:?} waits for nothing");
                for on in task
                    .dependencies
                    .iter()
                    .filter(|on| self.tasks[*on].who_has.is_empty())
                {
                    let other = &self.tasks[on];
                    let comes = matches!(
                        other.phase(),
                        Phase::Waiting | Phase::Queued | Phase::NoWorker | Phase::Processing
                    );
                    assert!(
                        comes,
                        "{key:?} waits for {:?} which is {:?}",
                        other.key, other.state
                    );
                }
            }
            State::Queued { order } => {
                let priority = task.priority;
                assert!(
                    self.queued.contains(&QueuePlace {
                        priority,
                        order,
                        task: id
                    }),
                    "{key:?} is not in the queue"
                );
                assert_eq!(missing, 0, "queued {key:?} misses inputs");
                assert!(
                    !task.is_unneeded(),
                    "nobody needs queued {key:?}: {:#?}",
                    self.told(id)
                );
            }
            State::NoWorker { order } => {
                assert_eq!(
                    self.unrunnable.get(&order).map(|(own, _)| *own),
                    Some(id),
                    "{key:?} is not unrunnable"
                );
                assert_eq!(missing, 0, "unrunnable {key:?} misses inputs");
            }
            State::Processing { worker, slot } => {
                assert!(
                    self.workers.is_registered(worker),
                    "{key:?} processes on a worker that is gone"
                );
                assert_eq!(
                    self.workers.at(worker).processing.get(slot as usize),
                    Some(&id),
                    "slot of {key:?}"
                );
                assert_eq!(missing, 0, "processing {key:?} misses inputs");
            }
            State::Memory => assert!(
                !task.is_unneeded(),
                "nobody needs {key:?} in memory: {:#?}",
                self.told(id)
            ),
            State::Erred => assert!(task.blame().is_some(), "{key:?} erred without blame"),
            State::Forgotten => {}
        }
    }

    /// What has happened to a task, as far as the story goes back.
    fn told(&self, task: TaskId) -> Vec<String> {
        let latest = self
            .story
            .iter()
            .next_back()
            .map(|told| told.stimulus_id.clone());
        let key = &self.tasks[task].key;
        let about = self.story.iter().filter(|told| {
            let mentioned = told.recommendations.iter().any(|(other, _)| other == key);
            told.key == *key || mentioned || Some(&told.stimulus_id) == latest.as_ref()
        });
        about.map(Transition::describe).collect()
    }

    fn check_books(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        for holder in task.who_has.iter() {
            assert!(
                self.workers.is_registered(holder),
                "{key:?} is held by a worker that is gone"
            );
            assert!(
                self.workers.at(holder).has_what.contains(id),
                "{key:?} is not among what its holder has"
            );
        }
        for client in task.who_wants.iter() {
            let wants = self
                .clients
                .get(client)
                .is_some_and(|own| own.wants.contains(id));
            assert!(wants, "{key:?} is wanted by a client that does not know");
        }
        if task.is_actor() && task.phase() == Phase::Memory {
            let homes = task
                .who_has
                .iter()
                .filter(|holder| self.workers.at(*holder).actors.contains(id))
                .count();
            assert_eq!(homes, 1, "homes of actor {key:?}");
        }
        let unwanted = task.who_wants.is_empty() && task.dependents.is_empty();
        let doomed = task.has(Flags::LOST_DEPENDENCIES)
            && !matches!(task.phase(), Phase::Memory | Phase::Erred);
        assert!(
            !unwanted && !doomed,
            "{key:?} should have been forgotten: {:?}, {:#?}",
            task.state,
            self.told(id)
        );
    }

    fn check_worker(&self, worker: &Worker) {
        let name = &worker.address;
        let nbytes: u64 = worker.has_what.iter().map(|task| self.size_of(task)).sum();
        assert_eq!(worker.nbytes, nbytes, "bytes on {name}");
        for task in worker.has_what.iter() {
            assert!(
                self.tasks[task].who_has.contains(worker.id),
                "{name} has what it does not hold"
            );
        }
        let seceded = worker
            .processing
            .iter()
            .filter(|task| self.tasks[**task].has(Flags::LONG_RUNNING))
            .count();
        assert_eq!(
            worker.long_running as usize, seceded,
            "long running on {name}"
        );
        let counted: u32 = worker.prefix_count.iter().map(|(_, count)| count).sum();
        assert_eq!(
            counted as usize,
            worker.processing.len() - seceded,
            "prefix counts on {name}"
        );
        for actor in worker.actors.iter() {
            let phase = self.tasks[actor].phase();
            assert!(
                matches!(phase, Phase::Memory | Phase::Processing),
                "actor on {name} is {phase:?}"
            );
        }
        self.check_needs(worker);
        self.check_load(worker);
    }

    fn check_needs(&self, worker: &Worker) {
        let mut needs: Vec<TaskId> = worker
            .processing
            .iter()
            .flat_map(|task| self.tasks[*task].dependencies.iter())
            .filter(|on| !self.tasks[*on].who_has.contains(worker.id))
            .collect();
        needs.sort_unstable();
        // An input fetched and lost again is not booked again, so the books may say less than there is, never more.
        let mut booked = 0;
        for needed in needs.chunk_by(|left, right| left == right) {
            let key = &self.tasks[needed[0]].key;
            let count = worker.needs_what.count(needed[0]) as usize;
            assert!(
                count <= needed.len(),
                "{} needs {key:?} for {count} tasks",
                worker.address
            );
            booked += usize::from(count > 0);
        }
        assert_eq!(
            worker.needs_what.len(),
            booked,
            "needs of {}",
            worker.address
        );
        if needs.is_empty() {
            assert_eq!(worker.network_nbytes, 0, "transfers to {}", worker.address);
        }
    }

    fn check_load(&self, worker: &Worker) {
        let (name, sets) = (&worker.address, &self.workers);
        assert_eq!(sets.of_rank(worker.rank), worker.id, "rank of {name}");
        assert_eq!(
            sets.running.contains(worker.rank),
            worker.is_running(),
            "{name} running"
        );
        let free = worker.is_running() && !worker.is_full(self.config.worker_saturation);
        assert_eq!(
            sets.with_slots.contains(worker.rank),
            free,
            "slots of {name}"
        );
        let loaded = sets.idle.contains(worker.rank) || sets.saturated.contains(worker.rank);
        assert!(
            worker.is_running() || !loaded,
            "{name} is idle or saturated but not running"
        );
        if worker.is_running() && worker.processing.is_empty() {
            assert!(
                sets.idle.contains(worker.rank),
                "{name} has nothing to do but is not idle"
            );
        }
    }

    fn check_totals(&self) {
        let mut states = [0u32; 8];
        for (_, task) in self.tasks.iter() {
            states[task.phase().index()] += 1;
        }
        for (_, group) in self.groups.iter() {
            for (at, count) in group.states.iter().enumerate() {
                if at != Phase::Forgotten.index() {
                    states[at] = states[at]
                        .checked_sub(*count)
                        .expect("groups count tasks that do not exist");
                }
            }
        }
        assert_eq!(states, [0; 8], "tasks that no group counts");
        assert_eq!(
            self.queued.len(),
            self.queued
                .iter()
                .filter(|place| self.tasks[place.task].phase() == Phase::Queued)
                .count()
        );
        for (prefix, own) in self.groups.prefixes() {
            let on_workers: u32 = self
                .workers
                .iter()
                .flat_map(|worker| worker.prefix_count.iter())
                .filter(|(other, _)| *other == prefix)
                .map(|(_, count)| count)
                .sum();
            assert_eq!(
                own.processing, on_workers,
                "processing of prefix {}",
                own.name
            );
            assert_eq!(
                own.processing > 0,
                self.active_prefixes.contains(&prefix),
                "prefix {} active",
                own.name
            );
        }
        let network: u64 = self
            .workers
            .iter()
            .map(|worker| worker.network_nbytes)
            .sum();
        assert_eq!(self.network_nbytes, network, "transfers altogether");
        for (client, own) in self.clients.iter() {
            let known = own
                .wants
                .sorted()
                .iter()
                .all(|task| self.tasks[*task].who_wants.contains(client));
            assert!(known, "{} wants a task that does not know", own.name);
        }
    }

    /// Nothing waits in the queue while there is a slot for it.
    fn check_queue_served(&self) {
        assert!(
            self.queued.is_empty() || self.workers.with_slots.is_empty(),
            "queued tasks while workers have free slots"
        );
    }
}
