//! The way to the cluster: kubectl's rules for kubeconfig, context and namespace, and what is read and written there.
//!
//! Nothing else of these commands reads the environment or a kubeconfig.

use crate::credentials::client_of;
use crate::job::{self, Job};
use crate::problem::{Call, JOBS, Kind, Problem, chain};
use crate::proxy::{ProxyVariables, proxy_for};
use clap::Args;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Who we are to the API server's record of who set which field.
pub const FIELD_MANAGER: &str = "daskjob";

/// Which cluster, and as whom.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectionArgs {
    /// Namespace of the job. [default: the context's, else default]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// Context of the kubeconfig. [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Kubeconfig file. [default: the files of $KUBECONFIG together, else ~/.kube/config, else the service account of
    /// the pod this runs in]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Act as another user, if you may
    #[arg(long = "as", value_name = "USER")]
    pub as_user: Option<String>,

    /// Act as a member of this group; may be repeated, needs --as
    #[arg(long = "as-group", value_name = "GROUP", requires = "as_user")]
    pub as_groups: Vec<String>,
}

/// An open way to a cluster.
#[derive(Clone)]
pub struct Connection {
    pub client: Client,
    pub namespace: String,
    /// It was asked for, so a manifest must not say otherwise.
    pub namespace_is_asked: bool,
}

impl Connection {
    pub async fn open(arguments: &ConnectionArgs) -> Result<Self, Problem> {
        let mut config = config_of(arguments).await?;
        if let Some(user) = &arguments.as_user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                (!arguments.as_groups.is_empty()).then(|| arguments.as_groups.clone());
        }
        let namespace = arguments
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = client_of(config).await?;
        Ok(Connection {
            client,
            namespace,
            namespace_is_asked: arguments.namespace.is_some(),
        })
    }

    pub fn jobs(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &job::resource())
    }

    /// A call about a job, for what may become of it.
    pub fn call<'a>(&'a self, verb: &'a str, name: &'a str) -> Call<'a> {
        Call {
            verb,
            resource: JOBS,
            namespace: &self.namespace,
            name,
        }
    }

    /// The job of this name; one that is not there is told with the names that look like it.
    pub async fn job(&self, name: &str) -> Result<Job, Problem> {
        match self.jobs().get(name).await {
            Ok(object) => Ok(Job::from(object)),
            Err(error) => {
                let problem = self.call("get", name).problem(error);
                Err(match problem.kind {
                    Kind::NotFound => self.with_nearest(problem, name).await,
                    _ => problem,
                })
            }
        }
    }

    async fn with_nearest(&self, mut problem: Problem, name: &str) -> Problem {
        let names: Vec<String> = match self.jobs().list(&ListParams::default()).await {
            Ok(list) => list
                .items
                .into_iter()
                .filter_map(|job| job.metadata.name)
                .collect(),
            Err(_) => Vec::new(),
        };
        problem.remedy = match plan::nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None if names.is_empty() => {
                "there is no job in this namespace; daskjob list -A shows those of all".to_owned()
            }
            None => "daskjob list shows those of this namespace, -n chooses another".to_owned(),
        };
        problem
    }

    /// Changes some fields of a job.
    pub async fn merge(&self, name: &str, patch: &Value) -> Result<Job, Problem> {
        let changed = self
            .jobs()
            .patch(
                name,
                &PatchParams::apply(FIELD_MANAGER),
                &Patch::Merge(patch),
            )
            .await;
        changed
            .map(Job::from)
            .map_err(|error| self.call("patch", name).problem(error))
    }
}

async fn config_of(arguments: &ConnectionArgs) -> Result<Config, Problem> {
    let variable = std::env::var_os("KUBECONFIG");
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let files = kubeconfig_files(arguments.kubeconfig.as_deref(), variable, home);
    let asked = arguments.kubeconfig.is_some();
    let kubeconfig = read_together(&files, asked)?;
    match kubeconfig {
        Some(kubeconfig) => of_kubeconfig(kubeconfig, arguments.context.as_deref()).await,
        None if asked || std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() => {
            Err(no_cluster(&files))
        }
        None => Config::incluster().map_err(|error| {
            Problem::new(
                Kind::Unreachable,
                format!("this pod has no service account to use: {}", chain(&error)),
                "set automountServiceAccountToken, or give --kubeconfig",
            )
        }),
    }
}

/// The files to read, in the order in which they win.
fn kubeconfig_files(
    flag: Option<&Path>,
    variable: Option<OsString>,
    home: Option<PathBuf>,
) -> Vec<PathBuf> {
    if let Some(file) = flag {
        return vec![file.to_owned()];
    }
    if let Some(list) = variable.filter(|list| !list.is_empty()) {
        return std::env::split_paths(&list)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
    }
    home.map(|home| home.join(".kube/config"))
        .into_iter()
        .collect()
}

/// All files as one; `None` if there is none of them. As for kubectl, one that is missing counts as empty, unless it was
/// asked for by a flag.
fn read_together(files: &[PathBuf], asked: bool) -> Result<Option<Kubeconfig>, Problem> {
    let mut together: Option<Kubeconfig> = None;
    for file in files {
        if !asked && !file.exists() {
            continue;
        }
        let unreadable = |error: &dyn std::error::Error| {
            Problem::refused(
                format!(
                    "the kubeconfig {} cannot be used: {}",
                    file.display(),
                    chain(error)
                ),
                "give another with --kubeconfig or $KUBECONFIG",
            )
        };
        let next = Kubeconfig::read_from(file).map_err(|error| unreadable(&error))?;
        together = Some(match together {
            None => next,
            Some(before) => before.merge(next).map_err(|error| unreadable(&error))?,
        });
    }
    // An empty one says as much as none.
    Ok(together.filter(|kubeconfig| !kubeconfig.clusters.is_empty()))
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, context: Option<&str>) -> Result<Config, Problem> {
    check_context(&kubeconfig, context)?;
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let own_proxy = proxy_of(&kubeconfig, context);
    let unusable = |error| {
        Problem::refused(
            format!("the kubeconfig cannot be used: {}", chain(&error)),
            "kubectl config view shows it; --context chooses another context",
        )
    };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(unusable)?;
    // The client itself asks the environment too, but holds $NO_PROXY against the proxy.
    config.proxy_url = proxy_for(
        &config.cluster_url,
        own_proxy.as_deref(),
        &proxy_variables(),
    )?;
    Ok(config)
}

/// The proxy that the kubeconfig names for the cluster of a context.
fn proxy_of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let contexts = &kubeconfig.contexts;
    let context = contexts.iter().find(|context| context.name == name)?;
    let cluster = &context.context.as_ref()?.cluster;
    let clusters = &kubeconfig.clusters;
    let cluster = clusters.iter().find(|known| known.name == *cluster)?;
    cluster.cluster.as_ref()?.proxy_url.clone()
}

fn proxy_variables() -> ProxyVariables {
    let either = |upper: &str, lower: &str| {
        let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        set(upper).or_else(|| set(lower))
    };
    ProxyVariables {
        https: either("HTTPS_PROXY", "https_proxy"),
        http: either("HTTP_PROXY", "http_proxy"),
        none: either("NO_PROXY", "no_proxy"),
    }
}

fn check_context(kubeconfig: &Kubeconfig, asked: Option<&str>) -> Result<(), Problem> {
    let names: Vec<&str> = kubeconfig
        .contexts
        .iter()
        .map(|context| context.name.as_str())
        .collect();
    let all = || format!("the kubeconfig has {}", names.join(", "));
    let current = kubeconfig
        .current_context
        .as_deref()
        .filter(|name| !name.is_empty());
    match asked.or(current) {
        None => Err(Problem::refused(
            "the kubeconfig has no current context",
            format!("choose one with --context: {}", all()),
        )),
        Some(name) if !names.contains(&name) => {
            let remedy = match plan::nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => all(),
            };
            Err(Problem::refused(
                format!("there is no context {name}"),
                remedy,
            ))
        }
        Some(_) => Ok(()),
    }
}

fn no_cluster(files: &[PathBuf]) -> Problem {
    let looked: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let looked = match looked.is_empty() {
        true => String::new(),
        false => format!(" (looked at {})", looked.join(", ")),
    };
    Problem::new(
        Kind::Unreachable,
        format!("no cluster is known here: there is no kubeconfig with one{looked}"),
        "name a kubeconfig with --kubeconfig or $KUBECONFIG; `daskjob run` needs no cluster",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(directory: &Path, name: &str, cluster: &str, current: &str) -> PathBuf {
        let path = directory.join(name);
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {current}\nclusters: [{{name: {cluster}, cluster: {{server: 'https://{cluster}:6443'}}}}]\ncontexts: [{{name: {cluster}, context: {{cluster: {cluster}, user: u, namespace: of-{cluster}}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_flag_wins_over_the_variable_and_the_variable_over_the_home_directory() {
        let home = || Some(PathBuf::from("/h"));
        let files = |flag: Option<&str>, variable: Option<&str>| {
            kubeconfig_files(flag.map(Path::new), variable.map(OsString::from), home())
        };
        assert_eq!(files(Some("/f"), Some("/v")), [PathBuf::from("/f")]);
        assert_eq!(
            files(None, Some("/v::/w")),
            [PathBuf::from("/v"), PathBuf::from("/w")]
        );
        assert_eq!(files(None, Some("")), [PathBuf::from("/h/.kube/config")]);
    }

    #[tokio::test]
    async fn several_files_are_one_and_the_first_wins() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            directory.path().join("missing"),
            file(directory.path(), "one", "one", "two"),
            file(directory.path(), "two", "two", "one"),
        ];
        let together = read_together(&files, false).unwrap().unwrap();
        let config = of_kubeconfig(together.clone(), None).await.unwrap();
        assert_eq!(config.default_namespace, "of-two");
        let config = of_kubeconfig(together, Some("one")).await.unwrap();
        assert_eq!(config.default_namespace, "of-one");
    }

    #[test]
    fn a_missing_file_is_a_mistake_only_where_it_was_asked_for() {
        let missing = [PathBuf::from("/does/not/exist")];
        assert!(read_together(&missing, false).unwrap().is_none());
        assert_eq!(
            read_together(&missing, true).unwrap_err().kind,
            Kind::Refused
        );
    }

    #[test]
    fn a_context_that_is_not_there_is_told_with_those_that_are() {
        let directory = tempfile::tempdir().unwrap();
        let files = [file(directory.path(), "one", "staging", "staging")];
        let kubeconfig = read_together(&files, true).unwrap().unwrap();
        let slip = check_context(&kubeconfig, Some("stagin")).unwrap_err();
        assert_eq!(slip.remedy, "did you mean staging?");
        let other = check_context(&kubeconfig, Some("production")).unwrap_err();
        assert!(other.remedy.contains("staging"));
        let none = file(directory.path(), "two", "staging", "''");
        let kubeconfig = read_together(&[none], true).unwrap().unwrap();
        assert!(
            check_context(&kubeconfig, None)
                .unwrap_err()
                .said
                .contains("no current context")
        );
    }
}
