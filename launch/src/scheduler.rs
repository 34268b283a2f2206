//! Waiting for the scheduler: until Dask's handshake succeeds, said in ever rarer lines.
//!
//! A mere connection proves nothing: a service mesh's proxy takes it before there is a scheduler. So each try goes through
//! the handshake, and one that gets no answer is dropped for the next.

use crate::{clock, say};
use protocol::Address;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use transport::{Connector, resolve, with_sources};

/// From the end of a try to the next.
const PAUSE: Duration = Duration::from_millis(50);

/// Tries in a row that fail before a scheduler counts as gone.
const MISSES: u32 = 2;

/// How long a try may take: little, because a packet lost on the way to nobody is sent again only after a second; then
/// more, because a busy scheduler may be slow; then little again.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(4);

/// A name server may be slower than a scheduler.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

/// When it is first said what is waited for; then after three times that, and so on.
const FIRST_LINE: Duration = Duration::from_secs(5);
const RAREST_LINE: Duration = Duration::from_secs(600);

/// A scheduler that did not answer in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoScheduler {
    pub address: Address,
    pub seconds: u64,
    /// Why the last try failed.
    pub last: String,
}

/// Returns once the scheduler answers.
pub async fn answers(address: &Address, seconds: Option<u64>) -> Result<(), NoScheduler> {
    let mut last = String::from("no answer");
    let Some(seconds) = seconds else {
        ask(address, &mut last).await;
        return Ok(());
    };
    let asking = ask(address, &mut last);
    match tokio::time::timeout(Duration::from_secs(seconds), asking).await {
        Ok(()) => Ok(()),
        Err(_) => Err(NoScheduler {
            address: address.clone(),
            seconds,
            last,
        }),
    }
}

async fn ask(address: &Address, last: &mut String) {
    let began = clock::now();
    let mut next_line = FIRST_LINE;
    let mut patience = FIRST_PATIENCE;
    loop {
        match once(address, patience).await {
            Ok(()) => break,
            Err(Failure::Silent) => {
                patience = if patience < LAST_PATIENCE {
                    patience * 2
                } else {
                    FIRST_PATIENCE
                };
                "no answer".clone_into(last);
            }
            Err(Failure::Refused(reason)) => *last = reason,
        }
        let waited = began.elapsed();
        if waited >= next_line {
            say(&format!(
                "waiting for the scheduler at {address} for {} s: {last}",
                waited.as_secs()
            ));
            next_line = (next_line * 3).min(next_line + RAREST_LINE);
        }
        tokio::time::sleep(PAUSE).await;
    }
    if next_line != FIRST_LINE {
        say("the scheduler answers");
    }
}

/// Returns once nothing takes connections there, seen twice: one packet may be lost.
pub async fn gone(address: &Address) {
    let mut missed = 0;
    while missed < MISSES {
        let taken = tokio::time::timeout(FIRST_PATIENCE, takes_connections(address)).await;
        missed = if taken == Ok(true) { 0 } else { missed + 1 };
        tokio::time::sleep(PAUSE).await;
    }
}

/// A system takes connections for a program that is busy; it refuses them, or is not there, when the program is gone.
async fn takes_connections(address: &Address) -> bool {
    let Ok(ips) = resolve(&address.host).await else {
        return false;
    };
    for ip in ips {
        if TcpStream::connect((ip, address.port)).await.is_ok() {
            return true;
        }
    }
    false
}

enum Failure {
    /// Nobody said anything in time.
    Silent,
    Refused(String),
}

async fn once(address: &Address, patience: Duration) -> Result<(), Failure> {
    let ips = tokio::time::timeout(NAME_PATIENCE, resolve(&address.host))
        .await
        .map_err(|_| Failure::Refused(format!("no name server answers for {}", address.host)))?
        .map_err(|error| Failure::Refused(with_sources(&error)))?;
    let mut failure = Failure::Silent;
    for ip in ips {
        match tokio::time::timeout(patience, introduce(address, ip)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => failure = Failure::Refused(reason),
            Err(_) => {}
        }
    }
    Err(failure)
}

/// One connection with handshake, closed at once.
async fn introduce(address: &Address, ip: IpAddr) -> Result<(), String> {
    let target = Address::new(address.scheme, ip.to_string(), address.port);
    let connection = Connector::default().connect_once(&target).await;
    connection.map(drop).map_err(|error| with_sources(&error))
}
