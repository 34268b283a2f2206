//! Restart: every task is forgotten; workers are restarted by the shell.

use crate::effects::{Effects, ToClient};
use crate::ids::{ClientId, Time};
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};

impl Scheduler {
    /// All clients release everything, and all that is known of tasks is dropped.
    pub fn restart(&mut self, now: Time, fx: &mut Effects) {
        self.begin_named(now, "restart");
        let clients: Vec<ClientId> = self.clients.iter().map(|(client, _)| client).collect();
        for client in &clients {
            self.release_all_wishes(*client, fx);
        }
        // What nobody wanted and nothing depended on, such as data nobody asked for.
        let left: Vec<TaskId> = self.tasks.iter().map(|(task, _)| task).collect();
        for task in left {
            self.recommend(task, Phase::Forgotten);
        }
        self.settle(fx);
        self.tasks.bury();
        if self.tasks.len() == 0 {
            self.groups.clear();
            self.active_prefixes.clear();
        }
        self.metadata.clear();
        for client in clients {
            self.tell_client(client, fx, ToClient::Restart);
        }
        self.end();
    }
}
