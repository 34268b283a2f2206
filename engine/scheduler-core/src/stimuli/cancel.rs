//! Cancelling and retrying.

use crate::client::Wishes;
use crate::effects::{Effects, ToClient};
use crate::ids::{ClientId, Time};
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};
use protocol::messages::CancelKeys;
use protocol::{Key, map};

impl Scheduler {
    /// Cancels keys that nobody but this client wants (or any, with force), and what depends on them first.
    pub(crate) fn cancel(
        &mut self,
        client: ClientId,
        cancel: &CancelKeys,
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "cancel-key");
        let Some(own) = self.clients.get(client) else {
            return;
        };
        let name = own.name.clone();
        let event =
            map! {"action" => "cancel", "count" => cancel.keys.len(), "force" => cancel.force};
        self.publish_event(&name, &event, fx);
        let cancelled = self.cancellable(client, cancel);
        let keys: Vec<Key> = cancelled
            .iter()
            .map(|task| self.tasks[*task].key.clone())
            .collect();
        for task in cancelled {
            let wanters: Vec<ClientId> = if cancel.force {
                self.tasks[task].who_wants.iter().collect()
            } else {
                vec![client]
            };
            for wanter in wanters {
                self.release_wish(wanter, task);
            }
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.tell_all_cancelled(&keys, cancel, fx);
        self.end();
    }

    fn tell_all_cancelled(&self, keys: &[Key], cancel: &CancelKeys, fx: &mut Effects) {
        for (other, own) in self.clients.iter() {
            if own.connected {
                let message = ToClient::CancelledKeys {
                    keys: keys.to_vec(),
                    reason: cancel.reason.clone(),
                    message: cancel.msg.clone(),
                };
                fx.client(other, message);
            }
        }
    }

    /// Depth first, dependents before what they depend on; an explicit stack, for graphs are deep.
    fn cancellable(&self, client: ClientId, cancel: &CancelKeys) -> Vec<TaskId> {
        let mut seen = Wishes::default();
        let mut found = Vec::new();
        for key in &cancel.keys {
            let mut stack: Vec<(TaskId, bool)> = self
                .tasks
                .find(key)
                .map(|task| (task, false))
                .into_iter()
                .collect();
            while let Some((task, expanded)) = stack.pop() {
                if expanded {
                    found.push(task);
                    continue;
                }
                let own = &self.tasks[task];
                let mine = own.who_wants.only() == Some(client);
                if !(cancel.force || mine) || !seen.insert(task) {
                    continue;
                }
                stack.push((task, true));
                stack.extend(own.dependents.iter().map(|dependent| (dependent, false)));
            }
        }
        found
    }

    /// Tries failed tasks again, from the roots of their failures. Returns the keys looked at.
    pub fn retry(
        &mut self,
        keys: &[Key],
        client: Option<&str>,
        now: Time,
        fx: &mut Effects,
    ) -> Vec<Key> {
        self.begin_named(now, "stimulus-retry");
        if let Some(client) = client {
            let event = map! {"action" => "retry", "count" => keys.len()};
            self.publish_event(client, &event, fx);
        }
        let mut stack: Vec<TaskId> = keys.iter().filter_map(|key| self.tasks.find(key)).collect();
        let mut seen = Wishes::default();
        let (mut looked_at, mut roots) = (Vec::new(), Vec::new());
        while let Some(task) = stack.pop() {
            if !seen.insert(task) {
                continue;
            }
            looked_at.push(self.tasks[task].key.clone());
            let failed: Vec<TaskId> = self.tasks[task]
                .dependencies
                .iter()
                .filter(|dependency| self.tasks[*dependency].phase() == Phase::Erred)
                .collect();
            if failed.is_empty() && self.tasks[task].phase() == Phase::Erred {
                roots.push(task);
            }
            stack.extend(failed);
        }
        // All roots first, so that nothing that depends on two of them fails again for the second.
        for root in &roots {
            self.transition(*root, Phase::Released, fx);
        }
        for root in roots {
            self.recommend(root, Phase::Waiting);
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.end();
        looked_at
    }

    /// Tells a client once more of those of its tasks that are done. It is told of nothing new.
    pub fn repeat_results(&mut self, client: &str, keys: &[Key], now: Time, fx: &mut Effects) {
        let Some(client) = self.clients.find(client) else {
            return;
        };
        self.begin_named(now, "repeat-results");
        for task in keys.iter().filter_map(|key| self.tasks.find(key)) {
            let done = matches!(self.tasks[task].phase(), Phase::Memory | Phase::Erred);
            if done && self.tasks[task].who_wants.contains(client) {
                self.report_state(client, task, fx);
            }
        }
        self.end();
    }
}
