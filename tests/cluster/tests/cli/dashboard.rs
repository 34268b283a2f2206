//! The status page of a scheduler, through the API server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use crate::scene::with_operator;

const SLEEPS: &str = "
import time

time.sleep(600)
";

/// What a server answers to a browser.
fn answer_of(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .expect("it can be asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_page_of_a_scheduler_is_on_a_port_of_this_machine_for_as_long_as_the_job() {
    with_operator("dashboard", async |scene| {
        let manifest = scene.manifest("page", SLEEPS);
        scene.does(&["submit", &manifest]);
        let mut dashboard = scene.start(&["dashboard", "page", "--port", "0"]);
        let mut line = String::new();
        let mut printed = BufReader::new(dashboard.stdout.take().expect("it is piped"));
        printed.read_line(&mut line).expect("it prints the address");
        let address = line
            .trim()
            .strip_prefix("http://")
            .and_then(|rest| rest.strip_suffix("/status"));
        let address = address.unwrap_or_else(|| panic!("an address: {line:?}"));
        // It runs before it answers.
        cluster::eventually("the page is there", async || {
            answer_of(address, "/health").contains("200 OK")
        })
        .await;
        assert!(answer_of(address, "/status").contains("text/html"));
        assert!(answer_of(address, "/json/counts.json").contains("\"workers\""));

        scene.does(&["cancel", "page"]);
        let ended = dashboard.wait().expect("it ends with the job");
        assert_eq!(ended.code(), Some(0));
    });
}
