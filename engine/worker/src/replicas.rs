//! Values brought here from outside: scattered ones, and copies the scheduler has us fetch.

use crate::errors;
use crate::life::Life;
use crate::machine::{Input, Stopped};
use crate::peers::{self, Answer};
use crate::server::stimulus;
use protocol::messages::Request;
use protocol::{Key, Payload, Text, Value, map};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use worker_core::{Event, Source, UpdateData, UpdateId};

/// A peer that serves too many others is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(150);

/// Takes scattered values.
pub async fn update_data(life: &Life, mut request: Request) -> Result<Value, Stopped> {
    let stimulus_id = stimulus(&request, "update-data");
    let data = request.take("data").into_map();
    let Some(values) = data.and_then(peers::values_of) else {
        let text = "update_data takes serialized values by key";
        return Ok(errors::reply("TypeError", text));
    };
    let sizes = values.iter();
    let sizes = sizes.map(|(key, payload)| (key.to_value(), Value::from(payload.total_len())));
    let reply = map! {"nbytes" => sizes.collect::<Value>(), "status" => "OK"};
    keep(life, values, stimulus_id).await?;
    Ok(reply)
}

/// Returns when the values are held.
async fn keep(life: &Life, values: Vec<(Key, Payload)>, stimulus_id: Text) -> Result<(), Stopped> {
    let number = life.handle.call(|machine| machine.requests.next_number());
    let update = UpdateId(number.await?);
    let sized = |(key, payload): &(Key, Payload)| (key.clone(), payload.total_len() as u64);
    let data = values.iter().map(sized).collect();
    life.handle.send(Input::Delivered {
        source: Source::Update(update),
        values,
        event: Event::UpdateData(UpdateData {
            update,
            data,
            stimulus_id,
        }),
    });
    life.handle.call(|_| ()).await
}

/// Fetches copies from peers, each key from whoever of its holders has it.
pub async fn gather(life: &Life, request: Request) -> Result<Value, Stopped> {
    let who_has = request.argument("who_has").and_then(peers::who_has);
    let Some(mut wanted) = who_has else {
        let text = "gather takes addresses by key";
        return Ok(errors::reply("TypeError", text));
    };
    let stimulus_id = stimulus(&request, "gather");
    let keys: Vec<Key> = wanted.iter().map(|(key, _)| key.clone()).collect();
    let held = life.handle.call(move |machine| {
        let held = keys.into_iter();
        let held = held.filter(|key| machine.core.held(key).is_some());
        held.collect::<HashSet<Key>>()
    });
    let held = held.await?;
    wanted.retain(|(key, _)| !held.contains(key));
    let mut failed = Vec::new();
    while !wanted.is_empty() {
        let mut by_peer: HashMap<Text, Vec<Key>> = HashMap::new();
        wanted.retain(|(key, holders)| match holders.last() {
            Some(peer) => {
                by_peer.entry(peer.clone()).or_default().push(key.clone());
                true
            }
            None => {
                failed.push(key.to_value());
                false
            }
        });
        for (peer, keys) in by_peer {
            let address = peer.to_string_lossy();
            match peers::get_data(life, &address, &keys).await {
                Ok(Answer::Busy) => tokio::time::sleep(BUSY_PAUSE).await,
                Ok(Answer::Values(values)) => {
                    let got: HashSet<Key> = values.iter().map(|(key, _)| key.clone()).collect();
                    keep(life, values, stimulus_id.clone()).await?;
                    wanted.retain(|(key, _)| !got.contains(key));
                    strike(&mut wanted, &peer, &keys);
                }
                Err(_) => strike(&mut wanted, &peer, &keys),
            }
        }
    }
    Ok(match failed.is_empty() {
        true => map! {"status" => "OK"},
        false => map! {"status" => "partial-fail", "keys" => failed},
    })
}

/// The peer does not have them.
fn strike(wanted: &mut [(Key, Vec<Text>)], peer: &Text, keys: &[Key]) {
    for (_, holders) in wanted.iter_mut().filter(|(key, _)| keys.contains(key)) {
        holders.retain(|holder| holder != peer);
    }
}
