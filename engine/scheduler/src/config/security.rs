//! Which certificates this scheduler shows and whether it talks to anyone without.
//!
//! Owns where certificates come from (flags over configuration) and what must be given together; reads no certificate:
//! that is the transport's. Invariant: after `check`, a TLS listener has everything it needs.

use std::path::PathBuf;

use protocol::Scheme;
use thiserror::Error;
use transport::{TlsSettings, TlsVersion};

use super::dask::CommConfig;
use super::listen::Binding;
use crate::args::SchedulerArgs;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Security {
    pub require_encryption: bool,
    /// Certificates and keys are paths, or PEM text itself: a text with a line break.
    pub authority: Option<String>,
    pub certificate: Option<String>,
    /// Where absent, the certificate's file holds the key too.
    pub key: Option<String>,
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
        let flag = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
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
            match binding.scheme {
                Scheme::Tcp if self.require_encryption => {
                    return Err(SecurityError::EncryptionRequired);
                }
                Scheme::Tcp => {}
                Scheme::Tls if self.authority.is_none() => {
                    return Err(SecurityError::Incomplete("a certificate authority"));
                }
                Scheme::Tls if self.certificate.is_none() => {
                    return Err(SecurityError::Incomplete("a certificate"));
                }
                Scheme::Tls => {}
            }
        }
        Ok(())
    }

    /// What the transport goes by: reads the certificates.
    pub fn load(&self) -> Result<transport::Security, transport::SecurityError> {
        let mut security = match (&self.authority, &self.certificate) {
            (Some(authority), Some(certificate)) => transport::Security::tls(&TlsSettings {
                authority: authority.clone(),
                certificate: certificate.clone(),
                key: self.key.as_ref().unwrap_or(certificate).clone(),
                min_version: self.oldest_version,
                max_version: self.newest_version,
            })?,
            _ => transport::Security::none(),
        };
        security.require_encryption = self.require_encryption;
        Ok(security)
    }
}
