//! The meaning of single flags.

use super::dask::{CommConfig, LifetimeConfig};
use super::{ConfigError, Lifetime, SchedulerAt, TlsFiles, wrong};
use crate::args::WorkerArgs;
use configuration::units;
use protocol::Address;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transport::{Security, TlsSettings};

/// Classes by which stock's own worker is meant.
const OWN_CLASSES: [&str; 3] = [
    "dask.distributed.Worker",
    "distributed.Worker",
    "distributed.worker.Worker",
];

pub fn refuse_unserved(args: &WorkerArgs) -> Result<(), ConfigError> {
    let class = args.worker_class.as_deref();
    if class.is_some_and(|class| !OWN_CLASSES.contains(&class)) {
        return Err(ConfigError::NotServed {
            flag: "--worker-class",
            remedy: "this worker is no Python class; a worker plugin or --preload changes what tasks see, and stock `dask worker` has classes",
        });
    }
    if args.preload.is_empty() && !args.preload_argv.is_empty() {
        return Err(ConfigError::Flag {
            flag: "the extra argument",
            value: args.preload_argv[0].clone(),
            reason: "arguments for a preloaded module need --preload before them, and --help shows the flags".to_owned(),
        });
    }
    Ok(())
}

pub fn scheduler(args: &WorkerArgs, configured: Option<&str>) -> Result<SchedulerAt, ConfigError> {
    if let Some(address) = &args.scheduler {
        return Ok(SchedulerAt::Address(with_scheme(address)));
    }
    if let Some(file) = &args.scheduler_file {
        return Ok(SchedulerAt::File(file.clone()));
    }
    // Dask's variable for it is the key's.
    let set = configured.filter(|address| !address.is_empty());
    set.map(|address| SchedulerAt::Address(with_scheme(address)))
        .ok_or(ConfigError::NoScheduler)
}

fn with_scheme(address: &str) -> String {
    match address.contains("://") {
        true => address.to_owned(),
        false => format!("tcp://{address}"),
    }
}

/// Where a worker listens and what others are told of it.
pub struct Place {
    pub host: Option<String>,
    pub protocol: Option<String>,
    pub worker_ports: RangeInclusive<u16>,
    pub contact_address: Option<String>,
}

pub fn place(args: &WorkerArgs, workers: usize) -> Result<Place, ConfigError> {
    if let Some(text) = &args.contact_address {
        Address::parse(text).map_err(|error| wrong("--contact-address", text, error))?;
    }
    let Some(listen) = &args.listen_address else {
        let host = match &args.interface {
            Some(name) => Some(transport::interface_ip(name)?.to_string()),
            None => args.host.clone(),
        };
        return Ok(Place {
            host,
            protocol: args.protocol.clone(),
            worker_ports: ports("--worker-port", args.worker_port.as_deref())?,
            contact_address: args.contact_address.clone(),
        });
    };
    for (other, is_given) in [
        ("--worker-port", args.worker_port.is_some()),
        ("--host", args.host.is_some()),
        ("--interface", args.interface.is_some()),
        ("--nworkers", workers > 1),
    ] {
        if is_given {
            return Err(ConfigError::Together {
                one: "--listen-address",
                other,
                reason: "it says where one worker listens, all of it",
            });
        }
    }
    let fail = |reason: String| wrong("--listen-address", listen, reason);
    let (scheme, rest) = listen.split_once("://").unwrap_or(("tcp", listen));
    let (host, port) = rest
        .rsplit_once(':')
        .ok_or_else(|| fail("it must end in a port, such as tcp://0.0.0.0:9000".to_owned()))?;
    let port: u16 = port
        .parse()
        .map_err(|error| fail(format!("port: {error}")))?;
    let host = host.trim_matches(['[', ']']);
    Ok(Place {
        host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        protocol: Some(scheme.to_owned()),
        worker_ports: port..=port,
        contact_address: args.contact_address.clone(),
    })
}

/// Flags over configuration.
pub fn security(
    args: &WorkerArgs,
    comm: &CommConfig,
) -> Result<(Security, Option<TlsFiles>), ConfigError> {
    let flag = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let by_flag = args.tls_ca_file.is_some() || args.tls_cert.is_some() || args.tls_key.is_some();
    let authority = flag(&args.tls_ca_file).or_else(|| comm.authority.clone());
    let certificate = flag(&args.tls_cert).or_else(|| comm.certificate.clone());
    let key = flag(&args.tls_key).or_else(|| comm.key.clone());
    let required = comm.require_encryption.unwrap_or(by_flag);
    let (authority, certificate) = match (authority, certificate) {
        (Some(authority), Some(certificate)) => (authority, certificate),
        (None, _) if by_flag => return Err(ConfigError::TlsIncomplete("a certificate authority")),
        (Some(_), None) if by_flag => return Err(ConfigError::TlsIncomplete("a certificate")),
        _ => {
            let mut security = Security::none();
            security.require_encryption = required;
            return Ok((security, None));
        }
    };
    let files = TlsFiles {
        key: key.unwrap_or_else(|| certificate.clone()),
        authority,
        certificate,
    };
    let mut security = Security::tls(&TlsSettings {
        authority: files.authority.clone(),
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        min_version: comm.oldest_version,
        max_version: comm.newest_version,
    })?;
    security.require_encryption = required;
    security.server_name = args.scheduler_sni.clone();
    Ok((security, Some(files)))
}

pub fn ports(flag: &'static str, text: Option<&str>) -> Result<RangeInclusive<u16>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(0..=0);
    };
    let number = |part: &str| {
        part.parse::<u16>()
            .map_err(|error| wrong(flag, text, error))
    };
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let ports = number(first)?..=number(last)?;
    match ports.is_empty() {
        true => Err(wrong(flag, text, "the range is empty")),
        false => Ok(ports),
    }
}

pub fn http_address(text: &str) -> Result<(String, u16), ConfigError> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse::<u16>();
    let port = port.map_err(|error| wrong("--dashboard-address", text, error))?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// With one slash before it and none after it.
pub fn http_prefix(prefix: Option<&str>) -> String {
    match prefix.unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    }
}

pub fn resources(
    text: Option<&str>,
    configured: &[(String, f64)],
) -> Result<Vec<(Arc<str>, f64)>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let configured = configured.iter();
        let all = configured.map(|(name, amount)| (Arc::from(name.as_str()), *amount));
        return Ok(all.collect());
    };
    let one = |part: &str| {
        let (name, amount) = part
            .split_once('=')
            .ok_or_else(|| wrong("--resources", text, "it is not NAME=AMOUNT"))?;
        let amount =
            units::parse_float(amount).map_err(|error| wrong("--resources", text, error))?;
        Ok((Arc::from(name), amount))
    };
    let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
    parts.map(one).collect()
}

pub fn duration(flag: &'static str, text: Option<&str>) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = units::parse_timedelta(text).map_err(|error| wrong(flag, text, error))?;
    let duration = Duration::try_from_secs_f64(seconds);
    duration.map(Some).map_err(|error| wrong(flag, text, error))
}

pub fn lifetime(
    args: &WorkerArgs,
    configured: &LifetimeConfig,
) -> Result<Option<Lifetime>, ConfigError> {
    let flag = duration("--lifetime", args.lifetime.as_deref())?;
    let stagger = duration("--lifetime-stagger", args.lifetime_stagger.as_deref())?;
    let restart = match (args.lifetime_restart, args.no_lifetime_restart) {
        (true, _) => true,
        (_, true) => false,
        _ => configured.restart,
    };
    let length = flag.or(configured.duration).filter(|it| !it.is_zero());
    Ok(length.map(|duration| Lifetime {
        duration,
        stagger: stagger.unwrap_or(configured.stagger),
        restart: restart && !args.no_nanny,
    }))
}

/// Where Dask's programs put their scratch files.
pub fn local_directory(given: Option<&Path>, configured: Option<&str>) -> PathBuf {
    let base = given.or(configured.map(Path::new));
    let base = base.map_or_else(std::env::temp_dir, Path::to_owned);
    match base.ends_with("dask-scratch-space") {
        true => base,
        false => base.join("dask-scratch-space"),
    }
}
