//! The real node: container runtime, kubelet, proxy and name server, with their configuration. Pure.

use std::path::PathBuf;

use super::component::{Component, Mounts};
use super::images::PAUSE;
use super::layout::{Layout, NODE_ADDRESS, NODE_NAME, POD_SUBNET};
use super::programs::Programs;

pub const CONTAINERD: &str = "containerd";
pub const NAME_SERVER: &str = "coredns";

/// Directories of the node, thrown away with it.
pub const DIRECTORIES: [&str; 4] = ["containerd", "kubelet", "cni", "cni-addresses"];

/// Its programs, in the order they are started.
pub fn components(layout: &Layout, programs: &Programs) -> Vec<Component> {
    let file = |name: &str| layout.path(name).display().to_string();
    let containerd = Component {
        mounts: Mounts::Own,
        ..Component::new(
            CONTAINERD,
            programs.path(CONTAINERD),
            vec!["--config".to_owned(), file("containerd/config.toml")],
        )
    };
    let kubelet = Component {
        mounts: Mounts::Of(CONTAINERD),
        ..Component::new(
            "kubelet",
            programs.path("kubelet"),
            vec![
                format!("--kubeconfig={}", layout.kubeconfig("kubelet").display()),
                format!("--config={}", file("kubelet.yaml")),
                format!("--root-dir={}", file("kubelet")),
                format!("--cert-dir={}", file("kubelet/pki")),
                format!("--hostname-override={NODE_NAME}"),
                format!("--node-ip={NODE_ADDRESS}"),
            ],
        )
    };
    let proxy = Component::new(
        "kube-proxy",
        programs.path("kube-proxy"),
        vec![format!("--config={}", file("proxy.yaml"))],
    );
    let name_server = Component::new(
        NAME_SERVER,
        programs.path("coredns"),
        vec!["-conf".to_owned(), file("Corefile")],
    );
    vec![containerd, kubelet, proxy, name_server]
}

/// Their configuration: files and texts.
pub fn files(layout: &Layout) -> Vec<(PathBuf, String)> {
    vec![
        (layout.path("containerd/config.toml"), containerd(layout)),
        (layout.path("cni/10-bridge.conflist"), pod_network(layout)),
        (layout.path("kubelet.yaml"), kubelet(layout)),
        (layout.path("proxy.yaml"), proxy(layout)),
        (layout.path("Corefile"), name_server(layout)),
        // For pods that want the node's own name server: there is none.
        (
            layout.path("resolv.conf"),
            "nameserver 127.0.0.1\n".to_owned(),
        ),
    ]
}

fn containerd(layout: &Layout) -> String {
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE no process may be made less likely to be killed.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{cni}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
"#,
        root = layout.path("containerd/root").display(),
        state = layout.runtime_directory().join("containerd").display(),
        socket = layout.containerd_socket().display(),
        cni = layout.path("cni").display(),
    )
}

fn pod_network(layout: &Layout) -> String {
    serde_json::json!({
        "cniVersion": "0.4.0",
        "name": layout.name,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.path("cni-addresses"),
                    "ranges": [[{"subnet": POD_SUBNET}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// What differs from the defaults: no swap check, no eviction for a full disk, control groups of the cluster's own.
fn kubelet(layout: &Layout) -> String {
    format!(
        "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{anonymous: {{enabled: false}}, x509: {{clientCAFile: {ca}}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {certificate}
tlsPrivateKeyFile: {key}
containerRuntimeEndpoint: unix://{socket}
cgroupDriver: cgroupfs
cgroupRoot: /{group}
failSwapOn: false
failCgroupV1: false
localStorageCapacityIsolation: false
clusterDNS: [{NODE_ADDRESS}]
clusterDomain: cluster.local
resolvConf: {resolv_conf}
podLogsDir: {pod_logs}
maxPods: 200
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
",
        ca = layout.certificate("ca", "crt").display(),
        certificate = layout.certificate("kubelet", "crt").display(),
        key = layout.certificate("kubelet", "key").display(),
        socket = layout.containerd_socket().display(),
        group = layout.name,
        resolv_conf = layout.path("resolv.conf").display(),
        // A kubelet removes logs of pods it does not know, and there may be two clusters.
        pod_logs = layout.path("pod-logs").display(),
    )
}

fn proxy(layout: &Layout) -> String {
    format!(
        "\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {}}}
mode: iptables
clusterCIDR: 10.244.0.0/16
hostnameOverride: {NODE_NAME}
conntrack: {{maxPerCore: 0}}
",
        layout.kubeconfig("proxy").display()
    )
}

/// Resolves services; asks nobody else, for nobody else can be reached.
fn name_server(layout: &Layout) -> String {
    format!(
        "\
.:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        pods insecure
        ttl 5
    }}
}}
",
        layout.kubeconfig("name-server").display()
    )
}
