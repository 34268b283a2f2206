//! Names to IPs without the C library, so that a static binary resolves like any other.
//!
//! IP literals and `localhost` need nothing, then /etc/hosts, then DNS as /etc/resolv.conf says. "Not found" is
//! remembered for a second only: a Kubernetes service may be about to appear. A name of four parts or more is asked for as
//! it is before anything is appended: the full name of a service is, and its pod's search list has many lines.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

type Builder = ResolverBuilder<TokioRuntimeProvider>;

/// A name with so many dots is tried as it is first, whatever `ndots` in /etc/resolv.conf says (5 on Kubernetes).
const DOTS_OF_FULL_NAME: usize = 3;

#[derive(Debug, thiserror::Error)]
#[error("resolve host name {host}: {reason}")]
pub struct ResolveError {
    pub host: String,
    reason: String,
}

/// All IPs of a host, IPv4 first.
pub async fn resolve(host: &str) -> Result<Vec<IpAddr>, ResolveError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![ip]);
    }
    let mut addresses = std::fs::read_to_string("/etc/hosts")
        .map(|text| in_hosts(&text, host))
        .unwrap_or_default();
    if addresses.is_empty() && is_localhost(host) {
        addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    if addresses.is_empty() {
        addresses = by_dns(host).await.map_err(|reason| ResolveError {
            host: host.into(),
            reason,
        })?;
    }
    addresses.sort_by_key(IpAddr::is_ipv6);
    Ok(addresses)
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// The IPs that lines such as `10.0.0.1 name alias # comment` give for a name.
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words
                .any(|name| name.eq_ignore_ascii_case(host))
                .then_some(ip)
        })
        .collect()
}

async fn by_dns(host: &str) -> Result<Vec<IpAddr>, String> {
    let resolver = resolver().map_err(|error| format!("read resolver configuration: {error}"))?;
    lookup(resolver, host).await
}

async fn lookup(resolver: &TokioResolver, host: &str) -> Result<Vec<IpAddr>, String> {
    let found = resolver
        .lookup_ip(host)
        .await
        .map_err(|error| error.to_string())?;
    let addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() {
        Err("no address found".into())
    } else {
        Ok(addresses)
    }
}

fn resolver() -> io::Result<&'static TokioResolver> {
    static RESOLVER: OnceLock<TokioResolver> = OnceLock::new();
    if let Some(resolver) = RESOLVER.get() {
        return Ok(resolver);
    }
    let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    let resolver = build(builder).map_err(io::Error::other)?;
    Ok(RESOLVER.get_or_init(|| resolver))
}

fn build(mut builder: Builder) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.negative_max_ttl = Some(Duration::from_secs(1));
    options.ndots = options.ndots.min(DOTS_OF_FULL_NAME);
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::proto::rr::Name;

    #[test]
    fn hosts_file_gives_every_line_of_a_name() {
        let text =
            "127.0.0.1 localhost\n# 1.2.3.4 db\n10.0.0.1 db db.local # main\n::1 LOCALHOST db\n";
        assert_eq!(
            in_hosts(text, "db"),
            [
                "10.0.0.1".parse::<IpAddr>().unwrap(),
                "::1".parse().unwrap()
            ]
        );
        assert_eq!(in_hosts(text, "main"), Vec::<IpAddr>::new());
    }

    #[tokio::test]
    async fn localhost_and_literals_need_no_server() {
        assert!(
            resolve("localhost")
                .await
                .unwrap()
                .contains(&Ipv4Addr::LOCALHOST.into())
        );
        assert_eq!(
            resolve("10.1.2.3").await.unwrap(),
            ["10.1.2.3".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            resolve("::1").await.unwrap(),
            ["::1".parse::<IpAddr>().unwrap()]
        );
    }

    /// A name server on loopback for one name, which it knows from its third question for an IPv4 address on.
    async fn late_name_server(name: &'static str, ip: [u8; 4]) -> std::net::SocketAddr {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut question = [0; 512];
            let mut asked = 0;
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let (asks_for, kind, end) = read_question(&question[..length]);
                let is_name = asks_for.eq_ignore_ascii_case(name) && kind == 1;
                asked += usize::from(is_name);
                let known = is_name && asked >= 3;
                let mut reply = question[..2].to_vec();
                reply.extend([0x81, if known { 0x80 } else { 0x83 }]);
                reply.extend([0, 1, 0, u8::from(known), 0, u8::from(!known), 0, 0]);
                reply.extend(&question[12..end]);
                if known {
                    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                    reply.extend(ip);
                } else {
                    // A start of authority that would have "not found" remembered for five minutes.
                    reply.extend([0, 0, 6, 0, 1, 0, 0, 1, 44, 0, 22, 0, 0]);
                    reply.extend([0; 16]);
                    reply.extend([0, 0, 1, 44]);
                }
                socket.send_to(&reply, from).await.unwrap();
            }
        });
        address
    }

    /// Name, kind and end of the first question of a DNS message.
    fn read_question(message: &[u8]) -> (String, u16, usize) {
        let (mut at, mut labels) = (12, Vec::new());
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            labels.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
            at = end;
        }
        let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
        (labels.join("."), kind, at + 5)
    }

    #[tokio::test]
    async fn a_service_that_appears_later_is_found_through_the_search_list() {
        let server = late_name_server("jobs-scheduler.team.svc.cluster.local", [10, 9, 8, 7]).await;
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let servers = vec![NameServerConfig::new(server.ip(), true, vec![connection])];
        let search = ["team.svc.cluster.local.", "svc.cluster.local."];
        let search = search.map(|domain| Name::from_ascii(domain).unwrap());
        let config = ResolverConfig::from_parts(None, search.to_vec(), servers);
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ndots = 5;
        let resolver = build(builder).unwrap();

        lookup(&resolver, "jobs-scheduler").await.unwrap_err();
        let mut found = lookup(&resolver, "jobs-scheduler").await;
        for _ in 0..100 {
            if found.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = lookup(&resolver, "jobs-scheduler").await;
        }
        assert_eq!(found, Ok(vec![IpAddr::from([10, 9, 8, 7])]));
    }
}
