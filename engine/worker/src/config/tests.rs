//! Flags and configuration together, as a user meets them.

use super::{Config, ConfigError, Environment, Lifetime, SchedulerAt};
use crate::args::WorkerArgs;
use clap::Parser;
use std::time::Duration;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    args: WorkerArgs,
}

fn config(flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let flags = ["daskjob-worker"].iter().chain(flags);
    let args = Program::try_parse_from(flags)
        .expect("the flags are known")
        .args;
    let mut variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    // No configuration of the machine the test runs on.
    variables.push(("DASK_ROOT_CONFIG".to_owned(), "/nonexistent".to_owned()));
    let environment = Environment {
        variables,
        python_prefix: None,
    };
    Config::new(&args, "/bin/python".into(), &environment)
}

fn refusal(flags: &[&str], variables: &[(&str, &str)]) -> String {
    match config(flags, variables) {
        Ok(_) => panic!("{flags:?} {variables:?} were accepted"),
        Err(error) => error.to_string(),
    }
}

const HERE: &str = "tcp://127.0.0.1:9";

#[test]
fn without_flags_everything_is_as_in_dask() {
    let config = config(&[HERE], &[]).unwrap();
    assert_eq!((config.workers, config.nanny), (1, true));
    assert_eq!(config.memory.target, Some(0.6));
    assert_eq!(config.memory.terminate, Some(0.95));
    assert_eq!(
        (config.outgoing_connections, config.incoming_connections),
        (50, 10)
    );
    assert_eq!(config.hang_timeout, Some(Duration::from_secs(300)));
    assert_eq!(config.lifetime, None);
    assert!(config.tls.is_none() && config.resources.is_empty());
    assert!(config.file_locks);
}

#[test]
fn the_scheduler_is_named_by_argument_file_or_configuration() {
    let at = |flags: &[&str], variables: &[(&str, &str)]| {
        config(flags, variables).map(|config| match config.scheduler {
            SchedulerAt::Address(address) => address,
            SchedulerAt::File(file) => file.display().to_string(),
        })
    };
    let variable = [("DASK_SCHEDULER_ADDRESS", "tcp://a:1")];
    assert_eq!(at(&["b:2"], &variable).unwrap(), "tcp://b:2");
    assert_eq!(at(&["--scheduler-file", "c"], &variable).unwrap(), "c");
    assert_eq!(at(&[], &variable).unwrap(), "tcp://a:1");
    assert!(refusal(&[], &[]).contains("--scheduler-file"));
}

#[test]
fn a_flag_wins_over_the_configuration() {
    let variables = [
        ("DASK_DISTRIBUTED__WORKER__RESOURCES__GPU", "2"),
        ("DASK_DISTRIBUTED__WORKER__PRELOAD", "['one', 'two']"),
        ("DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION", "1h"),
        ("DASK_DISTRIBUTED__WORKER__LIFETIME__STAGGER", "1 minute"),
        ("DASK_DISTRIBUTED__WORKER__LIFETIME__RESTART", "true"),
        ("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "20s"),
    ];
    let seconds = Duration::from_secs;
    let configured = config(&[HERE], &variables).unwrap();
    assert_eq!(configured.resources, [("gpu".into(), 2.0)]);
    assert_eq!(configured.preload, ["one", "two"]);
    assert_eq!(configured.hang_timeout, Some(seconds(20)));
    let lifetime = Lifetime {
        duration: seconds(3600),
        stagger: seconds(60),
        restart: true,
    };
    assert_eq!(configured.lifetime, Some(lifetime));
    let flags = [
        HERE,
        "--resources",
        "MEM=1e9",
        "--lifetime",
        "5s",
        "--lifetime-stagger",
        "1s",
        "--no-lifetime-restart",
        "--hang-timeout",
        "0",
        "--preload",
        "three",
    ];
    let by_flag = config(&flags, &variables).unwrap();
    assert_eq!(by_flag.resources, [("MEM".into(), 1e9)]);
    assert_eq!(
        (by_flag.preload, by_flag.hang_timeout),
        (vec!["three".to_owned()], None)
    );
    let lifetime = Lifetime {
        duration: seconds(5),
        stagger: seconds(1),
        restart: false,
    };
    assert_eq!(by_flag.lifetime, Some(lifetime));
}

#[test]
fn a_listen_address_is_where_it_listens_and_the_contact_address_what_is_told() {
    let flags = [
        HERE,
        "--listen-address",
        "tcp://0.0.0.0:4000",
        "--contact-address",
        "tcp://10.0.0.1:5000",
    ];
    let config = config(&flags, &[]).unwrap();
    assert_eq!(config.host.as_deref(), Some("0.0.0.0"));
    assert_eq!(config.worker_ports, 4000..=4000);
    assert_eq!(
        config.contact_address.as_deref(),
        Some("tcp://10.0.0.1:5000")
    );
    for other in [
        &["--worker-port", "1"][..],
        &["--host", "h"],
        &["--nworkers", "2"],
    ] {
        let flags = [&[HERE, "--listen-address", "tcp://:4000"], other].concat();
        assert!(refusal(&flags, &[]).contains(other[0]), "{other:?}");
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (flags, part) in [
        (
            &["--listen-address", "here"][..],
            "--listen-address \"here\"",
        ),
        (&["--contact-address", "x:y:z"], "--contact-address"),
        (&["--worker-port", "9:8"], "--worker-port \"9:8\""),
        (&["--nworkers", "many"], "--nworkers \"many\""),
        (&["--nworkers", "2", "--no-nanny"], "--no-nanny"),
        (&["--memory-limit", "much"], "--memory-limit \"much\""),
        (&["--lifetime", "soon"], "--lifetime \"soon\""),
        (&["--worker-class", "mine.Worker"], "--worker-class"),
        (&["--tls-cert", "c"], "--tls-ca-file"),
        (&["stray"], "stray"),
    ] {
        let flags = [&[HERE], flags].concat();
        let text = refusal(&flags, &[]);
        assert!(text.contains(part), "{flags:?}: {text}");
    }
}

#[test]
fn stocks_own_class_is_accepted() {
    assert!(config(&[HERE, "--worker-class", "distributed.Worker"], &[]).is_ok());
}

#[test]
fn every_bad_value_is_named_with_its_key_and_origin() {
    let text = refusal(
        &[HERE],
        &[
            ("DASK_DISTRIBUTED__WORKER__MEMORY__TARGET", "2"),
            ("DASK_DISTRIBUTED__WORKER__CONNECTIONS__OUTGOING", "some"),
        ],
    );
    assert!(
        text.contains("memory.target = 2 (from environment variable"),
        "{text}"
    );
    assert!(text.contains("connections.outgoing = \"some\""), "{text}");
}

#[test]
fn memory_thresholds_can_be_switched_off() {
    let variables = [
        ("DASK_DISTRIBUTED__WORKER__MEMORY__SPILL", "False"),
        ("DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE", "0"),
        ("DASK_DISTRIBUTED__WORKER__MEMORY__MAX_SPILL", "1 GiB"),
    ];
    let memory = config(&[HERE], &variables).unwrap().memory;
    assert_eq!((memory.spill, memory.terminate), (None, None));
    assert_eq!(memory.max_spill_bytes, Some(1 << 30));
}

#[test]
fn variables_for_the_python_process_give_way_to_those_that_are_set() {
    let variables = [
        (
            "DASK_DISTRIBUTED__NANNY__ENVIRON",
            "{'COLOUR': 'red', 'SIZE': 3}",
        ),
        ("SIZE", "4"),
    ];
    let environment = config(&[HERE], &variables).unwrap().environment;
    assert_eq!(environment, [("COLOUR".to_owned(), "red".to_owned())]);
}
