//! The cluster's own certificate authority and who it vouches for. Made anew with each cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use super::layout::{API_SERVICE, Layout, NODE_ADDRESS, NODE_NAME};

/// Whose certificate: file name, common name, organisation (a group in Kubernetes' eyes) and names it serves under.
struct Subject {
    whose: &'static str,
    common_name: String,
    organization: Option<&'static str>,
    served_names: Vec<String>,
}

/// Who may do everything: the user of the tests, and programs that come without roles of their own.
const ADMINISTRATORS: [&str; 3] = ["admin", "kwok", "name-server"];

/// Everybody who has a kubeconfig.
pub const USERS: [&str; 7] = [
    "admin",
    "controller-manager",
    "kubelet",
    "kwok",
    "name-server",
    "proxy",
    "scheduler",
];

fn subjects() -> Vec<Subject> {
    let client = |whose, common_name: &str, organization| Subject {
        whose,
        common_name: common_name.to_owned(),
        organization,
        served_names: vec![],
    };
    let mut subjects = vec![
        client("controller-manager", "system:kube-controller-manager", None),
        client("scheduler", "system:kube-scheduler", None),
        client("proxy", "system:kube-proxy", None),
        Subject {
            whose: "apiserver",
            common_name: "kube-apiserver".to_owned(),
            // It asks kubelets for logs, which takes a right that administrators have.
            organization: Some("system:masters"),
            served_names: [
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "127.0.0.1",
                API_SERVICE,
                NODE_ADDRESS,
            ]
            .map(str::to_owned)
            .to_vec(),
        },
        Subject {
            whose: "kubelet",
            common_name: format!("system:node:{NODE_NAME}"),
            organization: Some("system:nodes"),
            served_names: vec![NODE_NAME.to_owned(), NODE_ADDRESS.to_owned()],
        },
    ];
    subjects.extend(ADMINISTRATORS.map(|whose| client(whose, whose, Some("system:masters"))));
    subjects
}

/// Writes all of them, and the keys that service account tokens are signed with.
pub fn write(layout: &Layout) -> Result<()> {
    let make = || -> Result<()> {
        let authority = CertifiedIssuer::self_signed(authority()?, KeyPair::generate()?)?;
        keep(&layout.certificate("ca", "crt"), &authority.pem())?;
        keep(
            &layout.certificate("ca", "key"),
            &authority.key().serialize_pem(),
        )?;
        for subject in subjects() {
            let key = KeyPair::generate()?;
            let certificate = parameters(&subject)?.signed_by(&key, &authority)?;
            keep(
                &layout.certificate(subject.whose, "crt"),
                &certificate.pem(),
            )?;
            keep(
                &layout.certificate(subject.whose, "key"),
                &key.serialize_pem(),
            )?;
        }
        let key = KeyPair::generate()?;
        keep(
            &layout.certificate("service-accounts", "key"),
            &key.serialize_pem(),
        )?;
        keep(
            &layout.certificate("service-accounts", "pub"),
            &key.public_key_pem(),
        )
    };
    fs::create_dir_all(layout.path("pki"))?;
    make().context("make the cluster's certificates")
}

fn authority() -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "daskjob-test-cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(parameters)
}

fn parameters(subject: &Subject) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(subject.served_names.clone())?;
    let name = &mut parameters.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    if let Some(organization) = subject.organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, subject.common_name.as_str());
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    Ok(parameters)
}

fn keep(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
