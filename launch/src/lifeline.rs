//! Lifelines: silent connections that tell a scheduler that somebody still needs it.
//!
//! Held by the runner's launcher, taken by the scheduler's. Nothing is ever sent; a peer that vanished with its machine is
//! noticed by the kernel's probes.

use crate::idle;
use protocol::Address;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A peer whose machine is gone is noticed after this long.
const VANISHED: Duration = Duration::from_secs(30);

/// The command does not wait longer than this for its lifeline; it is opened beside it then.
const FIRST_OPENING: Duration = Duration::from_secs(1);

const OPENING: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// More lifelines at once than a job ever has.
const MOST: usize = 64;

/// A lifeline that is opened again whenever it breaks, until this is dropped.
#[derive(Debug)]
pub struct Held(AbortHandle);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens a lifeline to a port of the scheduler's host.
pub async fn hold(scheduler: &Address, port: u16) -> Held {
    let target = Address::new(scheduler.scheme, scheduler.host.clone(), port);
    let first = open_within(FIRST_OPENING, &target).await;
    Held(tokio::spawn(keep_open(target, first)).abort_handle())
}

async fn keep_open(target: Address, mut line: Option<TcpStream>) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        if let Some(line) = line.take() {
            until_broken(line).await;
            pause = SHORTEST_PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        line = open_within(OPENING, &target).await;
    }
}

async fn open_within(patience: Duration, target: &Address) -> Option<TcpStream> {
    tokio::time::timeout(patience, open(target)).await.ok()?
}

async fn open(target: &Address) -> Option<TcpStream> {
    for ip in transport::resolve(&target.host).await.ok()? {
        if let Ok(line) = TcpStream::connect(SocketAddr::new(ip, target.port)).await {
            transport::configure_socket(&line, VANISHED).ok()?;
            return Some(line);
        }
    }
    None
}

/// Returns once the other end is gone. Whatever it sends is not for us.
async fn until_broken(mut line: TcpStream) {
    let mut ignored = [0; 64];
    while line.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

/// How many lifelines there are, and have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lines {
    open: usize,
    ever: u64,
}

/// Takes lifelines.
#[derive(Debug)]
pub struct Taker {
    listener: TcpListener,
    lost_after: Duration,
    dashboard_port: u16,
}

impl Taker {
    pub async fn bind(port: u16, lost_after: Duration, dashboard_port: u16) -> io::Result<Self> {
        // Takes IPv4 too, unless the machine is told otherwise; a machine may also have no IPv6.
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?,
        };
        Ok(Taker {
            listener,
            lost_after,
            dashboard_port,
        })
    }

    /// Returns once nobody needs the scheduler any more, with the reason.
    pub async fn until_lost(self) -> String {
        let (lines, seen) = watch::channel(Lines::default());
        let watching = watch_lines(seen, self.lost_after, self.dashboard_port);
        tokio::select! {
            reason = watching => reason,
            never = take_all(self.listener, lines) => match never {},
        }
    }
}

async fn take_all(listener: TcpListener, lines: watch::Sender<Lines>) -> std::convert::Infallible {
    loop {
        match listener.accept().await {
            Ok((line, _)) if lines.borrow().open < MOST => take(line, lines.clone()),
            Ok(_) => {}
            // Out of descriptors, most likely.
            Err(_) => tokio::time::sleep(LONGEST_PAUSE).await,
        }
    }
}

fn take(line: TcpStream, lines: watch::Sender<Lines>) {
    if transport::configure_socket(&line, VANISHED).is_err() {
        return;
    }
    lines.send_modify(|lines| {
        lines.open += 1;
        lines.ever += 1;
    });
    tokio::spawn(async move {
        until_broken(line).await;
        lines.send_modify(|lines| lines.open -= 1);
    });
}

async fn watch_lines(
    mut lines: watch::Receiver<Lines>,
    lost_after: Duration,
    dashboard_port: u16,
) -> String {
    loop {
        // The first, or the one after which counting began anew.
        let seen = next(&mut lines, |lines| lines.ever > 0 && lines.open == 0).await;
        let again = |lines: &Lines| lines.ever != seen.ever;
        if tokio::time::timeout(lost_after, next(&mut lines, again))
            .await
            .is_ok()
        {
            continue;
        }
        tokio::select! {
            _ = next(&mut lines, again) => {}
            why = idle::not_working(dashboard_port) => return format!(
                "the runner has been gone for {} s and {why}",
                lost_after.as_secs()
            ),
        }
    }
}

/// Waits for something to be true of the lifelines.
async fn next(lines: &mut watch::Receiver<Lines>, holds: impl Fn(&Lines) -> bool) -> Lines {
    match lines.wait_for(holds).await {
        Ok(lines) => *lines,
        // The other half lives as long as this.
        Err(_) => std::future::pending().await,
    }
}
