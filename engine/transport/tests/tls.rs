//! Encrypted connections: both sides show a certificate of one authority, nobody else gets in.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

mod certificates;

use std::time::Duration;

use certificates::{Authority, settings};
use protocol::Value;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use transport::{
    Connection, Connector, EstablishError, ListenOptions, Listener, Security, TlsSettings,
    TlsVersion,
};

/// One certificate that is its own authority, as `distributed.Security.temporary()` makes.
fn self_signed() -> Security {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["dask-internal".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let settings = settings(certificate.pem(), certificate.pem(), key.serialize_pem());
    Security::tls(&settings).unwrap()
}

async fn connect(
    server: &Security,
    client: &Security,
) -> (
    Result<Connection, String>,
    Result<Connection, EstablishError>,
) {
    let listener = Listener::bind(&ListenOptions::tls("127.0.0.1", 0, server.clone()))
        .await
        .unwrap();
    assert!(listener.listen_address().starts_with("tls://127.0.0.1:"));
    let connector = Connector {
        connect_timeout: Duration::from_millis(500),
        ..Connector::new(client.clone())
    };
    let address = listener.listen_address();
    let (ours, theirs) = tokio::join!(connector.connect(&address), async {
        tokio::time::timeout(Duration::from_secs(5), async {
            listener.accept().await.establish().await
        })
        .await
        .unwrap()
    });
    (ours.map_err(|error| error.to_string()), theirs)
}

#[tokio::test]
async fn peers_of_one_authority_talk() {
    let authority = Authority::new();
    let (server, client) = (
        authority.security("scheduler"),
        authority.security("worker"),
    );
    let (ours, theirs) = connect(&server, &client).await;
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    let message = Value::Bin(vec![5; 3 << 20].into());
    let (sent, received) = tokio::join!(ours.send_value(&message), theirs.recv_value());
    sent.unwrap();
    assert_eq!(received.unwrap().unwrap(), message);
    theirs.send_value(&Value::text("OK")).await.unwrap();
    assert_eq!(ours.recv_value().await.unwrap().unwrap(), Value::text("OK"));
    drop(theirs);
    assert!(ours.recv().await.unwrap().is_none());
}

#[tokio::test]
async fn client_of_another_authority_is_refused() {
    let (_, theirs) = connect(
        &Authority::new().security("a"),
        &Authority::new().security("b"),
    )
    .await;
    assert!(matches!(theirs.unwrap_err(), EstablishError::Tls(_)));
}

#[tokio::test]
async fn server_of_another_authority_is_refused() {
    let (ours, _) = connect(
        &Authority::new().security("a"),
        &Authority::new().security("b"),
    )
    .await;
    assert!(ours.unwrap_err().contains("establish the connection"));
}

#[tokio::test]
async fn self_signed_credentials_shared_by_all_are_enough() {
    let security = self_signed();
    let (ours, theirs) = connect(&security, &security).await;
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    ours.send_value(&Value::Int(1)).await.unwrap();
    assert_eq!(theirs.recv_value().await.unwrap().unwrap(), Value::Int(1));
}

#[tokio::test]
async fn plain_peer_is_refused_and_the_next_is_served() {
    let security = Authority::new().security("a");
    let listener = Listener::bind(&ListenOptions::tls("127.0.0.1", 0, security.clone()))
        .await
        .unwrap();
    let mut plain = TcpStream::connect(("127.0.0.1", listener.port()))
        .await
        .unwrap();
    plain.write_all(&[0; 100]).await.unwrap();
    assert!(matches!(
        listener.accept().await.establish().await.unwrap_err(),
        EstablishError::Tls(_)
    ));
    let connector = Connector::new(security);
    let address = listener.listen_address();
    let (ours, theirs) = tokio::join!(connector.connect(&address), async {
        listener.accept().await.establish().await
    });
    assert!(ours.is_ok() && theirs.is_ok());
}

#[tokio::test]
async fn versions_without_overlap_do_not_meet() {
    let authority = Authority::new();
    let only = |version| {
        let settings = TlsSettings {
            min_version: version,
            max_version: version,
            ..authority.settings("x")
        };
        Security::tls(&settings).unwrap()
    };
    let (ours, theirs) = connect(&only(TlsVersion::Tls12), &only(TlsVersion::Tls13)).await;
    assert!(ours.is_err() && theirs.is_err());
    let (ours, theirs) = connect(&only(TlsVersion::Tls12), &only(TlsVersion::Tls12)).await;
    assert!(ours.is_ok() && theirs.is_ok());
    let none = TlsSettings {
        min_version: TlsVersion::Tls13,
        max_version: TlsVersion::Tls12,
        ..authority.settings("x")
    };
    assert!(
        Security::tls(&none)
            .unwrap_err()
            .to_string()
            .contains("no tls version")
    );
}

#[tokio::test]
async fn required_encryption_refuses_plain_addresses() {
    let security = Authority::new().security("a").requiring_encryption();
    let options = ListenOptions {
        security: security.clone(),
        ..ListenOptions::tcp("127.0.0.1", 0)
    };
    let error = Listener::bind(&options).await.unwrap_err();
    assert!(
        error.to_string().contains("encryption is required"),
        "{error}"
    );
    let error = Connector::new(security)
        .connect("tcp://127.0.0.1:1")
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("encryption is required"),
        "{error}"
    );
    let error = Connector::default()
        .connect("tls://127.0.0.1:1")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no tls credentials"), "{error}");
}

#[test]
fn credentials_are_read_from_files_or_inline_and_faults_are_named() {
    let authority = Authority::new();
    let inline = authority.settings("x");
    let folder = tempfile::tempdir().unwrap();
    let in_file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let files = TlsSettings {
        authority: in_file("ca", &inline.authority),
        certificate: in_file("cert", &inline.certificate),
        key: in_file("key", &inline.key),
        ..inline.clone()
    };
    assert!(Security::tls(&files).unwrap().has_tls());
    let fault = |settings: TlsSettings| Security::tls(&settings).unwrap_err().to_string();
    assert!(
        fault(TlsSettings {
            key: "/no/such".into(),
            ..inline.clone()
        })
        .contains("tls key from /no/such")
    );
    assert!(
        fault(TlsSettings {
            authority: "a\nb".into(),
            ..inline.clone()
        })
        .contains("tls authority holds no")
    );
    assert!(
        fault(TlsSettings {
            key: "a\nb".into(),
            ..inline
        })
        .contains("tls key is not valid PEM")
    );
}
