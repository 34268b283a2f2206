//! Names to IPs without the C library, so that a static binary resolves like any other.
//!
//! IP literals and `localhost` need nothing, then /etc/hosts, then DNS as /etc/resolv.conf says. "Not found" is
//! remembered for a second only: a Kubernetes service may be about to appear.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;

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
    let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
    builder.options_mut().negative_max_ttl = Some(Duration::from_secs(1));
    let resolver = builder.build().map_err(io::Error::other)?;
    Ok(RESOLVER.get_or_init(|| resolver))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
