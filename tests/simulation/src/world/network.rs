//! What lies between the core and its workers: late messages, answers to fetches, deaths and returns.

use super::unasked::after_steal;
use super::{Event, STREAM_TO_CLIENT, World, metrics, stream_down, stream_up};
use crate::member::Member;
use crate::real_worker::{Birth, RealWorker};
use crate::worker::{Ending, SimWorker, Wish};
use protocol::messages::FromWorker;
use protocol::{Key, Text, Value};
use scheduler_core::{Action, Heartbeat, HeartbeatAnswer, Registration, WorkerId, WorkerStatus};
use std::sync::Arc;

impl World {
    pub(super) fn with_worker(&mut self, slot: usize, life: u64, act: impl FnOnce(&mut Member)) {
        if self.slots[slot].life != life {
            return;
        }
        let (now, calm) = (self.timeline.now, self.calm);
        if let Some(worker) = self.slots[slot].worker.as_mut() {
            worker.tell_time(now, calm);
            act(worker);
        }
        self.grant_wishes(slot);
    }

    /// What a worker wants from the outside.
    pub(super) fn grant_wishes(&mut self, slot: usize) {
        let life = self.slots[slot].life;
        let Some(worker) = self.slots[slot].worker.as_mut() else {
            return;
        };
        let (id, wishes) = (worker.id(), worker.take_wishes());
        for wish in wishes {
            match wish {
                Wish::Say(message) => {
                    self.stream(stream_up(slot, life), Event::ToScheduler(id, message))
                }
                Wish::Execute { key, token } => self.execute(slot, life, key, token),
                Wish::Fetch { from, keys } => {
                    let latency = self.chance.between(0, self.settings.slowest_message_ms);
                    self.add(
                        latency,
                        Event::FetchArrives {
                            slot,
                            life,
                            from,
                            keys,
                        },
                    );
                }
                Wish::Later(ms, what) => self.add(ms, Event::Later(slot, life, what)),
                Wish::Die => self.kill(slot, true),
            }
        }
    }

    pub(super) fn execute(&mut self, slot: usize, life: u64, key: Key, token: u64) {
        self.summary.tasks_run += 1;
        let behaviour = self.workload.behaviours.get(&key);
        let (duration, secedes) =
            behaviour.map_or((1, false), |own| (own.duration_ms, own.secedes));
        if secedes {
            self.add(duration / 2, Event::Seceded(slot, life, key.clone(), token));
        }
        self.add(duration, Event::Executed(slot, life, key, token));
    }

    pub(super) fn executed(&mut self, slot: usize, life: u64, key: &Key, token: u64) {
        if self.slots[slot].life != life || self.slots[slot].worker.is_none() {
            return;
        }
        let attempts = self.attempts.entry(key.clone()).or_insert(0);
        *attempts += 1;
        let attempts = *attempts;
        let ending = match self.workload.behaviours.get(key) {
            Some(own) if own.kills => {
                self.kill(slot, false);
                return;
            }
            Some(own) if attempts <= own.reschedules => Ending::Reschedule,
            Some(own) if attempts <= own.failures => Ending::Exception,
            Some(own) => Ending::Result(own.nbytes),
            None => Ending::Result(1),
        };
        self.with_worker(slot, life, |worker| worker.executed(key, token, ending));
    }

    pub(super) fn serve_fetch(&mut self, slot: usize, life: u64, from: Arc<str>, keys: Vec<Key>) {
        let latency = self.chance.between(0, self.settings.slowest_message_ms);
        if !self.calm && self.chance.percent(10) {
            self.add(
                150,
                Event::FetchBusy {
                    slot,
                    life,
                    from,
                    keys,
                },
            );
            return;
        }
        let unlucky = !self.calm && self.chance.percent(3);
        let peer = self
            .slots
            .iter()
            .find(|other| other.address == from)
            .and_then(|other| other.worker.as_ref());
        let answer = peer.filter(|_| !unlucky).map(|peer| {
            let has = |key: &&Key| peer.has(key);
            keys.iter()
                .filter(has)
                .map(|key| (key.clone(), 10))
                .collect()
        });
        self.add(
            latency,
            Event::FetchAnswer {
                slot,
                life,
                from,
                keys,
                answer,
            },
        );
    }

    pub(super) fn find_missing(&mut self, slot: usize, life: u64) {
        if self.slots[slot].life != life {
            return;
        }
        self.with_worker(slot, life, Member::look_for_missing);
        self.timeline.after_ms(1000, Event::FindMissing(slot, life));
    }

    pub(super) fn heartbeat(&mut self, slot: usize, life: u64) {
        if self.slots[slot].life != life {
            return;
        }
        let times = if self.chance.percent(20) { 2 } else { 1 };
        let Some(worker) = self.slots[slot].worker.as_ref() else {
            return;
        };
        let report = Heartbeat {
            now_seconds: self.timeline.now.seconds(),
            metrics: metrics(),
            executing: worker
                .executing()
                .into_iter()
                .map(|key| (key, 0.3))
                .collect(),
            host_info: Value::Nil,
        };
        for _ in 0..times {
            let answer = self
                .core
                .heartbeat(&worker.address(), report.clone(), self.timeline.now);
            if answer == HeartbeatAnswer::Missing && self.calm {
                self.kill(slot, false);
                return;
            }
        }
        self.with_worker(slot, life, Member::measure);
        self.timeline.after_ms(500, Event::Heartbeat(slot, life));
    }

    pub(super) fn start_worker(&mut self, slot: usize) {
        if self.slots[slot].worker.is_some() {
            return;
        }
        let own = &self.slots[slot];
        let registration = Registration {
            address: Arc::clone(&own.address),
            host: Arc::from(protocol::address::host_of(&own.address)),
            name: Value::Int(slot as i64),
            nthreads: own.nthreads as u32,
            memory_limit: None,
            resources: if own.gpu {
                vec![(Arc::from("GPU"), 1.0)]
            } else {
                Vec::new()
            },
            local_directory: Arc::from("/tmp"),
            services: Value::Nil,
            nanny: None,
            pid: 1,
            versions: Value::Nil,
            metrics: metrics(),
            extra: Value::Nil,
            server_id: Arc::from(format!("Worker-{slot}-{}", own.life + 1)),
            status: WorkerStatus::Init,
            now_seconds: self.timeline.now.seconds(),
            stimulus_id: Text::from_static("worker-connect"),
        };
        match self
            .core
            .add_worker(registration, self.timeline.now, &mut self.effects)
        {
            Ok(id) => self.worker_is_in(slot, id),
            // The scheduler has not heard yet that the one before is dead.
            Err(_) => self.add(200, Event::Start(slot)),
        }
    }

    pub(super) fn worker_is_in(&mut self, slot: usize, id: WorkerId) {
        let own = &mut self.slots[slot];
        own.life += 1;
        let life = own.life;
        let real = self.settings.real > 0 && self.chance.percent(self.settings.real);
        let mut worker = if real {
            Member::Real(Box::new(RealWorker::new(Birth {
                id,
                address: Arc::clone(&own.address),
                nthreads: own.nthreads,
                gpu: own.gpu,
                seed: self.chance.between(0, 1 << 40),
                now: self.timeline.now,
            })))
        } else {
            Member::Model(SimWorker::new(id, Arc::clone(&own.address), own.nthreads))
        };
        worker.tell_time(self.timeline.now, self.calm);
        worker.announce(WorkerStatus::Running);
        own.worker = Some(worker);
        self.grant_wishes(slot);
        self.timeline.after_ms(500, Event::Heartbeat(slot, life));
        self.timeline.after_ms(1000, Event::FindMissing(slot, life));
    }

    /// The worker is gone at once; the scheduler hears of it after what was on its way.
    pub(super) fn kill(&mut self, slot: usize, told_to: bool) {
        let life = self.slots[slot].life;
        let Some(worker) = self.slots[slot].worker.take() else {
            return;
        };
        self.summary.deaths += 1;
        self.remember(&worker);
        self.slots[slot].life += 1;
        self.stream(stream_up(slot, life), Event::StreamBroken(worker.id()));
        let after = self.chance.between(1, 1000) + u64::from(told_to) * 200;
        self.add(after, Event::Start(slot));
    }

    /// What was said before a death still arrives.
    pub(super) fn worker_says(&mut self, worker: WorkerId, message: FromWorker) {
        if self.settings.verbose {
            println!(
                "{:>7} from {worker} {message:?}",
                self.timeline.ms_since_start()
            );
        }
        self.core.worker_message(
            worker,
            after_steal(message),
            self.timeline.now,
            &mut self.effects,
        );
    }

    /// Sends what the core wants said.
    pub(super) fn deliver(&mut self) {
        let to_workers: Vec<_> = self.effects.drain_workers().collect();
        let to_clients: Vec<_> = self.effects.drain_clients().collect();
        let actions: Vec<_> = self.effects.drain_actions().collect();
        for (id, messages) in to_workers {
            let Some(slot) = self.slot_of(id) else {
                continue;
            };
            let life = self.slots[slot].life;
            for message in messages {
                self.stream(
                    stream_down(slot, life),
                    Event::ToWorker(slot, life, message),
                );
            }
        }
        for (id, messages) in to_clients {
            let Some(client) = self.clients.iter().position(|own| own.id == id) else {
                continue;
            };
            for message in messages {
                self.stream(
                    STREAM_TO_CLIENT + client as u64,
                    Event::ToClient(client, id, message),
                );
            }
        }
        for action in actions {
            if let Action::DropBrokenWorker { why, .. } | Action::DropBrokenClient { why, .. } =
                &action
            {
                panic!("a well-behaved peer was dropped: {why}");
            }
            if let Action::DropWorkerConnection(id) = action
                && let Some(slot) = self.slot_of(id)
            {
                self.kill(slot, true);
            }
        }
    }

    pub(super) fn slot_of(&self, id: WorkerId) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.worker.as_ref().is_some_and(|worker| worker.id() == id))
    }
}
