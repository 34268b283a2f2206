//! Which proxy leads to a cluster: the one its kubeconfig names, else the environment's, by the rules of kubectl. Pure.

use crate::problem::Problem;
use http::Uri;
use std::net::IpAddr;

/// What the environment says of proxies.
#[derive(Debug, Clone, Default)]
pub struct ProxyVariables {
    pub https: Option<String>,
    pub http: Option<String>,
    pub none: Option<String>,
}

/// The proxy for a server; none where it is to be reached directly.
pub fn proxy_for(
    server: &Uri,
    of_kubeconfig: Option<&str>,
    variables: &ProxyVariables,
) -> Result<Option<Uri>, Problem> {
    let set = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
    if let Some(own) = set(of_kubeconfig) {
        return read(&own).map(Some);
    }
    let of_scheme = match server.scheme_str() {
        Some("http") => &variables.http,
        Some(_) | None => &variables.https,
    };
    match set(of_scheme.as_deref()) {
        Some(proxy) if !is_direct(server, variables.none.as_deref().unwrap_or_default()) => {
            read(&proxy).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

fn read(text: &str) -> Result<Uri, Problem> {
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    with_scheme.parse().map_err(|error| {
        Problem::refused(
            format!("the proxy \"{text}\" is no address: {error}"),
            "correct proxy-url in the kubeconfig or $HTTPS_PROXY, such as http://proxy:3128",
        )
    })
}

/// Whether a list of exceptions names the server. This machine itself always is one.
fn is_direct(server: &Uri, exceptions: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let port = server.port_u16();
    exceptions
        .split(',')
        .map(str::trim)
        .filter(|exception| !exception.is_empty())
        .any(|exception| names(exception, host, address, port))
}

fn names(exception: &str, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
    if exception == "*" {
        return true;
    }
    if let Some((network, length)) = exception.split_once('/') {
        let (network, length) = (network.parse().ok(), length.parse().ok());
        return address
            .zip(network)
            .zip(length)
            .is_some_and(|((address, network), length)| is_inside(address, network, length));
    }
    let (name, of_port) = match exception.rsplit_once(':') {
        Some((name, number)) if !name.contains(':') => (name, number.parse().ok()),
        Some(_) | None => (exception, None),
    };
    if of_port.is_some() && of_port != port {
        return false;
    }
    let host = host.to_ascii_lowercase();
    let name = name.trim_start_matches('*').to_ascii_lowercase();
    match name.strip_prefix('.') {
        Some(domain) => host.ends_with(&format!(".{domain}")),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn is_inside(address: IpAddr, network: IpAddr, length: u32) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((address, width), (network, of_network)) = (bits(address), bits(network));
    width == of_network
        && length <= width
        && (length == 0 || (address ^ network) >> (width - length) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, of_kubeconfig: Option<&str>, none: &str) -> Option<String> {
        let variables = ProxyVariables {
            https: Some("proxy:3128".to_owned()),
            http: None,
            none: Some(none.to_owned()),
        };
        let found = proxy_for(&server.parse().unwrap(), of_kubeconfig, &variables).unwrap();
        found.map(|uri| uri.to_string())
    }

    #[test]
    fn the_kubeconfigs_own_proxy_wins_and_knows_no_exceptions() {
        let own = proxy("https://api.example:6443", Some("socks5://own:1080"), "*");
        assert_eq!(own.as_deref(), Some("socks5://own:1080/"));
        let of_environment = proxy("https://api.example:6443", None, "");
        assert_eq!(of_environment.as_deref(), Some("http://proxy:3128/"));
        assert_eq!(proxy("http://api.example", None, ""), None);
    }

    #[test]
    fn exceptions_are_names_domains_addresses_and_networks() {
        for (server, none) in [
            ("https://api.example", "*"),
            ("https://api.example", "other, api.example"),
            ("https://api.example", ".example"),
            ("https://api.example", "example"),
            ("https://api.example:6443", "api.example:6443"),
            ("https://10.1.2.3:6443", "10.1.2.3"),
            ("https://10.1.2.3:6443", "10.0.0.0/8"),
            ("https://[fd00::1]:6443", "fd00::/8"),
            ("https://127.0.0.1:6443", ""),
            ("https://localhost:6443", ""),
        ] {
            assert_eq!(proxy(server, None, none), None, "{server} {none}");
        }
        for (server, none) in [
            ("https://api.example", "pi.example"),
            ("https://example", ".example"),
            ("https://api.example:6443", "api.example:443"),
            ("https://11.1.2.3", "10.0.0.0/8"),
        ] {
            assert!(proxy(server, None, none).is_some(), "{server} {none}");
        }
    }

    #[test]
    fn a_proxy_that_is_no_address_is_refused() {
        let server = "https://api.example".parse().unwrap();
        assert!(proxy_for(&server, Some("http://a b"), &ProxyVariables::default()).is_err());
    }
}
