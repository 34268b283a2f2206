//! What a client says on its stream; graphs come on a way of their own.

use crate::effects::{Action, Effects, ToClient};
use crate::ids::{ClientId, Time};
use crate::scheduler::Scheduler;
use crate::stimuli::heartbeat::heartbeat_interval;
use protocol::Text;
use protocol::messages::FromClient;
use std::sync::Arc;

/// Stream operations of stock clients about what this scheduler does not have yet; there is nothing to do about them.
const NOT_YET: [&str; 5] = [
    "publish_flush_batched_send",
    "queue-future-release",
    "queue_release",
    "variable-future-received-confirm",
    "variable_delete",
];

/// Clients need not report as often as workers.
const CLIENT_FACTOR: f64 = 10.0;

impl Scheduler {
    /// One message of a client's stream.
    pub fn client_message(
        &mut self,
        client: ClientId,
        message: FromClient,
        now: Time,
        fx: &mut Effects,
    ) {
        if self.clients.get(client).is_none() {
            return;
        }
        match message {
            FromClient::ClientDesiresKeys(wish) => {
                let whose = self.whose(client, wish.client.as_ref());
                self.client_desires_keys(whose, &wish.keys, now, fx);
            }
            FromClient::ClientReleasesKeys(wish) => {
                let whose = self.whose(client, wish.client.as_ref());
                self.client_releases_keys(whose, &wish.keys, now, fx);
            }
            FromClient::CancelKeys(cancel) => self.cancel(client, &cancel, now, fx),
            FromClient::UpdateData(data) => {
                let whose = self.whose(client, data.client.as_ref());
                self.update_data(&data.who_has, &data.nbytes, Some(whose), now, fx);
            }
            FromClient::ReportKey(report) => {
                self.begin_named(now, "report-key");
                self.report_on_key(client, &report.key, fx);
                self.end();
            }
            FromClient::SubscribeTopic(topic) => {
                self.subscribe_topic(client, &topic.topic.to_string_lossy());
            }
            FromClient::UnsubscribeTopic(topic) => {
                self.unsubscribe_topic(client, &topic.topic.to_string_lossy());
            }
            FromClient::HeartbeatClient => self.client_heartbeat(client, now, fx),
            // The connection ends now, and the core hears of it so.
            FromClient::CloseClient | FromClient::CloseStream => {}
            FromClient::UpdateGraph(_) => {
                self.drop_broken(client, "a graph that was not materialised", fx)
            }
            // These belong to requests that are refused by name.
            FromClient::Other { op, .. } if NOT_YET.iter().any(|known| op == *known) => {}
            FromClient::Other { op, .. } => {
                self.drop_broken(client, &format!("unknown stream operation {op}"), fx);
            }
        }
    }

    fn drop_broken(&self, client: ClientId, why: &str, fx: &mut Effects) {
        fx.action(Action::DropBrokenClient {
            client,
            why: Arc::from(why),
        });
    }

    /// Clients speak for themselves unless they name somebody else.
    fn whose(&mut self, client: ClientId, name: Option<&Text>) -> ClientId {
        match name {
            Some(name) => self.client_named(&name.to_string_lossy()),
            None => client,
        }
    }

    fn client_heartbeat(&mut self, client: ClientId, now: Time, fx: &mut Effects) {
        if let Some(own) = self.clients.get_mut(client) {
            own.last_seen = now;
        }
        let seconds = CLIENT_FACTOR * heartbeat_interval(self.clients.len());
        self.tell_client(client, fx, ToClient::AdjustHeartbeatInterval { seconds });
    }
}
