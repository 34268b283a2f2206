//! What the programs of a job tell the test, and what they wait for: `cue.py` is the other end.
//!
//! A test steers by these instead of by time. Each thing said is one connection and one line; who waits is answered once
//! the word was given, be it before or after.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Address of the node, where pods reach the programs of the cluster's network namespace.
const NODE: &str = "10.88.0.1";

/// Something a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub word: String,
    pub detail: String,
    /// The pod that said it.
    pub from: IpAddr,
}

#[derive(Default)]
struct Heard {
    told: Vec<Told>,
    given: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Cues {
    address: String,
    heard: Arc<Mutex<Heard>>,
    changed: Arc<Notify>,
}

impl Cues {
    /// Listens until the test ends.
    pub async fn listen() -> Self {
        let listener = TcpListener::bind((NODE, 0))
            .await
            .expect("the node's address is in the network namespace");
        let port = listener.local_addr().expect("it is bound").port();
        let cues = Cues {
            address: format!("{NODE}:{port}"),
            heard: Arc::default(),
            changed: Arc::default(),
        };
        let all = cues.clone();
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                tokio::spawn(all.clone().hear(stream, from.ip()));
            }
        });
        cues
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets everyone go on who waits for this word, now or later.
    pub fn give(&self, word: &str) {
        self.lock().given.insert(word.to_owned());
        self.changed.notify_waiters();
    }

    /// What was told under a word so far.
    pub fn told(&self, word: &str) -> Vec<Told> {
        let heard = self.lock();
        let told = heard.told.iter().filter(|told| told.word == word);
        told.cloned().collect()
    }

    async fn hear(self, stream: TcpStream, from: IpAddr) {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        if BufReader::new(reader).read_line(&mut line).await.is_err() {
            return;
        }
        let mut words = line.trim_end().splitn(3, ' ');
        let (verb, word) = (words.next(), words.next().unwrap_or_default());
        let detail = words.next().unwrap_or_default();
        match verb {
            Some("tell") => self.lock().told.push(Told {
                word: word.to_owned(),
                detail: detail.to_owned(),
                from,
            }),
            Some("wait") => self.until_given(word).await,
            _ => return,
        }
        // Whoever asked may be gone by now.
        let _ = writer.write_all(b"go on\n").await;
    }

    async fn until_given(&self, word: &str) {
        loop {
            let changed = self.changed.notified();
            if self.lock().given.contains(word) {
                return;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
