//! What can go wrong between a person and a cluster: one sentence, what to do, and the exit code.
//!
//! Knows what the answers of an API server mean; asks nothing itself.

use contract::exit_code;
use kube::core::Status;
use std::error::Error;
use std::fmt;

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub kind: Kind,
    /// What is wrong; may have several lines.
    pub said: String,
    /// What to do about it; empty where there is nothing to say.
    pub remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wrong arguments or a manifest nobody takes.
    Refused,
    NotFound,
    /// There is one of that name.
    Taken,
    Forbidden,
    /// The cluster does not know our kind.
    NotInstalled,
    Unreachable,
    /// Another has written it meanwhile.
    Conflict,
    Failed,
}

impl Problem {
    pub fn new(kind: Kind, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem {
            kind,
            said: said.into(),
            remedy: remedy.into(),
        }
    }

    pub fn refused(said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem::new(Kind::Refused, said, remedy)
    }

    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Refused | Kind::NotFound | Kind::Taken => exit_code::REFUSED,
            Kind::Forbidden
            | Kind::NotInstalled
            | Kind::Unreachable
            | Kind::Conflict
            | Kind::Failed => exit_code::INFRASTRUCTURE,
        }
    }

    /// As it is said: the remedy on a line of its own.
    pub fn text(&self) -> String {
        match self.remedy.is_empty() {
            true => self.said.trim_end().to_owned(),
            false => format!("{}\n    remedy: {}", self.said.trim_end(), self.remedy),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.said)
    }
}

/// So it passes through the client, where it is one of our own.
impl Error for Problem {}

/// A call that did not succeed.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    pub verb: &'a str,
    /// As permissions name it, `daskjobs.daskjob.dev` or `pods/log`.
    pub resource: &'a str,
    /// Empty for what is in no namespace.
    pub namespace: &'a str,
    /// Empty for all of them.
    pub name: &'a str,
}

/// Our own resource, as permissions name it.
pub const JOBS: &str = "daskjobs.daskjob.dev";

impl Call<'_> {
    fn place(&self) -> String {
        match self.namespace {
            "" => "in the whole cluster".to_owned(),
            namespace => format!("in namespace {namespace}"),
        }
    }

    /// What the client's error means.
    pub fn problem(&self, error: kube::Error) -> Problem {
        match error {
            kube::Error::Api(status) => self.problem_of_status(&status),
            kube::Error::Auth(error) => Problem::new(
                Kind::Forbidden,
                format!(
                    "the credentials of this context cannot be had: {}",
                    chain(&error)
                ),
                "run the login command of your cluster, then `kubectl get --raw /healthz` to see that it works",
            ),
            kube::Error::SerdeError(error) => Problem::new(
                Kind::Failed,
                format!(
                    "the API server's answer about {} cannot be read: {error}",
                    self.resource
                ),
                "use the release of daskjob that belongs to the cluster's operator",
            ),
            kube::Error::Service(error) => match error.downcast::<Problem>() {
                Ok(own) => *own,
                Err(error) => unreachable_server(&chain(&*error)),
            },
            other => unreachable_server(&chain(&other)),
        }
    }

    fn problem_of_status(&self, status: &Status) -> Problem {
        match status.code {
            401 => Problem::new(
                Kind::Forbidden,
                "the API server does not know who you are (401)",
                "run the login command of your cluster: the credentials of this context are wrong or have expired",
            ),
            403 => self.forbidden(status),
            404 => self.not_found(status),
            409 if status.reason == "AlreadyExists" => Problem::new(
                Kind::Taken,
                format!("there is a DaskJob {} {} already", self.name, self.place()),
                format!(
                    "choose another name with --name, or delete that one: kubectl delete dj {} -n {}",
                    self.name, self.namespace
                ),
            ),
            409 => Problem::new(
                Kind::Conflict,
                format!(
                    "{} was changed by somebody else at the same moment",
                    self.name
                ),
                "try again",
            ),
            400 | 422 => Problem::refused(causes_of(status), ""),
            code => Problem::new(
                Kind::Failed,
                format!(
                    "the API server failed to {} {} ({code}): {}",
                    self.verb, self.resource, status.message
                ),
                "try again; `kubectl get --raw /readyz?verbose` shows how the API server is",
            ),
        }
    }

    /// By missing rights, or by admission, whose words say what it wants.
    fn forbidden(&self, status: &Status) -> Problem {
        if !status.message.contains(" cannot ") {
            return Problem::refused(
                format!("the cluster does not take it: {}", status.message),
                "ask who runs the cluster, or change what the message names",
            );
        }
        let Call { verb, resource, .. } = self;
        let (plain, group) = resource.split_once('.').unwrap_or((resource, ""));
        let of_group = match group {
            "" => String::new(),
            group => format!(" of API group {group}"),
        };
        let namespace = match self.namespace {
            "" => String::new(),
            namespace => format!(" -n {namespace}"),
        };
        Problem::new(
            Kind::Forbidden,
            format!(
                "you may not {verb} {plain} {}: {}",
                self.place(),
                status.message
            ),
            format!(
                "ask for a role with verb {verb} on resource {plain}{of_group}; `kubectl auth can-i {verb} {resource}{namespace}` says when you have it"
            ),
        )
    }

    fn not_found(&self, status: &Status) -> Problem {
        let kind = status
            .details
            .as_ref()
            .map_or("", |details| details.kind.as_str());
        if kind == "namespaces" {
            return Problem::new(
                Kind::NotFound,
                format!("there is no namespace {}", self.namespace),
                format!(
                    "kubectl create namespace {}, or choose one with -n",
                    self.namespace
                ),
            );
        }
        if !kind.is_empty() && status.reason == "NotFound" {
            return Problem::new(
                Kind::NotFound,
                format!(
                    "there is no {} {} {}",
                    singular(self.resource),
                    self.name,
                    self.place()
                ),
                "",
            );
        }
        if self.resource == JOBS {
            return not_installed();
        }
        Problem::new(
            Kind::Failed,
            format!("the cluster has no {}", self.resource),
            "",
        )
    }
}

fn singular(resource: &str) -> &str {
    match resource {
        JOBS => crd::KIND,
        "pods" | "pods/log" => "pod",
        other => other,
    }
}

/// The definition of our kind is missing.
pub fn not_installed() -> Problem {
    Problem::new(
        Kind::NotInstalled,
        format!(
            "this cluster does not know DaskJobs ({})",
            crd::api_version()
        ),
        "install daskjob's operator from its repository: helm install daskjob-operator charts/daskjob-operator --namespace daskjob-system --create-namespace, or kubectl apply -f manifests/install; or choose another cluster with --context",
    )
}

fn unreachable_server(cause: &str) -> Problem {
    Problem::new(
        Kind::Unreachable,
        format!("the cluster cannot be reached: {cause}"),
        "see that it runs and that this is the right one: kubectl config current-context, kubectl cluster-info; --context and --kubeconfig choose another; proxy-url of the kubeconfig, else $HTTPS_PROXY, names a proxy to pass",
    )
}

/// Each problem with its field, as far as the server says so.
fn causes_of(status: &Status) -> String {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut lines: Vec<String> = causes
        .filter(|cause| !cause.message.is_empty())
        .map(|cause| match cause.field.as_str() {
            "" | "<nil>" => cause.message.clone(),
            field => format!("{field}: {}", cause.message),
        })
        .collect();
    lines.dedup();
    match lines.is_empty() {
        true => format!("the API server does not take it: {}", status.message),
        false => format!("the API server does not take it:\n{}", lines.join("\n")),
    }
}

/// An error and what caused it, each once.
pub fn chain(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Some tell their cause themselves.
        if !said.iter().any(|before| before.contains(&text)) {
            said.push(text);
        }
        next = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn problem(status: Value) -> Problem {
        let call = Call {
            verb: "create",
            resource: JOBS,
            namespace: "team",
            name: "etl",
        };
        let status: Status = serde_json::from_value(status).unwrap();
        call.problem(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn missing_rights_are_named() {
        let message =
            "daskjobs.daskjob.dev is forbidden: User \"eve\" cannot create resource \"daskjobs\"";
        let problem = problem(json!({"code": 403, "message": message}));
        assert_eq!(problem.kind, Kind::Forbidden);
        assert!(
            problem
                .said
                .starts_with("you may not create daskjobs in namespace team")
        );
        assert!(
            problem
                .remedy
                .contains("verb create on resource daskjobs of API group daskjob.dev")
        );
        assert!(
            problem
                .remedy
                .contains("can-i create daskjobs.daskjob.dev -n team")
        );
    }

    #[test]
    fn a_quota_is_no_missing_right() {
        let message = "daskjobs \"a\" is forbidden: exceeded quota: small";
        let problem = problem(json!({"code": 403, "message": message}));
        assert_eq!(problem.kind, Kind::Refused);
    }

    #[test]
    fn a_missing_definition_is_told_from_a_missing_job_and_a_missing_namespace() {
        let kind = |status| problem(status).kind;
        assert_eq!(
            kind(json!({"code": 404, "message": "404 page not found"})),
            Kind::NotInstalled
        );
        let job = json!({"code": 404, "reason": "NotFound", "details": {"kind": "daskjobs", "name": "etl"}});
        assert_eq!(kind(job), Kind::NotFound);
        let namespace = json!({"code": 404, "reason": "NotFound", "details": {"kind": "namespaces", "name": "team"}});
        assert!(problem(namespace).said.contains("no namespace team"));
    }

    #[test]
    fn a_name_that_is_taken_has_two_ways_out() {
        let problem = problem(json!({"code": 409, "reason": "AlreadyExists"}));
        assert_eq!((problem.kind, problem.exit_code()), (Kind::Taken, 2));
        assert!(
            problem.remedy.contains("--name")
                && problem.remedy.contains("kubectl delete dj etl -n team")
        );
    }

    #[test]
    fn what_the_server_refuses_is_told_with_its_fields() {
        let causes = json!([
            {"field": "spec.workers.numberOfWorkers", "message": "must be at least 1"},
            {"field": "<nil>", "message": "also this"},
        ]);
        let problem = problem(json!({"code": 422, "message": "x", "details": {"causes": causes}}));
        assert!(
            problem
                .said
                .ends_with("spec.workers.numberOfWorkers: must be at least 1\nalso this")
        );
    }
}
