//! How the operator was asked to behave: flags and environment, read once.
//!
//! Nothing else reads either. Invariant: whoever holds a [`Config`] need not check it.

use clap::Args;
use contract::environment as env;
use plan::Defaults;
use plan::objects::ObjectConfig;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Flags of the operator; every one can be given by environment too.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Namespaces whose jobs are run, separated by commas. Default: all
    #[arg(long, env = env::OPERATOR_NAMESPACES, value_delimiter = ',', value_name = "NAME,…")]
    pub namespaces: Vec<String>,

    /// Worker image: the default image of every role, and where our program is copied from into other images
    #[arg(long, env = env::OPERATOR_WORKER_IMAGE, default_value_t = Defaults::default().image, value_name = "IMAGE")]
    pub worker_image: String,

    /// Pull policy of every container. Default: the kubelet's
    #[arg(long, env = env::OPERATOR_IMAGE_PULL_POLICY, value_parser = ["Always", "IfNotPresent", "Never"], value_name = "POLICY")]
    pub image_pull_policy: Option<String>,

    /// Pull secrets in the namespaces of jobs, separated by commas
    #[arg(long, env = env::OPERATOR_IMAGE_PULL_SECRETS, value_delimiter = ',', value_name = "NAME,…")]
    pub image_pull_secrets: Vec<String>,

    /// DNS domain of the cluster
    #[arg(long, env = env::OPERATOR_CLUSTER_DOMAIN, default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,

    /// Ask kubelets to refuse images that run as root
    #[arg(long, env = env::OPERATOR_RUN_AS_NON_ROOT)]
    pub run_as_non_root: bool,

    /// Seconds a pod may take to end before it is killed
    #[arg(long, env = env::OPERATOR_TERMINATION_GRACE_SECONDS, default_value_t = 5, value_name = "SECONDS")]
    pub termination_grace_seconds: u32,

    /// How many jobs are looked at at once
    #[arg(long, env = env::OPERATOR_CONCURRENCY, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "COUNT")]
    pub concurrency: u16,

    /// Act only while holding a Lease: for several replicas
    #[arg(long, env = env::OPERATOR_LEADER_ELECTION)]
    pub leader_election: bool,

    /// Name of the Lease
    #[arg(long, env = env::OPERATOR_LEASE_NAME, default_value = "daskjob-operator", value_name = "NAME")]
    pub lease_name: String,

    /// Namespace of the operator: of its Lease, and where it may connect to jobs' schedulers from. Default: the
    /// kubeconfig's or the pod's own
    #[arg(long, env = env::OPERATOR_NAMESPACE, value_name = "NAME")]
    pub operator_namespace: Option<String>,

    /// Labels of the operator's pods, KEY=VALUE separated by commas: network policies let them ask schedulers. Default:
    /// any pod of its namespace
    #[arg(long, env = env::OPERATOR_LABELS, value_delimiter = ',', value_parser = label, value_name = "KEY=VALUE,…")]
    pub operator_labels: Vec<(String, String)>,

    /// Who this replica is: holder of the Lease, source of events. Default: the host's name
    #[arg(long, env = env::OPERATOR_IDENTITY, value_name = "NAME")]
    pub identity: Option<String>,

    /// Create or update the custom resource definitions in this file, then end
    #[arg(long, value_name = "FILE")]
    pub apply_definitions: Option<PathBuf>,

    /// Where /metrics, /healthz and /readyz are
    #[arg(long, env = env::OPERATOR_LISTEN, default_value = "0.0.0.0:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Shape of log lines: text or json
    #[arg(long, env = env::LOG_FORMAT, default_value = "text", value_parser = ["text", "json"], value_name = "FORMAT")]
    pub log_format: String,

    /// Filter of log lines, such as info or operator=debug,info
    #[arg(long, env = env::LOG, default_value = "info", value_name = "FILTER")]
    pub log: String,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(format!("\"{text}\" is not KEY=VALUE")),
    }
}

/// What the operator is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// None stands for all.
    pub namespaces: Vec<String>,
    pub objects: ObjectConfig,
    pub concurrency: usize,
    pub identity: String,
    pub lease: Option<Lease>,
    pub listen: SocketAddr,
    pub limits: Limits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub namespace: String,
}

/// Bounds of one look at one job, so that a large one holds up no other.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Creates in one round; the rest queues behind other jobs.
    pub creates: usize,
    /// Calls of one job at once.
    pub calls: usize,
    /// How long a status that tells only counts and times waits for others to join it.
    pub status_seconds: u64,
    /// The same while more jobs queue than are looked at: the API server is busy with what they need.
    pub busy_status_seconds: u64,
    /// Schedulers that are asked at once.
    pub questions: usize,
    /// How long work in progress may take after the word to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            creates: 64,
            calls: 8,
            status_seconds: 10,
            busy_status_seconds: 60,
            questions: 64,
            drain: Duration::from_secs(20),
        }
    }
}

impl Config {
    /// `namespace` is the one the client was made for; it counts where no other is given, and only inside a cluster.
    pub fn new(args: &OperatorArgs, namespace: &str, inside_cluster: bool) -> Self {
        let own = args
            .operator_namespace
            .clone()
            .or_else(|| inside_cluster.then(|| namespace.to_owned()));
        let lease = Lease {
            name: args.lease_name.clone(),
            namespace: own.clone().unwrap_or_else(|| namespace.to_owned()),
        };
        let filled = |list: &[String]| -> Vec<String> {
            let names = list.iter().map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        Config {
            namespaces: filled(&args.namespaces),
            objects: ObjectConfig {
                worker_image: args.worker_image.clone(),
                image_pull_policy: args.image_pull_policy.clone(),
                image_pull_secrets: filled(&args.image_pull_secrets),
                cluster_domain: args.cluster_domain.clone(),
                operator_namespace: own,
                operator_labels: args
                    .operator_labels
                    .iter()
                    .cloned()
                    .collect::<BTreeMap<_, _>>(),
                termination_grace_seconds: args.termination_grace_seconds,
                run_as_non_root: args.run_as_non_root,
            },
            concurrency: args.concurrency.into(),
            identity: args.identity.clone().unwrap_or_else(host_name),
            lease: args.leader_election.then_some(lease),
            listen: args.listen,
            limits: Limits::default(),
        }
    }

    /// What a spec gets where it says nothing.
    pub fn defaults(&self) -> Defaults {
        Defaults {
            image: self.objects.worker_image.clone(),
        }
    }
}

/// Kubernetes says so to every container.
pub fn is_inside_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map(|name| name.trim().to_owned())
        .unwrap_or_else(|_| format!("daskjob-operator-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: OperatorArgs,
    }

    fn config(flags: &[&str], inside_cluster: bool) -> Config {
        let args = Cli::parse_from([&["operator"], flags].concat()).args;
        Config::new(&args, "apps", inside_cluster)
    }

    #[test]
    fn without_flags_all_namespaces_are_watched_and_no_lease_is_held() {
        let config = config(&[], true);
        assert!(config.namespaces.is_empty() && config.lease.is_none());
        assert_eq!(config.objects.operator_namespace.as_deref(), Some("apps"));
        assert_eq!(config.defaults().image, Defaults::default().image);
    }

    #[test]
    fn outside_a_cluster_no_network_policy_can_name_the_operator() {
        let config = config(&["--leader-election"], false);
        assert_eq!(config.objects.operator_namespace, None);
        assert_eq!(config.lease.unwrap().namespace, "apps");
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let config = config(
            &[
                "--namespaces",
                "a, b,",
                "--operator-labels",
                "app=x,tier=y",
                "--image-pull-secrets=",
            ],
            true,
        );
        assert_eq!(config.namespaces, ["a", "b"]);
        assert_eq!(config.objects.operator_labels["tier"], "y");
        assert!(config.objects.image_pull_secrets.is_empty());
    }

    #[test]
    fn a_label_without_a_value_is_refused() {
        assert!(Cli::try_parse_from(["operator", "--operator-labels", "app"]).is_err());
        assert!(Cli::try_parse_from(["operator", "--concurrency", "0"]).is_err());
    }
}
