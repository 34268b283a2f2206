//! Certificates made for a test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use transport::{Security, TlsSettings, TlsVersion};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // OpenSSL takes a certificate whose issuer has its own name for self-signed.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Credentials of a peer, inline.
    pub fn settings(&self, name: &str) -> TlsSettings {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        settings(self.issuer.pem(), certificate.pem(), key.serialize_pem())
    }

    pub fn security(&self, name: &str) -> Security {
        Security::tls(&self.settings(name)).unwrap()
    }
}

/// All three inline.
pub fn settings(authority: String, certificate: String, key: String) -> TlsSettings {
    TlsSettings {
        authority,
        certificate,
        key,
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    }
}
