//! Kubeconfigs as clouds and companies hand them out: a program gives the credentials, a proxy leads to the cluster.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use contract::yaml;
use serde_json::{Value, json};

use crate::scene::{Scene, without_operator};

/// The administrator's kubeconfig, changed.
fn kubeconfig(
    scene: &Scene<'_>,
    name: &str,
    change: impl FnOnce(&mut Value, &mut Value),
) -> String {
    let text = fs::read_to_string(scene.cluster.kubeconfig()).expect("it can be read");
    let mut config = yaml::parse(&text).expect("it is YAML");
    let (mut cluster, mut user) = (
        config["clusters"][0]["cluster"].take(),
        config["users"][0]["user"].take(),
    );
    change(&mut cluster, &mut user);
    config["clusters"][0]["cluster"] = cluster;
    config["users"][0]["user"] = user;
    scene.write(name, &config.to_string())
}

/// A user whose credentials a script gives; it notes each time that it is run.
fn by_script(scene: &Scene<'_>, name: &str, script: &str) -> String {
    let noted = format!("#!/bin/sh\necho run >> {name}.runs\n{script}\n");
    let script = scene.write(&format!("{name}.sh"), &noted);
    kubeconfig(scene, name, |_, user| {
        *user = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": [script],
            "interactiveMode": "IfAvailable",
        }});
    })
}

fn runs(scene: &Scene<'_>, name: &str) -> usize {
    let noted = scene.directory().join(format!("{name}.runs"));
    fs::read_to_string(noted)
        .unwrap_or_default()
        .lines()
        .count()
}

/// A script that answers with these credentials.
fn gives(status: &Value) -> String {
    let answer = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": status,
    });
    format!("cat <<'END'\n{answer}\nEND")
}

#[test]
fn a_program_gives_a_token_and_is_run_once() {
    without_operator("exec-token", async |scene| {
        let namespace = scene.namespace();
        let kubectl = |arguments: &[&str]| {
            let all = [arguments, &["--namespace", namespace]].concat();
            scene.cluster.kubectl(&all, "").expect_success()
        };
        let role = [
            "create",
            "role",
            "reads",
            "--verb=list,get",
            "--resource=daskjobs.daskjob.dev",
        ];
        kubectl(&role);
        let account = format!("--serviceaccount={namespace}:default");
        kubectl(&["create", "rolebinding", "reads", "--role=reads", &account]);
        let token = kubectl(&["create", "token", "default"]);
        let given =
            gives(&json!({"token": token.trim(), "expirationTimestamp": "2200-01-01T00:00:00Z"}));
        let config = by_script(scene, "token", &given);
        let (_, said) = scene.does(&["list", "--kubeconfig", &config]);
        assert!(said.contains("there is no job in namespace"), "{said}");
        assert_eq!(runs(scene, "token"), 1);
        // It is the token's user that asks.
        let manifest = scene.manifest("not-mine", "print(1)");
        let (code, answer) = scene.daskjob(&["submit", &manifest, "--kubeconfig", &config]);
        assert_eq!(code, 70, "{answer:#?}");
        let whose = format!("system:serviceaccount:{namespace}:default");
        assert!(answer.stderr.contains(&whose), "{answer:#?}");
    });
}

#[test]
fn a_program_gives_a_certificate() {
    without_operator("exec-certificate", async |scene| {
        let text = fs::read_to_string(scene.cluster.kubeconfig()).expect("it can be read");
        let admin = yaml::parse(&text).expect("it is YAML")["users"][0]["user"].take();
        let file = |field: &str| {
            let path = admin[field].as_str().expect("a path");
            fs::read_to_string(path).expect("it can be read")
        };
        let given = gives(&json!({
            "clientCertificateData": file("client-certificate"),
            "clientKeyData": file("client-key"),
        }));
        let config = by_script(scene, "certificate", &given);
        let manifest = scene.manifest("mine", "print(1)");
        let (name, _) = scene.does(&["submit", &manifest, "--kubeconfig", &config]);
        assert_eq!(name, "mine\n");
        assert_eq!(runs(scene, "certificate"), 1);
    });
}

#[test]
fn a_program_that_gives_no_credentials_is_told_with_its_words_and_a_remedy() {
    without_operator("exec-fails", async |scene| {
        let failing = "echo 'your session has ended, run cloud login' >&2; exit 3";
        let config = by_script(scene, "failing", failing);
        let (code, answer) = scene.daskjob(&["list", "--kubeconfig", &config]);
        assert_eq!(code, 70, "{answer:#?}");
        for told in [
            "failing.sh`, ended with exit code 3",
            "your session has ended, run cloud login",
            "remedy: log in to your cluster once more",
        ] {
            assert!(answer.stderr.contains(told), "{told}: {}", answer.stderr);
        }
        let missing = kubeconfig(scene, "missing", |_, user| {
            *user = json!({"exec": {
                "apiVersion": "client.authentication.k8s.io/v1",
                "command": "no-such-login",
                "installHint": "get no-such-login from the intranet",
            }});
        });
        let (code, answer) = scene.daskjob(&["list", "--kubeconfig", &missing]);
        assert_eq!(code, 70, "{answer:#?}");
        let hint = "remedy: get no-such-login from the intranet";
        assert!(answer.stderr.contains(hint), "{}", answer.stderr);
    });
}

/// A proxy on loopback that leads to whom it is asked for, and notes what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// `answer` is what it says to each who asks to be led on; only to 200 it does.
    fn start(answer: &'static str) -> Self {
        // The cluster's network namespace is this thread's, and so its children's.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                // Whoever breaks off has had enough.
                thread::spawn(move || lead(stream, answer, &noted).ok());
            }
        });
        Proxy { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

fn lead(client: TcpStream, answer: &str, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    asked
        .lock()
        .expect("nobody panics with it")
        .push(first.trim().to_owned());
    write!(&client, "HTTP/1.1 {answer}\r\n\r\n")?;
    let place = first.split_whitespace().nth(1).unwrap_or_default();
    if !answer.starts_with("200") {
        return Ok(());
    }
    let server = TcpStream::connect(place)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    io::copy(&mut reader, &mut &server)?;
    server.shutdown(Shutdown::Write)
}

fn through(scene: &Scene<'_>, name: &str, proxy: SocketAddr) -> String {
    kubeconfig(scene, name, |cluster, _| {
        cluster["proxy-url"] = json!(format!("http://{proxy}"));
    })
}

#[test]
fn the_proxy_of_a_kubeconfig_leads_to_the_cluster() {
    without_operator("proxy", async |scene| {
        let proxy = Proxy::start("200 OK");
        let config = through(scene, "proxied", proxy.address);
        let manifest = scene.manifest("led", "print(1)");
        let (name, _) = scene.does(&["submit", &manifest, "--kubeconfig", &config]);
        assert_eq!(name, "led\n");
        let (listed, _) = scene.does(&["list", "--kubeconfig", &config]);
        assert!(listed.contains("led"), "{listed}");
        let asked = proxy.asked();
        assert!(
            asked.len() >= 2
                && asked
                    .iter()
                    .all(|line| line.starts_with("CONNECT 127.0.0.1:")),
            "{asked:?}"
        );
    });
}

#[test]
fn a_proxy_that_does_not_lead_there_is_told_with_where_it_stands() {
    without_operator("no-proxy", async |scene| {
        let proxy = Proxy::start("403 Forbidden");
        let config = through(scene, "closed", proxy.address);
        let (code, answer) = scene.daskjob(&["list", "--kubeconfig", &config]);
        assert_eq!(code, 70, "{answer:#?}");
        assert!(!proxy.asked().is_empty());
        for told in [
            "the cluster cannot be reached",
            "proxy-url of the kubeconfig",
        ] {
            assert!(answer.stderr.contains(told), "{told}: {}", answer.stderr);
        }
    });
}
