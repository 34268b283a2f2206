//! `daskjob plan`: what a manifest would become on this cluster, and what would stand in its way. Makes nothing.
//!
//! The objects are those the operator would make, as the API server would store them (dry run); everything else is
//! arithmetic over what the person may read. What they may not read is said, and is no error.

mod demand;
mod finding;
mod images;
mod limit_range;
mod nodes;
mod operator_settings;
mod planned;
mod quota;
mod references;

use crate::columns;
use crate::connect::{Connection, ConnectionArgs, FIELD_MANAGER};
use crate::problem::{Call, Kind, Problem};
use crate::submit::{Source, create, manifest::Manifest, open};
use clap::{Args, ValueEnum};
use contract::Role;
use demand::Amounts;
use finding::{Finding, Severity};
use http::{Method, Request, header};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use kube::api::ListParams;
use kube::{Api, Client};
use plan::Defaults;
use plan::objects::{ObjectConfig, Owner};
use planned::Planned;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use terminal::print;

/// Show what a manifest would become on this cluster, and what would stand in its way. Nothing is made.
///
/// Asked of the API server by dry run: whether it takes the job and each of its objects. Added up here: resource quotas,
/// limit ranges, nodes with room, missing secrets, config maps, claims, service accounts and images.
///
/// Exit code: 0 when nothing stands in the way, 1 when something does, 2 when the manifest is refused.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub source: Source,

    /// The operator's worker image. [default: as its Deployment says]
    #[arg(long, value_name = "IMAGE")]
    pub worker_image: Option<String>,

    /// Shape of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people: a line for each object, then what was found
    Text,
    /// The objects; what was found goes to standard error
    Yaml,
    /// For programs: objects and findings
    Json,
}

pub async fn run(arguments: &PlanArgs) -> Result<u8, Problem> {
    let (manifest, connection) = open(&arguments.source, &arguments.connection).await?;
    let mut look = Look {
        connection: &connection,
        findings: Vec::new(),
    };
    let owner = look.owner(&manifest).await?;
    let config = look.operator(arguments.worker_image.as_deref()).await?;
    let defaults = Defaults {
        image: config.worker_image.clone(),
    };
    let job = plan::resolve_manifest(&manifest.object, &defaults).map_err(|_| {
        Problem::refused(
            "the manifest is refused with this worker image",
            "name another",
        )
    })?;
    if job.suspend {
        look.findings.push(Finding::notes(
            "spec.suspend",
            "it is true: nothing of this is made before it is false",
        ));
    }
    let mut planned = planned::of_job(&config, &owner, &job);
    let asked = look.dry_run(&mut planned).await?;
    look.at_bounds(&planned, asked).await?;
    look.at_nodes(&planned).await?;
    look.at_references(&planned).await?;
    let mut findings = look.findings;
    findings.sort_by_key(|finding| finding.severity);
    show(arguments.output, &owner, &planned, &findings);
    let blocked = findings
        .iter()
        .any(|finding| finding.severity == Severity::Blocks);
    Ok(u8::from(blocked))
}

/// One look ahead.
struct Look<'a> {
    connection: &'a Connection,
    findings: Vec<Finding>,
}

impl Look<'_> {
    fn client(&self) -> Client {
        self.connection.client.clone()
    }

    /// Whose objects they would be, as the API server would store the job.
    async fn owner(&mut self, manifest: &Manifest) -> Result<Owner, Problem> {
        let metadata = match create(self.connection, manifest, true).await {
            Ok(job) => job.object.metadata,
            Err(problem) if problem.kind == Kind::Taken => {
                self.findings.push(Finding::blocks(
                    "metadata.name",
                    problem.said,
                    problem.remedy,
                ));
                serde_json::from_value(manifest.object["metadata"].clone()).unwrap_or_default()
            }
            Err(problem) => return Err(problem),
        };
        Ok(Owner {
            name: metadata.name.unwrap_or_default(),
            namespace: self.connection.namespace.clone(),
            uid: metadata.uid.unwrap_or_else(|| "not-known-yet".to_owned()),
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
        })
    }

    /// A list, if the person may have it; said where not.
    async fn list<K>(
        &mut self,
        api: Api<K>,
        parameters: &ListParams,
        resource: &str,
        namespace: &str,
    ) -> Result<Option<Vec<K>>, Problem>
    where
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let call = Call {
            verb: "list",
            resource,
            namespace,
            name: "",
        };
        match api
            .list(parameters)
            .await
            .map_err(|error| call.problem(error))
        {
            Ok(list) => Ok(Some(list.items)),
            Err(problem) if problem.kind == Kind::Forbidden => {
                let place = if namespace.is_empty() {
                    "of the cluster"
                } else {
                    "here"
                };
                self.findings.push(Finding::notes(
                    resource,
                    format!("you may not list those {place}, so they were not looked at"),
                ));
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// How the operator is set up.
    async fn operator(&mut self, worker_image: Option<&str>) -> Result<ObjectConfig, Problem> {
        let parameters = ListParams::default().labels(operator_settings::SELECTOR);
        let known_before = self.findings.len();
        let deployments: Api<Deployment> = Api::all(self.client());
        let found = self
            .list(deployments, &parameters, "deployments.apps", "")
            .await?;
        self.findings.truncate(known_before);
        let namespace = &self.connection.namespace;
        let found = found.unwrap_or_default();
        let config = operator_settings::read(&found, namespace);
        if config.is_none() && !found.is_empty() {
            self.findings.push(Finding::warns(
                "operator",
                format!("none of those in this cluster runs jobs of namespace {namespace}"),
                "choose another namespace with -n, or add this one to watchNamespaces of the chart",
            ));
        }
        let about = "operator";
        match (&config, worker_image) {
            (Some(_), _) => {}
            (None, Some(_)) => self.findings.push(Finding::notes(about, "its settings cannot be seen: usual ones and --worker-image are taken")),
            (None, None) => self.findings.push(Finding::notes(about, "its settings cannot be seen: usual ones are taken; --worker-image names its worker image")),
        }
        let mut config = config.unwrap_or_default();
        if let Some(image) = worker_image {
            config.worker_image = image.to_owned();
        }
        Ok(config)
    }

    /// Puts the API server's answer in the place of each object. False where pods may not be asked about.
    async fn dry_run(&mut self, planned: &mut [Planned]) -> Result<bool, Problem> {
        let namespace = self.connection.namespace.clone();
        let mut asked = true;
        for each in planned {
            let name = each.name().to_owned();
            let call = Call {
                verb: "create",
                resource: each.resource,
                namespace: &namespace,
                name: &name,
            };
            match self.answer(each).await {
                Ok(object) => each.object = object,
                Err(error) => match call.problem(error) {
                    problem if problem.kind == Kind::Forbidden => {
                        asked &= each.role.is_none();
                        self.findings.push(Finding::notes(each.title(), format!("you may not create {}, so the cluster's rules for it were not asked", each.resource)));
                    }
                    // The job itself is there, which is said already.
                    problem if problem.kind == Kind::Taken => {}
                    problem
                        if problem.kind == Kind::Refused
                            && problem.said.contains("exceeded quota") => {}
                    problem if problem.kind == Kind::Refused => {
                        self.findings.push(refused(each, &problem))
                    }
                    problem => return Err(problem),
                },
            }
        }
        Ok(asked)
    }

    /// The object as it would be stored. Its owner is not there, so it is sent without.
    async fn answer(&self, planned: &Planned) -> Result<Value, kube::Error> {
        let mut object = planned.object.clone();
        let owners = object["metadata"]["ownerReferences"].take();
        let path = planned.path(&self.connection.namespace);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!(
                "{path}?dryRun=All&fieldValidation=Strict&fieldManager={FIELD_MANAGER}"
            ))
            .header(header::CONTENT_TYPE, "application/json")
            .body(object.to_string().into_bytes())
            .expect("a namespace is part of a path");
        let mut answer: Value = self.connection.client.request(request).await?;
        if let Some(metadata) = answer["metadata"].as_object_mut() {
            metadata.remove("managedFields");
            metadata.insert("ownerReferences".to_owned(), owners);
        }
        Ok(answer)
    }

    async fn at_bounds(&mut self, planned: &[Planned], asked: bool) -> Result<(), Problem> {
        let namespace = self.connection.namespace.clone();
        let everything = ListParams::default();
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client(), &namespace);
        if let Some(quotas) = self
            .list(quotas, &everything, "resourcequotas", &namespace)
            .await?
        {
            self.findings.extend(quota::findings(&quotas, planned));
        }
        if !asked {
            let ranges: Api<LimitRange> = Api::namespaced(self.client(), &namespace);
            if let Some(ranges) = self
                .list(ranges, &everything, "limitranges", &namespace)
                .await?
            {
                self.findings
                    .extend(limit_range::findings(&ranges, planned));
            }
        }
        Ok(())
    }

    async fn at_nodes(&mut self, planned: &[Planned]) -> Result<(), Problem> {
        let everything = ListParams::default();
        let Some(nodes) = self
            .list(Api::<Node>::all(self.client()), &everything, "nodes", "")
            .await?
        else {
            return Ok(());
        };
        let running = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let pods = self
            .list(Api::<Pod>::all(self.client()), &running, "pods", "")
            .await?;
        self.findings.extend(images::findings(&nodes, planned));
        let rooms = nodes::rooms(nodes, pods.as_deref().unwrap_or_default());
        self.findings
            .extend(nodes::findings(rooms, planned, pods.is_some()));
        Ok(())
    }

    async fn at_references(&mut self, planned: &[Planned]) -> Result<(), Problem> {
        let namespace = self.connection.namespace.clone();
        for ((kind, name), need) in references::of_pods(planned) {
            let known = references::look(&self.connection.client, &namespace, kind, &name).await?;
            self.findings
                .extend(references::finding(kind, &name, &need, &known, &namespace));
        }
        Ok(())
    }
}

fn refused(planned: &Planned, problem: &Problem) -> Finding {
    let remedy = match problem.said.contains("must specify") {
        true => format!(
            "a quota wants these of every container: set {}.requests and limits",
            planned.field()
        ),
        false => format!(
            "change what the message names in {} or its template",
            planned.field()
        ),
    };
    Finding::blocks(planned.title(), problem.said.clone(), remedy)
}

fn show(output: Output, owner: &Owner, planned: &[Planned], findings: &[Finding]) {
    let found: String = findings.iter().map(Finding::text).collect();
    match output {
        Output::Text => print(&text_of(owner, planned, findings)),
        Output::Yaml => {
            print(&yaml_of(planned));
            eprint!("{found}");
        }
        Output::Json => {
            let objects: Vec<Value> = planned
                .iter()
                .map(|each| json!({"count": each.count, "object": each.object}))
                .collect();
            let all = json!({"objects": objects, "findings": findings});
            print(&(serde_json::to_string_pretty(&all).expect("objects are JSON") + "\n"));
        }
    }
}

fn yaml_of(planned: &[Planned]) -> String {
    let documents: Vec<String> = planned
        .iter()
        .map(|each| {
            let text =
                contract::yaml::to_string(&each.object).expect("an object can be written as YAML");
            match each.count {
                1 => text,
                count => format!("# {count} of these, with numbers from 0\n{text}"),
            }
        })
        .collect();
    documents.join("---\n")
}

fn text_of(owner: &Owner, planned: &[Planned], findings: &[Finding]) -> String {
    let mut requests = Amounts::new();
    let mut rows = Vec::new();
    for each in planned {
        let spec = each.pod_spec();
        let cell = |amounts: Option<Amounts>| {
            amounts.map_or_else(String::new, |amounts| demand::text(&amounts))
        };
        let own = spec.as_ref().map(demand::requests_of);
        if let Some(own) = &own {
            demand::add(&mut requests, &demand::times(own, each.count));
        }
        let name = match each.role {
            Some(Role::Worker) => format!("{}…", each.name().trim_end_matches('0')),
            Some(_) | None => each.name().to_owned(),
        };
        rows.push(vec![
            format!("{} {name}", each.kind()),
            each.count.to_string(),
            cell(own),
            cell(spec.as_ref().map(demand::limits_of)),
        ]);
    }
    let pods: u64 = planned
        .iter()
        .filter(|each| each.role.is_some())
        .map(|each| each.count)
        .sum();
    let found: String = findings.iter().map(Finding::text).collect();
    let verdict = match findings.first().map(|finding| finding.severity) {
        Some(Severity::Blocks) => "As things are, it would not start.",
        Some(Severity::Warns) => "It would start, but see above.",
        Some(Severity::Notes) | None => "Nothing stands in its way.",
    };
    format!(
        "DaskJob {} in namespace {}\n\n{}\nTogether: {pods} pods, requests {}\n\n{found}{verdict}\n",
        owner.name,
        owner.namespace,
        columns::table(
            "  ",
            &["OBJECT", "COUNT", "REQUESTS EACH", "LIMITS EACH"],
            &rows
        ),
        demand::text(&requests)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_becomes_is_told_in_rows_and_a_verdict() {
        let planned = planned::tests::planned(json!({
            "job": {"command": ["x"]},
            "requests": {"cpu": "500m"},
            "workers": {"numberOfWorkers": 3, "limits": {"cpu": 1, "memory": "1Gi"}},
        }));
        let owner = Owner {
            name: "etl".to_owned(),
            namespace: "team".to_owned(),
            ..Owner::default()
        };
        let text = text_of(
            &owner,
            &planned,
            &[Finding::blocks("quota q", "too small", "ask for less")],
        );
        let expected = "\
DaskJob etl in namespace team

  OBJECT                        COUNT   REQUESTS EACH        LIMITS EACH
  Service etl-1-scheduler       1
  NetworkPolicy etl-1-access    1
  Pod etl-1-scheduler           1       cpu 500m             nothing
  Pod etl-1-runner              1       cpu 500m             nothing
  Pod etl-1-worker-default-…    3       cpu 1, memory 1Gi    cpu 1, memory 1Gi

Together: 5 pods, requests cpu 4, memory 3Gi

BLOCKS  quota q: too small
        remedy: ask for less
As things are, it would not start.
";
        let squeezed = |text: &str| {
            text.lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(squeezed(&text), squeezed(expected));
    }

    #[test]
    fn several_of_a_kind_are_one_document() {
        let planned = planned::tests::planned(
            json!({"job": {"command": ["x"]}, "workers": {"numberOfWorkers": 3}}),
        );
        let yaml = yaml_of(&planned);
        assert!(yaml.contains("# 3 of these"));
        assert_eq!(
            contract::yaml::parse_documents(&yaml).unwrap().len(),
            planned.len()
        );
    }
}
