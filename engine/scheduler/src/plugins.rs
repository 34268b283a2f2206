//! Worker and nanny plugins as clients registered them: opaque bytes by name, kept for whoever joins later.
//!
//! A nanny that registers while a plugin does must get it exactly once. So a nanny that is starting is counted, and
//! whoever registers a nanny plugin waits until none is before it tells those that are there.

use bytes::Bytes;
use protocol::pickle::exceptions;
use protocol::{Text, Value};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// A nanny that starts may install packages; one that never says that it has started holds nobody up for longer.
const NANNY_PATIENCE: Duration = Duration::from_secs(300);

/// Plugins in the order of their registration.
type Named = Vec<(Text, Bytes)>;

pub struct Plugins {
    workers: Mutex<Named>,
    nannies: Mutex<Named>,
    starting_nannies: watch::Sender<usize>,
}

/// Which kind of server a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    Workers,
    Nannies,
}

/// A nanny that has been given its plugins and has not yet said how that went.
pub struct StartingNanny<'a>(&'a watch::Sender<usize>);

impl Drop for StartingNanny<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Default for Plugins {
    /// Stock schedulers offer every worker the peer-to-peer shuffle, and tasks of a shuffle look for it by name: without
    /// it users would be told that the worker lacks a plugin, not that the scheduler lacks shuffles.
    fn default() -> Self {
        // A class called without arguments, which is all an exception's pickle is too.
        let shuffle = exceptions::exception(
            "distributed.shuffle._worker_plugin",
            "ShuffleWorkerPlugin",
            &[],
        );
        Self {
            workers: Mutex::new(vec![(Text::from_static("shuffle"), shuffle)]),
            nannies: Mutex::default(),
            starting_nannies: watch::Sender::new(0),
        }
    }
}

impl Plugins {
    /// Keeps a plugin, in place of one of the same name. With `idempotent` one that is there stays, and the answer is
    /// that nobody needs to be told.
    pub fn register(
        &self,
        audience: Audience,
        name: &Text,
        plugin: &Bytes,
        idempotent: bool,
    ) -> bool {
        let mut plugins = self.named(audience);
        let plugin = Bytes::copy_from_slice(plugin);
        match plugins.iter_mut().find(|(known, _)| known == name) {
            Some(_) if idempotent => return false,
            Some((_, kept)) => *kept = plugin,
            None => plugins.push((name.detached(), plugin)),
        }
        true
    }

    /// Forgets a plugin; whether there was one.
    pub fn unregister(&self, audience: Audience, name: &Text) -> bool {
        let mut plugins = self.named(audience);
        let before = plugins.len();
        plugins.retain(|(known, _)| known != name);
        plugins.len() < before
    }

    /// `{name: plugin}` for a worker that registers.
    pub fn for_workers(&self) -> Value {
        entries(&self.named(Audience::Workers))
    }

    /// `{name: plugin}` for a nanny that registers.
    pub fn for_nannies(&self) -> Value {
        entries(&self.named(Audience::Nannies))
    }

    /// To be called before [`Self::for_nannies`]; the guard goes when the nanny has its plugins or is gone.
    pub fn nanny_starts(&self) -> StartingNanny<'_> {
        self.starting_nannies.send_modify(|count| *count += 1);
        StartingNanny(&self.starting_nannies)
    }

    /// Returns when no nanny is starting, or when one has taken too long over it to be waited for.
    pub async fn all_nannies_started(&self) {
        let mut count = self.starting_nannies.subscribe();
        let all_started = count.wait_for(|count| *count == 0);
        // The sender is in `self`, so only the time can run out.
        let _late = tokio::time::timeout(NANNY_PATIENCE, all_started).await;
    }

    fn named(&self, audience: Audience) -> MutexGuard<'_, Named> {
        let plugins = match audience {
            Audience::Workers => &self.workers,
            Audience::Nannies => &self.nannies,
        };
        plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entries(plugins: &Named) -> Value {
    plugins
        .iter()
        .map(|(name, plugin)| (Value::Str(name.clone()), Value::Bin(plugin.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(plugins: &Plugins, bytes: &'static [u8], idempotent: bool) -> bool {
        let name = Text::from_static("mine");
        plugins.register(
            Audience::Nannies,
            &name,
            &Bytes::from_static(bytes),
            idempotent,
        )
    }

    #[test]
    fn a_plugin_of_the_same_name_is_replaced_unless_it_is_idempotent() {
        let plugins = Plugins::default();
        assert!(register(&plugins, b"1", true));
        assert!(!register(&plugins, b"2", true));
        assert_eq!(
            plugins.for_nannies(),
            protocol::map! {"mine" => Bytes::from_static(b"1")}
        );
        assert!(register(&plugins, b"3", false));
        assert_eq!(
            plugins.for_nannies(),
            protocol::map! {"mine" => Bytes::from_static(b"3")}
        );
    }

    #[test]
    fn an_unknown_plugin_cannot_be_unregistered() {
        let plugins = Plugins::default();
        assert!(!plugins.unregister(Audience::Workers, &Text::from_static("mine")));
        assert!(plugins.unregister(Audience::Workers, &Text::from_static("shuffle")));
    }

    #[tokio::test]
    async fn a_starting_nanny_holds_up_the_registration_of_nanny_plugins() {
        let plugins = Plugins::default();
        let starting = plugins.nanny_starts();
        let wait = Duration::from_millis(20);
        assert!(
            tokio::time::timeout(wait, plugins.all_nannies_started())
                .await
                .is_err()
        );
        drop(starting);
        plugins.all_nannies_started().await;
    }
}
