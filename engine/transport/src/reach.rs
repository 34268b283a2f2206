//! A TCP connection to the first of several addresses that takes one.
//!
//! A packet that meets nobody, such as one to a Service whose address leads nowhere yet, is sent again by the system only after
//! a second, then after two more, then four. So another try begins long before, to the next address if there are several,
//! while the first goes on: whoever is far away may answer it yet. Invariant: tries are few at a time, and end with the caller.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// From one try to the next.
const BETWEEN: Duration = Duration::from_millis(250);
/// The same once so many tries had no answer.
const BETWEEN_LATER: Duration = Duration::from_secs(1);
const MANY: u32 = 20;
/// How long a try goes on.
const LONGEST: Duration = Duration::from_secs(2);

type Outcome = (SocketAddr, io::Result<TcpStream>);

/// Waits as long as an address is silent; fails with the last refusal once all have refused.
pub async fn reach(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut hopeful = addresses.to_vec();
    let mut tries: JoinSet<Outcome> = JoinSet::new();
    let mut refusal = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut begun = 0_u32;
    while let Some(&address) = hopeful.get(begun as usize % hopeful.len().max(1)) {
        tries.spawn(connect(address));
        begun = begun.saturating_add(1);
        match until_next(&mut tries, begun).await {
            Some((_, Ok(stream))) => return Ok(stream),
            Some((address, Err(error))) if error.kind() != io::ErrorKind::TimedOut => {
                hopeful.retain(|hoped| *hoped != address);
                refusal = error;
            }
            Some(_) | None => {}
        }
    }
    // Another try to an address that has refused since may still have come through.
    while let Some(Ok(outcome)) = tries.join_next().await {
        if let (_, Ok(stream)) = outcome {
            return Ok(stream);
        }
    }
    Err(refusal)
}

async fn connect(address: SocketAddr) -> Outcome {
    let outcome = tokio::time::timeout(LONGEST, TcpStream::connect(address)).await;
    let silence = |_| Err(io::ErrorKind::TimedOut.into());
    (address, outcome.unwrap_or_else(silence))
}

/// What comes of a try before it is time for the next, if anything.
async fn until_next(tries: &mut JoinSet<Outcome>, begun: u32) -> Option<Outcome> {
    let pause = if begun < MANY { BETWEEN } else { BETWEEN_LATER };
    let outcome = tokio::time::timeout(pause, tries.join_next()).await;
    outcome.ok().flatten()?.ok()
}

#[cfg(test)]
mod tests {
    use super::reach;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A listener that has as many connections as it takes: packets to it go unanswered.
    async fn silent() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let brief = Duration::from_millis(300);
        while let Ok(taken) = tokio::time::timeout(brief, TcpStream::connect(address)).await {
            waiting.push(taken.unwrap());
        }
        (listener, address, waiting)
    }

    #[tokio::test]
    async fn an_address_that_is_silent_does_not_hide_another() {
        let (_listener, silent, _waiting) = silent().await;
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = other.local_addr().unwrap();
        let reached = tokio::time::timeout(PATIENCE, reach(&[silent, live])).await;
        let stream = reached.expect("the second is tried too").unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
    }

    #[tokio::test]
    async fn an_address_that_begins_to_answer_is_reached() {
        let (listener, address, waiting) = silent().await;
        let reaching = tokio::spawn(async move { reach(&[address]).await });
        tokio::time::sleep(Duration::from_millis(400)).await;
        for _ in &waiting {
            listener.accept().await.unwrap();
        }
        let reached = tokio::time::timeout(PATIENCE, reaching).await;
        assert!(reached.expect("a later try meets it").unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_refusal_of_all_is_told_at_once() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let error = reach(&[address, address]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let error = reach(&[]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
