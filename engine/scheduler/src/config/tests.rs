//! Flags and configuration together, as a user meets them.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Parser;
use protocol::Scheme;

use super::listen::{Binding, DashboardBinding};
use super::{Config, ConfigError, Environment};
use crate::args::SchedulerArgs;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: SchedulerArgs,
}

fn config(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags = ["daskjob-scheduler"].iter().chain(flags);
    let args = Program::try_parse_from(flags)
        .expect("the flags are known")
        .args;
    let mut variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    // No configuration of the machine the test runs on.
    variables.push(("DASK_ROOT_CONFIG".to_owned(), "/nonexistent".to_owned()));
    Config::new(
        &args,
        &Environment {
            variables,
            python_prefix: None,
        },
    )
}

fn refusal(flags: &[&str], variables: &[(&str, &str)]) -> String {
    match config(flags, variables) {
        Ok(_) => panic!("{flags:?} {variables:?} were accepted"),
        Err(error) => error.to_string(),
    }
}

fn tcp(host: &str, ports: RangeInclusive<u16>) -> Binding {
    Binding {
        scheme: Scheme::Tcp,
        host: host.to_owned(),
        ports,
    }
}

#[test]
fn without_flags_everything_is_as_in_dask() {
    let config = config(&[], &[]).unwrap();
    assert_eq!(config.bindings, [tcp("", 8786..=8786)]);
    let everywhere = DashboardBinding {
        host: String::new(),
        port: 8787,
    };
    assert_eq!(config.http.bindings, [everywhere]);
    assert!(config.http.status_page);
    assert_eq!(config.idle_timeout, None);
    let core = config.core();
    let stock = scheduler_core::Config::default();
    assert_eq!(format!("{core:?}"), format!("{stock:?}"));
}

#[test]
fn places_to_listen_follow_from_host_port_interface_and_protocol() {
    for (flags, binding) in [
        (&["--port", "0"][..], tcp("", 0..=0)),
        (&["--port", "8786:8790"], tcp("", 8786..=8790)),
        (&["--host", "127.0.0.1"], tcp("127.0.0.1", 8786..=8786)),
        (
            &["--host", "tcp://127.0.0.1:9000"],
            tcp("127.0.0.1", 9000..=9000),
        ),
        (&["--host", "[::1]:9000"], tcp("::1", 9000..=9000)),
        (&["--host", "::1"], tcp("::1", 8786..=8786)),
        (&["--host", "some-host:0"], tcp("some-host", 0..=0)),
        (&["--interface", "lo"], tcp("127.0.0.1", 8786..=8786)),
        (&["--protocol", "tcp://"], tcp("", 8786..=8786)),
    ] {
        assert_eq!(config(flags, &[]).unwrap().bindings, [binding], "{flags:?}");
    }
}

#[test]
fn several_protocols_have_a_port_each() {
    let tls = [
        "--tls-ca-file",
        "ca",
        "--tls-cert",
        "cert",
        "--tls-key",
        "key",
    ];
    let relaxed = [("DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION", "False")];
    let flags = [&["--protocol", "tcp,tls", "--port", "1000,2000"], &tls[..]].concat();
    let bindings = config(&flags, &relaxed).unwrap().bindings;
    assert_eq!(bindings[0], tcp("", 1000..=1000));
    assert_eq!(bindings[1].scheme, Scheme::Tls);
    assert_eq!(bindings[1].ports, 2000..=2000);
    let flags = [&["--protocol", "tcp,tls", "--port", "1000"], &tls[..]].concat();
    assert!(refusal(&flags, &relaxed).contains("equal length"));
}

#[test]
fn certificates_by_flag_mean_tls() {
    let flags = [
        "--tls-ca-file",
        "ca",
        "--tls-cert",
        "cert",
        "--tls-key",
        "key",
    ];
    let with_flags = config(&flags, &[]).unwrap();
    assert_eq!(with_flags.bindings[0].scheme, Scheme::Tls);
    assert!(with_flags.security.require_encryption);
    assert_eq!(with_flags.security.certificate, Some("cert".to_owned()));
    let unencrypted = [&flags[..], &["--protocol", "tcp"]].concat();
    assert!(refusal(&unencrypted, &[]).contains("require-encryption"));
}

#[test]
fn tls_without_certificates_is_refused_with_the_flags_that_are_missing() {
    assert!(refusal(&["--protocol", "tls"], &[]).contains("--tls-ca-file"));
    assert!(refusal(&["--tls-ca-file", "ca"], &[]).contains("--tls-cert"));
}

#[test]
fn certificates_may_stand_in_the_configuration_as_text() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let variables = [
        ("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", "/etc/ca.pem"),
        ("DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__CERT", pem),
        ("DASK_DISTRIBUTED__COMM__TLS__SCHEDULER__KEY", pem),
        ("DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION", "1.3"),
        ("DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "tls"),
    ];
    let config = config(&[], &variables).unwrap();
    assert_eq!(config.bindings[0].scheme, Scheme::Tls);
    assert_eq!(config.security.certificate, Some(pem.to_owned()));
    assert_eq!(config.security.authority, Some("/etc/ca.pem".to_owned()));
}

#[test]
fn a_flag_wins_over_the_configuration() {
    let variables = [("DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT", "1h")];
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(config(&[], &variables).unwrap().idle_timeout, hour);
    let minutes = config(&["--idle-timeout", "5 minutes"], &variables).unwrap();
    assert_eq!(minutes.idle_timeout, Some(Duration::from_secs(300)));
}

#[test]
fn keys_of_the_environment_reach_the_core() {
    let core = config(
        &[],
        &[
            ("DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "inf"),
            ("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "7"),
            ("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "None"),
            ("DASK_DISTRIBUTED__SCHEDULER__BANDWIDTH", "50MB"),
            (
                "DASK_DISTRIBUTED__SCHEDULER__DEFAULT_TASK_DURATIONS",
                "{'load': '2s'}",
            ),
            ("DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE", "False"),
        ],
    )
    .unwrap()
    .core();
    assert_eq!(core.worker_saturation, f64::INFINITY);
    assert_eq!(core.allowed_failures, 7);
    assert_eq!(core.worker_ttl, None);
    assert_eq!(core.bandwidth, 50e6);
    assert!(
        core.default_task_durations
            .contains(&("load".to_owned(), 2.0))
    );
    assert!(
        core.default_task_durations
            .contains(&("split-stage".to_owned(), 1e-6))
    );
    assert!(!core.memory_terminate);
}

#[test]
fn every_bad_value_is_named_with_its_key_and_origin() {
    let text = refusal(
        &[],
        &[
            ("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "5 lightyears"),
            ("DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION", "0"),
            ("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "many"),
            ("DASK_DISTRIBUTED__SCHEDULER__BANDWIDTH", "-5"),
            ("DASK_DISTRIBUTED__SCHEDULER__VALIDATE", "perhaps"),
            ("DASK_DISTRIBUTED__COMM__TLS__MIN_VERSION", "1.1"),
            ("DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT__X", "1"),
        ],
    );
    for part in [
        "distributed.scheduler.worker-ttl = \"5 lightyears\" (from environment variable DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL)",
        "\"lightyears\" is not a time unit",
        "worker-saturation = 0",
        "allowed-failures = \"many\"",
        "bandwidth = -5",
        "validate = \"perhaps\"",
        "min-version = 1.1",
        "idle-timeout = ",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for (flags, part) in [
        (&["--port", "nine"][..], "--port \"nine\""),
        (&["--port", "70000"], "70000"),
        (&["--port", "9:8"], "9:8"),
        (&["--port", "1", "--host", "h:2"], "give one of them"),
        (&["--protocol", "ucx"], "\"ucx\""),
        (&["--host", "h", "--interface", "lo"], "give one of them"),
        (&["--interface", "no-such-0"], "no-such-0"),
        (&["--dashboard-address", "a:b:c"], "a:b:c"),
        (&["--idle-timeout", "soon"], "--idle-timeout \"soon\""),
        (&["--jupyter"], "Jupyter"),
        (&["--hots", "x"], "--hots"),
        (&["stray"], "stray"),
    ] {
        let text = refusal(flags, &[]);
        assert!(text.contains(part), "{flags:?}: {text}");
    }
}

#[test]
fn dashboard_addresses_are_a_list_of_hosts_and_ports() {
    let bindings = config(
        &["--dashboard-address", ":8787,127.0.0.1:0,9000,[::1]:1"],
        &[],
    )
    .unwrap()
    .http
    .bindings;
    let places: Vec<_> = bindings
        .iter()
        .map(|binding| (binding.host.as_str(), binding.port))
        .collect();
    assert_eq!(
        places,
        [("", 8787), ("127.0.0.1", 0), ("", 9000), ("::1", 1)]
    );
}

#[test]
fn the_http_prefix_has_one_slash_before_it() {
    for (flag, prefix) in [
        ("", ""),
        ("/", ""),
        ("user/x", "/user/x"),
        ("/user/", "/user"),
    ] {
        let config = config(&["--dashboard-prefix", flag], &[]).unwrap();
        assert_eq!(config.http.prefix, prefix);
    }
}

#[test]
fn arguments_of_a_preload_come_last() {
    let flags = [
        "--port",
        "0",
        "--preload",
        "setup.py",
        "--rows",
        "5",
        "--port",
        "x",
    ];
    let config = config(&flags, &[]).unwrap();
    assert_eq!(config.preload, ["setup.py"]);
    assert_eq!(config.preload_argv, ["--rows", "5", "--port", "x"]);
    assert_eq!(config.bindings, [tcp("", 0..=0)]);
}

#[test]
fn of_a_flag_and_its_opposite_the_last_one_counts() {
    assert!(
        !config(&["--dashboard", "--no-dashboard"], &[])
            .unwrap()
            .http
            .status_page
    );
    assert!(
        config(&["--no-dashboard", "--dashboard"], &[])
            .unwrap()
            .http
            .status_page
    );
    assert!(config(&["--jupyter", "--no-jupyter"], &[]).is_ok());
}

#[test]
fn flags_that_have_no_effect_in_dask_are_taken() {
    assert!(config(&["--show", "--no-show", "--use-xheaders", "True"], &[]).is_ok());
}
