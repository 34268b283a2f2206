//! Which programs a cluster consists of, with which flags. Pure: describes, starts nothing.

use std::path::PathBuf;

use super::layout::{API_SERVER, ETCD, Layout, NODE_ADDRESS, SERVICE_SUBNET};
use super::programs::Programs;

/// One program of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub name: &'static str,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub mounts: Mounts,
}

/// Which mounts a component sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// Those of the machine.
    OfMachine,
    /// Its own: what it mounts is gone when the last process that sees it ends.
    Own,
    /// Those of another component.
    Of(&'static str),
}

impl Component {
    pub fn new(name: &'static str, program: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            name,
            program,
            arguments,
            mounts: Mounts::OfMachine,
        }
    }

    /// A text that changes with anything that matters about it.
    pub fn fingerprint(&self) -> String {
        format!("{self:?}")
    }
}

/// The API server and who makes it a cluster: what every tier has.
pub fn control_plane(layout: &Layout, programs: &Programs) -> Vec<Component> {
    vec![
        etcd(layout, programs),
        api_server(layout, programs),
        controller_manager(layout, programs),
        scheduler(layout, programs),
        kwok(layout, programs),
    ]
}

fn etcd(layout: &Layout, programs: &Programs) -> Component {
    let arguments = vec![
        format!("--data-dir={}", layout.path("etcd").display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // Its data is worth nothing after a crash of the machine.
        "--unsafe-no-fsync".to_owned(),
        format!("--quota-backend-bytes={}", 8_u64 << 30),
        "--log-level=warn".to_owned(),
    ];
    Component::new("etcd", programs.path("etcd"), arguments)
}

fn api_server(layout: &Layout, programs: &Programs) -> Component {
    let file =
        |whose: &str, extension: &str| layout.certificate(whose, extension).display().to_string();
    let arguments = vec![
        format!("--etcd-servers={ETCD}"),
        "--bind-address=0.0.0.0".to_owned(),
        "--secure-port=6443".to_owned(),
        format!("--advertise-address={NODE_ADDRESS}"),
        "--endpoint-reconciler-type=lease".to_owned(),
        format!("--service-cluster-ip-range={SERVICE_SUBNET}"),
        format!("--tls-cert-file={}", file("apiserver", "crt")),
        format!("--tls-private-key-file={}", file("apiserver", "key")),
        format!("--client-ca-file={}", file("ca", "crt")),
        format!(
            "--service-account-key-file={}",
            file("service-accounts", "pub")
        ),
        format!(
            "--service-account-signing-key-file={}",
            file("service-accounts", "key")
        ),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        // As strict as the strictest clusters: an owner reference that blocks deletion needs a right of its own.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"
            .to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--kubelet-client-certificate={}", file("apiserver", "crt")),
        format!("--kubelet-client-key={}", file("apiserver", "key")),
        format!("--kubelet-certificate-authority={}", file("ca", "crt")),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
    ];
    Component::new("kube-apiserver", programs.path("kube-apiserver"), arguments)
}

fn controller_manager(layout: &Layout, programs: &Programs) -> Component {
    let file =
        |whose: &str, extension: &str| layout.certificate(whose, extension).display().to_string();
    let mut arguments = client_of_api_server(layout, "controller-manager");
    arguments.extend([
        "--use-service-account-credentials=true".to_owned(),
        format!(
            "--service-account-private-key-file={}",
            file("service-accounts", "key")
        ),
        format!("--root-ca-file={}", file("ca", "crt")),
        format!("--cluster-signing-cert-file={}", file("ca", "crt")),
        format!("--cluster-signing-key-file={}", file("ca", "key")),
    ]);
    let program = programs.path("kube-controller-manager");
    Component::new("kube-controller-manager", program, arguments)
}

fn scheduler(layout: &Layout, programs: &Programs) -> Component {
    let arguments = client_of_api_server(layout, "scheduler");
    Component::new("kube-scheduler", programs.path("kube-scheduler"), arguments)
}

/// What controller manager and scheduler have in common. Their limits on requests are raised: with the usual ones,
/// tests with many pods would measure the limits.
fn client_of_api_server(layout: &Layout, user: &str) -> Vec<String> {
    let kubeconfig = layout.kubeconfig(user).display().to_string();
    vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=1000".to_owned(),
        "--kube-api-burst=2000".to_owned(),
    ]
}

/// Stands in for the machines of nodes with the annotation: their pods run at once and cost nothing.
fn kwok(layout: &Layout, programs: &Programs) -> Component {
    let program = programs.path("kwok");
    let arguments = vec![
        format!("--kubeconfig={}", layout.kubeconfig("kwok").display()),
        format!("--master={API_SERVER}"),
        format!("--manage-nodes-with-annotation-selector={FAKE_NODE}"),
        format!(
            "--config={}",
            program
                .with_file_name(super::programs::KWOK_STAGES)
                .display()
        ),
        format!("--config={}", layout.path(POD_EXIT.0).display()),
        "--node-ip=10.89.0.1".to_owned(),
        "--cidr=10.90.0.0/16".to_owned(),
    ];
    Component::new("kwok", program, arguments)
}

/// A stage of ours: file and text.
const POD_EXIT: (&str, &str) = (
    "pod-exit.yaml",
    include_str!("../../../tests/cluster/kwok/pod-exit.yaml"),
);

/// Configuration of the control plane: files and texts.
pub fn files(layout: &Layout) -> Vec<(PathBuf, String)> {
    vec![(layout.path(POD_EXIT.0), POD_EXIT.1.to_owned())]
}

/// Annotation, and taint, of a node that KWOK plays.
const FAKE_NODE: &str = "kwok.x-k8s.io/node=fake";

/// Fake nodes every cluster has. They are tainted, so that a pod comes there only where it says so.
pub fn fake_nodes() -> String {
    (0..3).map(fake_node).collect::<Vec<_>>().join("---\n")
}

fn fake_node(number: u32) -> String {
    format!(
        "\
apiVersion: v1
kind: Node
metadata:
  name: fake-{number}
  annotations: {{kwok.x-k8s.io/node: fake}}
  labels: {{type: kwok, kubernetes.io/os: linux, kubernetes.io/hostname: fake-{number}}}
spec:
  taints: [{{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}}]
status:
  capacity: {{cpu: \"1000\", memory: 4Ti, pods: \"10000\"}}
  allocatable: {{cpu: \"1000\", memory: 4Ti, pods: \"10000\"}}
"
    )
}

/// How a component reaches the API server.
pub fn kubeconfig(layout: &Layout, user: &str) -> String {
    let file =
        |whose: &str, extension: &str| layout.certificate(whose, extension).display().to_string();
    format!(
        "\
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {{server: \"{API_SERVER}\", certificate-authority: \"{}\"}}
users:
- name: {user}
  user: {{client-certificate: \"{}\", client-key: \"{}\"}}
contexts:
- name: test
  context: {{cluster: test, user: {user}, namespace: default}}
current-context: test
",
        file("ca", "crt"),
        file(user, "crt"),
        file(user, "key"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_tier_has_rights_that_are_really_checked() {
        let layout = Layout::new(Path::new("/cache"), Path::new("/checkout"));
        let control_plane = control_plane(&layout, &Programs::default());
        let api_server = control_plane
            .iter()
            .find(|each| each.name == "kube-apiserver");
        let arguments = &api_server.expect("there is an API server").arguments;
        assert!(arguments.contains(&"--authorization-mode=Node,RBAC".to_owned()));
    }

    #[test]
    fn a_component_with_another_flag_is_another() {
        let layout = Layout::new(Path::new("/cache"), Path::new("/checkout"));
        let mut etcd = etcd(&layout, &Programs::default());
        let before = etcd.fingerprint();
        etcd.arguments.push("--log-level=debug".to_owned());
        assert_ne!(before, etcd.fingerprint());
    }
}
