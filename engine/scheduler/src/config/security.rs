//! Which certificates this scheduler shows and whether it talks to anyone without.
//!
//! Owns where certificates come from (flags over configuration) and what must be given together; reads no certificate:
//! that is the transport's. Invariant: after `check`, a TLS listener has everything it needs.

use std::path::PathBuf;

use thiserror::Error;

use super::dask::CommConfig;
use super::listen::{Binding, Protocol};
use crate::args::SchedulerArgs;

/// A certificate or key, by path or as the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Text(String),
}

impl Pem {
    /// As configuration gives it: a text with a line break is the certificate itself.
    pub fn from_setting(text: &str) -> Self {
        if text.contains('\n') {
            Self::Text(text.to_owned())
        } else {
            Self::File(PathBuf::from(text))
        }
    }
}

/// The oldest or newest TLS version allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    pub require_encryption: bool,
    pub authority: Option<Pem>,
    pub certificate: Option<Pem>,
    /// Where absent, the certificate's file holds the key too.
    pub key: Option<Pem>,
    pub oldest_version: TlsVersion,
    pub newest_version: TlsVersion,
    /// OpenSSL's names of allowed ciphers.
    pub ciphers: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Error)]
pub enum SecurityError {
    #[error(
        "listen without encryption: distributed.comm.require-encryption is set; use --protocol tls"
    )]
    EncryptionRequired,
    #[error(
        "listen by tls without {0}; give --tls-ca-file, --tls-cert and --tls-key, or distributed.comm.tls in the configuration"
    )]
    Incomplete(&'static str),
}

impl Security {
    /// Flags over configuration. Certificates named by flags mean that encryption is wanted.
    pub fn new(args: &SchedulerArgs, comm: &CommConfig) -> Self {
        let flag = |path: &Option<PathBuf>| path.clone().map(Pem::File);
        let by_flag =
            args.tls_ca_file.is_some() || args.tls_cert.is_some() || args.tls_key.is_some();
        let tls = &comm.tls;
        Self {
            require_encryption: comm.require_encryption.unwrap_or(by_flag),
            authority: flag(&args.tls_ca_file).or_else(|| tls.authority.clone()),
            certificate: flag(&args.tls_cert).or_else(|| tls.certificate.clone()),
            key: flag(&args.tls_key).or_else(|| tls.key.clone()),
            oldest_version: tls.oldest_version,
            newest_version: tls.newest_version,
            ciphers: tls.ciphers.clone(),
        }
    }

    /// Refuses listeners that break the rules or lack a certificate.
    pub fn check(&self, bindings: &[Binding]) -> Result<(), SecurityError> {
        for binding in bindings {
            match binding.protocol {
                Protocol::Tcp if self.require_encryption => {
                    return Err(SecurityError::EncryptionRequired);
                }
                Protocol::Tcp => {}
                Protocol::Tls if self.authority.is_none() => {
                    return Err(SecurityError::Incomplete("a certificate authority"));
                }
                Protocol::Tls if self.certificate.is_none() => {
                    return Err(SecurityError::Incomplete("a certificate"));
                }
                Protocol::Tls => {}
            }
        }
        Ok(())
    }
}
