//! TLS as Dask uses it: both sides show a certificate of one authority; host names are not compared.
//!
//! Certificates and keys are paths or inline PEM text. A certificate that is itself in the authority file is trusted
//! as it is, which is how Dask's temporary self-signed credentials work.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme, SupportedProtocolVersion, version,
};
use tokio_rustls::TlsAcceptor;

/// How connections are protected.
#[derive(Clone, Default)]
pub struct Security {
    /// Refuse to bind or connect without encryption.
    pub require_encryption: bool,
    /// The name sent to servers instead of the host's.
    pub server_name: Option<String>,
    tls: Option<TlsConfigs>,
}

#[derive(Clone)]
struct TlsConfigs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

/// Where the credentials are. Each is a path, or PEM text itself.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    pub authority: String,
    pub certificate: String,
    pub key: String,
    /// The lowest version accepted; 1.2 unless set.
    pub min_version: TlsVersion,
    /// The highest version accepted; 1.3 unless set.
    pub max_version: TlsVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

impl TryFrom<f64> for TlsVersion {
    type Error = String;

    /// From the number by which people know it.
    fn try_from(number: f64) -> Result<Self, String> {
        match number {
            1.2 => Ok(TlsVersion::Tls12),
            1.3 => Ok(TlsVersion::Tls13),
            _ => Err("it must be 1.2 or 1.3".to_owned()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error("read {what} from {path}")]
    Read {
        what: &'static str,
        path: String,
        source: io::Error,
    },
    #[error("{what} is not valid PEM: {reason}")]
    Pem { what: &'static str, reason: String },
    #[error("{what} holds no certificate")]
    Empty { what: &'static str },
    #[error("no tls version between the lowest and the highest that are set")]
    Versions,
    #[error("use the tls credentials")]
    Rustls(#[from] rustls::Error),
    #[error("build the certificate verifier: {0}")]
    Verifier(String),
    #[error("address {0} is tls, but no tls credentials are configured")]
    NoCredentials(String),
    #[error("encryption is required by configuration; refusing {0}")]
    EncryptionRequired(String),
}

impl fmt::Debug for Security {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Security")
            .field("require_encryption", &self.require_encryption)
            .field("tls", &self.tls.is_some())
            .finish()
    }
}

impl Security {
    /// Plain TCP only.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the credentials.
    pub fn tls(settings: &TlsSettings) -> Result<Self, SecurityError> {
        let provider = Arc::new(ring::default_provider());
        let authorities = certificates("tls authority", &settings.authority)?;
        let chain = certificates("tls certificate", &settings.certificate)?;
        let key = private_key(&settings.key)?;
        let versions = versions(settings)?;
        let verifier = Arc::new(AuthorityVerifier::new(&authorities, &provider)?);
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(Arc::clone(&verifier) as Arc<dyn ClientCertVerifier>)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        let tls = TlsConfigs {
            server: Arc::new(server),
            client: Arc::new(client),
        };
        Ok(Self {
            tls: Some(tls),
            ..Self::default()
        })
    }

    /// Refuses plain connections from now on.
    pub fn requiring_encryption(mut self) -> Self {
        self.require_encryption = true;
        self
    }

    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(crate) fn server(&self, address: &str) -> Result<Arc<ServerConfig>, SecurityError> {
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| SecurityError::NoCredentials(address.into()))?;
        Ok(Arc::clone(&tls.server))
    }

    pub(crate) fn client(&self, address: &str) -> Result<Arc<ClientConfig>, SecurityError> {
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| SecurityError::NoCredentials(address.into()))?;
        Ok(Arc::clone(&tls.client))
    }

    pub(crate) fn allow_plain(&self, address: &str) -> Result<(), SecurityError> {
        if self.require_encryption {
            Err(SecurityError::EncryptionRequired(address.into()))
        } else {
            Ok(())
        }
    }
}

/// TLS for an HTTP server: shows a certificate and asks for none. Both are a path or PEM text.
pub fn https_acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, SecurityError> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            certificates("tls certificate", certificate)?,
            private_key(key)?,
        )?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// PEM text: the setting itself if it has a line break, else the file it names.
fn pem(what: &'static str, setting: &str) -> Result<Vec<u8>, SecurityError> {
    if setting.contains('\n') {
        return Ok(setting.as_bytes().to_vec());
    }
    std::fs::read(setting).map_err(|source| SecurityError::Read {
        what,
        path: setting.into(),
        source,
    })
}

fn certificates(
    what: &'static str,
    setting: &str,
) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let text = pem(what, setting)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| SecurityError::Pem {
        what,
        reason: error.to_string(),
    })?;
    if found.is_empty() {
        Err(SecurityError::Empty { what })
    } else {
        Ok(found)
    }
}

fn private_key(setting: &str) -> Result<PrivateKeyDer<'static>, SecurityError> {
    const WHAT: &str = "tls key";
    let text = pem(WHAT, setting)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| SecurityError::Pem {
        what: WHAT,
        reason: error.to_string(),
    })
}

fn versions(
    settings: &TlsSettings,
) -> Result<Vec<&'static SupportedProtocolVersion>, SecurityError> {
    let all = [
        (TlsVersion::Tls12, &version::TLS12),
        (TlsVersion::Tls13, &version::TLS13),
    ];
    let allowed = settings.min_version..=settings.max_version;
    let chosen: Vec<_> = all
        .into_iter()
        .filter(|(it, _)| allowed.contains(it))
        .map(|(_, it)| it)
        .collect();
    if chosen.is_empty() {
        Err(SecurityError::Versions)
    } else {
        Ok(chosen)
    }
}

/// Accepts whoever shows a certificate of the authority.
#[derive(Debug)]
struct AuthorityVerifier {
    authorities: Vec<CertificateDer<'static>>,
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
}

impl AuthorityVerifier {
    fn new(
        authorities: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, SecurityError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority.clone())?;
        }
        let roots = Arc::new(roots);
        let wrong = |error: rustls::server::VerifierBuilderError| {
            SecurityError::Verifier(error.to_string())
        };
        let servers =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
        Ok(Self {
            authorities: authorities.to_vec(),
            servers: servers.build().map_err(wrong)?,
            clients: clients.build().map_err(wrong)?,
        })
    }

    fn is_authority(&self, certificate: &CertificateDer<'_>) -> bool {
        self.authorities
            .iter()
            .any(|authority| authority.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for AuthorityVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.is_authority(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        match self
            .servers
            .verify_server_cert(certificate, intermediates, name, ocsp, now)
        {
            // The chain is checked before the name, so a wrong name means a right chain.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.servers
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.servers
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}

impl ClientCertVerifier for AuthorityVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.is_authority(certificate) {
            return Ok(ClientCertVerified::assertion());
        }
        self.clients
            .verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.clients
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
