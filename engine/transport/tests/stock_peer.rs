//! Talks to `distributed.comm` itself. Needs an interpreter that has it in DASKJOB_PYTHON; says so and passes without.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

mod certificates;

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use certificates::Authority;
use protocol::{Payload, Value, array, map};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use transport::{Connection, Connector, ListenOptions, Listener, Security, TlsSettings};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Python process: `listen` echoes and prints its address, `connect ADDRESS` sends and checks the echo.
const PEER: &str = include_str!("stock_peer.py");

fn python(arguments: &[&str], tls: Option<&TlsSettings>) -> Option<Child> {
    let Some(python) = std::env::var_os("DASKJOB_PYTHON") else {
        println!("skipped: DASKJOB_PYTHON names no interpreter with distributed");
        return None;
    };
    let mut command = Command::new(python);
    command
        .args(["-c", PEER])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    if let Some(tls) = tls {
        command
            .env("PEER_CA", &tls.authority)
            .env("PEER_CERT", &tls.certificate)
            .env("PEER_KEY", &tls.key);
    }
    Some(command.spawn().unwrap())
}

async fn first_line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    tokio::time::timeout(PATIENCE, lines.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

fn message() -> Value {
    let big = Payload::serialized_pickle(Bytes::from(
        [&b"\x80\x04B\0\0\x20\0"[..], &vec![7; 2 << 20], b"."].concat(),
    ));
    map! {
        "op" => "echo", "text" => "é\u{1f642}", "list" => array![1, -1, 1.5, Value::Nil, true],
        "payload" => Value::Serialized(big), "bytes" => Bytes::from_static(b"\0\xff"),
    }
}

async fn echo_through(mut connection: Connection) {
    for _ in 0..3 {
        connection.send_value(&message()).await.unwrap();
        let echoed = tokio::time::timeout(PATIENCE, connection.recv_value())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(echoed, message());
    }
    connection.send_value(&Value::text("bye")).await.unwrap();
    assert!(
        tokio::time::timeout(PATIENCE, connection.recv())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
}

async fn we_connect(security: Security, tls: Option<TlsSettings>) {
    let protocol = if tls.is_some() { "tls" } else { "tcp" };
    let Some(mut peer) = python(&["listen", protocol], tls.as_ref()) else {
        return;
    };
    let address = first_line(&mut peer).await;
    assert!(address.starts_with(protocol), "{address}");
    let connection = Connector::new(security).connect(&address).await.unwrap();
    assert_eq!(connection.info.handshake.pickle_protocol, 4);
    echo_through(connection).await;
    peer.stdin.take().unwrap().shutdown().await.unwrap();
    assert!(peer.wait().await.unwrap().success());
}

async fn they_connect(options: ListenOptions, tls: Option<TlsSettings>) {
    let listener = Listener::bind(&options).await.unwrap();
    let Some(mut peer) = python(&["connect", &listener.listen_address()], tls.as_ref()) else {
        return;
    };
    let connection = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .establish()
        .await
        .unwrap();
    assert_eq!(connection.info.handshake.pickle_protocol, 4);
    let (mut reader, mut writer, _) = connection.split();
    while let Some(frames) = tokio::time::timeout(PATIENCE, reader.recv())
        .await
        .unwrap()
        .unwrap()
    {
        writer.send(&frames).await.unwrap();
    }
    assert_eq!(first_line(&mut peer).await, "fine");
    assert!(peer.wait().await.unwrap().success());
}

#[tokio::test]
async fn stock_listener_understands_us() {
    we_connect(Security::none(), None).await;
}

#[tokio::test]
async fn stock_connector_understands_us() {
    they_connect(ListenOptions::tcp("127.0.0.1", 0), None).await;
}

#[tokio::test]
async fn stock_listener_understands_us_over_tls() {
    let authority = Authority::new();
    we_connect(
        authority.security("ours"),
        Some(authority.settings("theirs")),
    )
    .await;
}

#[tokio::test]
async fn stock_connector_understands_us_over_tls() {
    let authority = Authority::new();
    let options = ListenOptions::tls("127.0.0.1", 0, authority.security("ours"));
    they_connect(options, Some(authority.settings("theirs"))).await;
}
