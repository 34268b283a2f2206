//! Socket options that every connection has, with the numbers of stock Dask.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// A dead peer is noticed after this long (`distributed.comm.timeouts.tcp`).
pub const DEFAULT_TCP_TIMEOUT: Duration = Duration::from_secs(30);

const PROBES: u64 = 10;
/// Within a host no network is shared with anybody. Algorithms that pace what they send cost a timer for each piece there; this
/// one does not, and is there and allowed on every Linux.
const WITHIN_A_HOST: &[u8] = b"reno";

/// Sends small messages at once and notices peers that vanished.
pub fn configure(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let seconds = timeout.as_secs().max(PROBES + 1);
    let interval = ((seconds - (seconds / 4).max(2)) / PROBES).max(1);
    let idle = seconds - interval * PROBES;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(idle))
        .with_interval(Duration::from_secs(interval))
        .with_retries(PROBES as u32);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(seconds)))?;
    if stream.local_addr()?.ip() == stream.peer_addr()?.ip() {
        // Any other does as well, only slower.
        let _kept = socket.set_tcp_congestion(WITHIN_A_HOST);
    }
    Ok(())
}
