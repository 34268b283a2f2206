//! Visitors of every kind, over real sockets.

use super::{BoundListener, Bounds, bind, serve};
use crate::config::HttpConfig;
use crate::config::dask::DashboardTls;
use crate::config::listen::DashboardBinding;
use axum::Router;
use axum::routing::get;
use rcgen::{CertificateParams, KeyPair};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

fn config(port: u16, tls: DashboardTls) -> HttpConfig {
    HttpConfig {
        bindings: vec![DashboardBinding {
            host: "127.0.0.1".to_owned(),
            port,
        }],
        tls,
        status_page: true,
        prefix: String::new(),
    }
}

async fn bound(port: u16) -> BoundListener {
    let mut listeners = bind(&config(port, DashboardTls::default())).await.unwrap();
    listeners.remove(0)
}

/// Starts a server and says at which port.
fn start(listener: BoundListener, bounds: Bounds) -> u16 {
    let port = listener.port();
    let router = Router::new().route("/health", get(|| async { "ok" }));
    tokio::spawn(serve(listener, router, bounds));
    port
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> String {
    stream.write_all(REQUEST).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    // A TLS peer may leave without saying so.
    let _left = timeout(PATIENCE, read).await.unwrap();
    answer
}

#[tokio::test]
async fn a_busy_port_is_replaced_by_a_free_one() {
    let first = bound(0).await;
    let second = bound(first.port()).await;
    assert_ne!(first.port(), second.port());
    let port = start(second, Bounds::default());
    assert!(ask(connect(port).await).await.ends_with("ok"));
}

#[tokio::test]
async fn a_visitor_who_never_finishes_a_request_is_sent_away() {
    let bounds = Bounds {
        head_timeout: Duration::from_millis(100),
        ..Bounds::default()
    };
    let port = start(bound(0).await, bounds);
    let mut slow = connect(port).await;
    slow.write_all(b"GET /health HTTP/1.1\r\nX: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    assert!(!rest.ends_with(b"ok"));
}

#[tokio::test]
async fn visitors_beyond_the_bound_wait_for_their_turn() {
    let bounds = Bounds {
        visitors: 1,
        head_timeout: Duration::from_millis(300),
        ..Bounds::default()
    };
    let port = start(bound(0).await, bounds);
    let _idle = connect(port).await;
    let second = connect(port).await;
    let answer = ask(second);
    // The idle visitor is sent away in time, and then the second one has his turn.
    assert!(answer.await.ends_with("ok"));
}

#[tokio::test]
async fn nobody_stays_for_ever() {
    let bounds = Bounds {
        longest_visit: Duration::from_millis(200),
        goodbye: Duration::from_millis(100),
        ..Bounds::default()
    };
    let port = start(bound(0).await, bounds);
    let mut visitor = connect(port).await;
    visitor
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut everything = Vec::new();
    timeout(PATIENCE, visitor.read_to_end(&mut everything))
        .await
        .unwrap()
        .unwrap();
    assert!(everything.ends_with(b"ok"));
}

#[tokio::test]
async fn with_a_certificate_the_answer_is_encrypted() {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let tls = DashboardTls {
        certificate: Some(certificate.pem()),
        key: Some(key.serialize_pem()),
    };
    let listener = bind(&config(0, tls)).await.unwrap().remove(0);
    let port = start(listener, Bounds::default());

    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(certificate.der().to_vec()))
        .unwrap();
    let client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = connector.connect(name, connect(port).await).await.unwrap();
    assert!(ask(stream).await.ends_with("ok"));
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_names_the_setting() {
    let tls = DashboardTls {
        certificate: Some("/nonexistent/cert.pem".to_owned()),
        ..DashboardTls::default()
    };
    let error = bind(&config(0, tls))
        .await
        .err()
        .map(|error| format!("{error:#}"));
    let error = error.unwrap_or_default();
    assert!(
        error.contains("dashboard.tls") && error.contains("/nonexistent/cert.pem"),
        "{error}"
    );
}
