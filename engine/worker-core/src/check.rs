//! The invariants, walked after every batch where that was asked for. A violation is our bug: it panics.

use crate::effects::Location;
use crate::store::is_listed;
use crate::task::{PHASES, Phase, Spilling, State, Task, TaskId};
use crate::worker::Worker;
use std::collections::BTreeSet;

impl Worker {
    /// Panics if anything that should always hold does not.
    pub(crate) fn check_invariants(&self) {
        for (id, task) in self.tasks.iter() {
            self.check_edges(id, task);
            self.check_state(id, task);
            self.check_runs_of(id, task);
        }
        self.check_counts();
        self.check_peers();
        self.check_requests();
        self.check_queues();
        self.check_memory();
        self.check_nothing_idle();
        assert!(self.questions.is_empty(), "questions left");
    }

    fn check_edges(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        assert_eq!(self.tasks.find(key), Some(id), "{key:?} is not found");
        if !task.phase().awaits_its_turn() {
            assert!(
                task.dependencies.is_empty(),
                "{key:?} has edges in {:?}",
                task.state
            );
            assert!(
                task.order.is_none(),
                "{key:?} has an order in {:?}",
                task.state
            );
        }
        for (at, edge) in task.dependencies.iter().enumerate() {
            let listed = self.tasks[edge.on].dependents.get(edge.place as usize);
            assert_eq!(
                listed,
                Some(&(id, at as u32)),
                "{key:?} is not listed by its input"
            );
        }
        for (place, (dependent, edge)) in task.dependents.iter().enumerate() {
            let own = self.tasks[*dependent].dependencies.get(*edge as usize);
            let mutual = own.is_some_and(|own| own.on == id && own.place == place as u32);
            assert!(mutual, "{key:?} lists a task that does not need it");
        }
    }

    fn check_state(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        let missing = task
            .dependencies
            .iter()
            .filter(|edge| self.tasks[edge.on].phase() != Phase::Memory)
            .count();
        let coming = matches!(task.phase(), Phase::Fetch | Phase::Flight);
        assert!(
            coming || task.who_has.is_empty(),
            "{key:?} has holders in {:?}",
            task.state
        );
        match &task.state {
            State::Released => {
                assert!(task.orphans > 0, "{key:?} should be forgotten");
                assert!(!task.is_wanted(), "{key:?} is wanted and does not come");
            }
            State::Waiting { missing: counted } => {
                assert_eq!(*counted as usize, missing, "what {key:?} waits for");
                assert!(
                    missing > 0 || task.blocking > 0,
                    "{key:?} waits for nothing"
                );
                for edge in &task.dependencies {
                    let input = &self.tasks[edge.on];
                    let stuck = matches!(input.phase(), Phase::Released | Phase::Error);
                    assert!(!stuck, "{key:?} waits for {:?} in vain", input.key);
                }
            }
            State::Ready => {
                assert_eq!(missing, 0, "ready {key:?} misses inputs");
                let place = self.place(id);
                assert!(self.queues.ready.contains(&place), "{key:?} is not queued");
            }
            State::Constrained { class } => {
                assert_eq!(missing, 0, "constrained {key:?} misses inputs");
                let place = self.place(id);
                assert!(
                    self.queues.is_constrained(*class, &place),
                    "{key:?} is not queued"
                );
            }
            State::Executing { run } | State::LongRunning { run } => {
                let own = self.runs.get(*run).expect("a running task has a run");
                assert!(
                    own.wanted && own.task == id,
                    "the run of {key:?} is another's"
                );
                let long = task.phase() == Phase::LongRunning;
                assert_eq!(own.seceded, long, "{key:?} is not what its run is");
            }
            State::Fetch => self.check_fetch(id, task),
            State::Flight { gather } => {
                let request = self.gathers.get(*gather).expect("a flight has a request");
                assert!(request.tasks.contains(&id), "{key:?} was not asked for");
            }
            State::Missing => assert!(self.missing.contains(&id), "{key:?} is not missed"),
            State::Memory(held) => {
                assert!(!task.acquired, "{key:?} is here and still to be acquired");
                let on_disk = held.location == Location::Disk;
                assert!(on_disk || held.disk_bytes == 0, "{key:?} on disk");
            }
            State::Error => assert!(!task.is_wanted(), "{key:?} failed and is wanted"),
        }
    }

    fn check_fetch(&self, id: TaskId, task: &Task) {
        let key = &task.key;
        assert!(
            !task.who_has.is_empty(),
            "{key:?} has no holder to be fetched from"
        );
        assert!(task.is_wanted(), "{key:?} is fetched for nobody");
        let place = self.place(id);
        for peer in &task.who_has {
            let needed = &self.peers[*peer].needed;
            assert!(
                needed.contains(&place),
                "{key:?} is not needed of its holder"
            );
        }
    }

    fn check_runs_of(&self, id: TaskId, task: &Task) {
        let orphans = self
            .runs
            .iter()
            .filter(|(_, run)| run.task == id && !run.wanted);
        let (mut all, mut blocking) = (0, 0);
        for (_, run) in orphans {
            all += 1;
            blocking += u32::from(!run.seceded);
        }
        assert_eq!(
            (task.orphans, task.blocking),
            (all, blocking),
            "cancelled runs of {:?}",
            task.key
        );
    }

    fn check_counts(&self) {
        let mut counts = [0; PHASES.len()];
        for (_, task) in self.tasks.iter() {
            counts[task.phase() as usize] += 1;
        }
        assert_eq!(self.counts, counts, "tasks by state");
        assert_eq!(
            self.missing.len(),
            counts[Phase::Missing as usize],
            "missing"
        );
        assert_eq!(
            self.queues.ready.len(),
            counts[Phase::Ready as usize],
            "ready"
        );
        let constrained = counts[Phase::Constrained as usize];
        assert_eq!(self.queues.constrained_count(), constrained, "constrained");
        let threads = self.runs.iter().filter(|(_, run)| run.holds_thread).count();
        assert_eq!(self.runs.on_threads(), threads, "threads in use");
        let long = self
            .runs
            .iter()
            .filter(|(_, run)| run.holds_thread && !run.short);
        assert_eq!(self.runs.all_short(), long.count() == 0, "long runs");
    }

    fn check_peers(&self) {
        for (id, peer) in self.peers.iter() {
            assert!(*peer.address != *self.config.address, "its own peer");
            let named = self
                .tasks
                .iter()
                .filter(|(_, task)| task.who_has.contains(&id));
            assert_eq!(
                named.count(),
                peer.references as usize,
                "who names {}",
                peer.address
            );
            assert_eq!(
                self.peers.find(&peer.address),
                Some(id),
                "{} is not found",
                peer.address
            );
            let in_use = peer.references > 0 || peer.gather.is_some() || peer.busy;
            assert!(in_use, "{} is known for nothing", peer.address);
            for place in &peer.needed {
                let task = &self.tasks[place.task];
                let fetched = task.phase() == Phase::Fetch && task.who_has.contains(&id);
                assert!(
                    fetched,
                    "{:?} is needed of {} and not fetched",
                    task.key, peer.address
                );
            }
            let eligible = peer.gather.is_none() && !peer.busy && !peer.needed.is_empty();
            assert_eq!(
                self.peers.eligible.contains(&id),
                eligible,
                "{}",
                peer.address
            );
        }
    }

    fn check_requests(&self) {
        let mut bytes = 0;
        for (id, request) in self.gathers.iter() {
            bytes += request.total_nbytes;
            assert_eq!(
                self.peers[request.peer].gather,
                Some(id),
                "two requests to a peer"
            );
        }
        assert_eq!(self.gathers.incoming_bytes, bytes, "incoming bytes");
    }

    fn check_queues(&self) {
        let mut used: Vec<f64> = vec![0.0; self.queues.resources.len()];
        for (_, run) in self.runs.iter() {
            for (resource, amount) in run.class.map_or(&[][..], |class| self.queues.needs(class)) {
                used[*resource] += amount;
            }
        }
        for (resource, used) in self.queues.resources.iter().zip(used) {
            let sum = resource.available + used;
            assert!(
                (sum - resource.total).abs() < 1e-6,
                "amounts of {}",
                resource.name
            );
        }
    }

    fn check_memory(&self) {
        let (mut in_memory, mut leaving, mut spilled, mut on_disk) = (0, 0, 0, 0);
        let mut listed = BTreeSet::new();
        for (id, task) in self.tasks.iter() {
            let Some(held) = task.held() else { continue };
            match held.location {
                Location::Executor | Location::Serialized => in_memory += held.nbytes,
                Location::Disk => spilled += held.nbytes,
            }
            on_disk += held.disk_bytes;
            leaving += if held.spilling == Spilling::Yes {
                held.nbytes
            } else {
                0
            };
            if is_listed(&self.tasks, id) {
                listed.insert(id);
            }
        }
        let store = &self.store;
        assert_eq!(
            (store.in_memory, store.leaving, store.spilled, store.on_disk),
            (in_memory, leaving, spilled, on_disk),
            "bytes held"
        );
        let in_list = store.listed(&self.tasks);
        assert_eq!(in_list.len(), listed.len(), "values that may be spilled");
        assert!(
            in_list.iter().all(|task| listed.contains(task)),
            "values that may be spilled"
        );
    }

    /// Nothing that could go on waits.
    fn check_nothing_idle(&self) {
        if !self.is_running() {
            return;
        }
        let free = self.runs.on_threads() < self.config.nthreads && !self.is_choked();
        assert!(
            !free || self.queues.ready.is_empty(),
            "a thread and a task wait"
        );
        let nothing_comes = self.gathers.count() == 0;
        assert!(
            !nothing_comes || self.peers.eligible.is_empty(),
            "a peer could be asked"
        );
    }
}
