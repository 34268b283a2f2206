//! The scheduler's word on who has what.

use crate::effects::{Action, Effects};
use crate::peers::PeerId;
use crate::priority::Priority;
use crate::task::{Phase, TaskId};
use crate::worker::Worker;
use protocol::Key;
use protocol::messages::{AddKeys, FromWorker, Replicas, WorkerGone};
use std::sync::Arc;

impl Worker {
    /// Values to be copied here for their own sake.
    pub(crate) fn acquire_replicas(&mut self, order: &Replicas, _fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        for replica in &order.replicas {
            let task = self.task_of(&replica.key);
            let phase = self.tasks[task].phase();
            let elsewhere = matches!(phase, Phase::Released | Phase::Error) || phase.is_coming();
            if !elsewhere {
                continue; // here, or computed here
            }
            let cancelled = !self.tasks[task].is_wanted();
            self.tasks[task].acquired = true;
            let priority = Priority::new(Priority::ACQUIRE, i64::MIN);
            self.input_announced(task, replica, priority, cancelled);
        }
    }

    pub(crate) fn refresh_who_has(&mut self, news: &Replicas, _fx: &mut Effects) {
        self.begin(&news.stimulus_id);
        for replica in &news.replicas {
            // What was asked for may be forgotten by now.
            if let Some(task) = self.tasks.find(&replica.key)
                && self.tasks[task].phase().is_coming()
            {
                self.set_holders(task, &replica.holders);
                self.want(task);
            }
        }
    }

    pub(crate) fn remove_worker(&mut self, gone: &WorkerGone, fx: &mut Effects) {
        self.begin(&gone.stimulus_id);
        let address = gone.worker.to_string_lossy();
        if let Some(peer) = self.peers.find(&address) {
            self.peers[peer].busy = false;
            self.give_up_on(peer);
        }
        fx.act(Action::ForgetPeer {
            peer: Arc::from(&*address),
        });
    }

    /// The peer has nothing any more, as far as this worker is concerned.
    pub(crate) fn give_up_on(&mut self, peer: PeerId) {
        // Named once more, so that it is not dropped in the middle.
        self.peers[peer].references += 1;
        let needed: Vec<TaskId> = self.peers[peer].needed.iter().map(|at| at.task).collect();
        let flying: Vec<TaskId> = self.flying_from_elsewhere(peer);
        for task in needed.into_iter().chain(flying) {
            self.drop_holder(task, peer);
            self.want(task);
        }
        self.peers.review(peer);
        self.peers.unname(peer);
    }

    /// Tasks in flight that the peer has too.
    fn flying_from_elsewhere(&self, peer: PeerId) -> Vec<TaskId> {
        let asked = self.gathers.iter().flat_map(|(_, request)| &request.tasks);
        let names = |task: &TaskId| {
            self.tasks
                .get(*task)
                .is_some_and(|own| own.phase() == Phase::Flight && own.who_has.contains(&peer))
        };
        asked.copied().filter(names).collect()
    }

    /// Values that have come to be here by another way than an order to compute them.
    pub(crate) fn say_added(&self, keys: Vec<Key>, fx: &mut Effects) {
        if !keys.is_empty() {
            fx.say(FromWorker::AddKeys(AddKeys {
                keys,
                stimulus_id: self.stimulus.clone(),
            }));
        }
    }
}
