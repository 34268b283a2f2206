//! What pods name and do not bring: secrets, config maps, claims, service accounts, classes. Pure but for asking the API
//! server about each.

use super::finding::Finding;
use super::planned::Planned;
use crate::problem::{Call, Kind, Problem};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVar, PersistentVolumeClaim, PodSpec, Secret,
    ServiceAccount, Volume,
};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds that pods refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Referred {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    PriorityClass,
    RuntimeClass,
}

impl Referred {
    fn word(self) -> &'static str {
        match self {
            Referred::Secret => "Secret",
            Referred::ConfigMap => "ConfigMap",
            Referred::Claim => "PersistentVolumeClaim",
            Referred::ServiceAccount => "ServiceAccount",
            Referred::PriorityClass => "PriorityClass",
            Referred::RuntimeClass => "RuntimeClass",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Referred::Secret => "secrets",
            Referred::ConfigMap => "configmaps",
            Referred::Claim => "persistentvolumeclaims",
            Referred::ServiceAccount => "serviceaccounts",
            Referred::PriorityClass => "priorityclasses.scheduling.k8s.io",
            Referred::RuntimeClass => "runtimeclasses.node.k8s.io",
        }
    }

    fn is_of_namespace(self) -> bool {
        !matches!(self, Referred::PriorityClass | Referred::RuntimeClass)
    }
}

/// What must be there of one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Keys of a Secret or ConfigMap that are read one by one.
    pub keys: BTreeSet<String>,
    /// Who refers to it: roles.
    pub users: BTreeSet<String>,
    /// Pods start without it, if slowly or not as meant.
    pub only_pulls: bool,
}

pub type Needs = BTreeMap<(Referred, String), Need>;

/// Everything the pods refer to and the job does not bring. Optional ones are left out.
pub fn of_pods(planned: &[Planned]) -> Needs {
    let brought: BTreeSet<&str> = planned
        .iter()
        .filter(|each| each.resource == "configmaps")
        .map(Planned::name)
        .collect();
    let mut needs = Needs::new();
    for each in planned {
        if let Some(spec) = each.pod_spec() {
            let mut collector = Collector {
                needs: &mut needs,
                user: each.title(),
            };
            collector.pod(&spec);
        }
    }
    needs
        .retain(|(kind, name), _| *kind != Referred::ConfigMap || !brought.contains(name.as_str()));
    needs
}

struct Collector<'a> {
    needs: &'a mut Needs,
    user: String,
}

impl Collector<'_> {
    fn need(&mut self, kind: Referred, name: &str, key: Option<&str>) -> &mut Need {
        let need = self.needs.entry((kind, name.to_owned())).or_default();
        need.users.insert(self.user.clone());
        need.keys.extend(key.map(str::to_owned));
        need
    }

    fn unless_optional(
        &mut self,
        optional: Option<bool>,
        kind: Referred,
        name: &str,
        key: Option<&str>,
    ) {
        if optional != Some(true) && !name.is_empty() {
            self.need(kind, name, key);
        }
    }

    fn pod(&mut self, spec: &PodSpec) {
        for secret in spec.image_pull_secrets.iter().flatten() {
            self.need(Referred::Secret, &secret.name, None).only_pulls = true;
        }
        if let Some(account) = &spec.service_account_name {
            self.need(Referred::ServiceAccount, account, None);
        }
        if let Some(class) = &spec.priority_class_name {
            self.need(Referred::PriorityClass, class, None);
        }
        if let Some(class) = &spec.runtime_class_name {
            self.need(Referred::RuntimeClass, class, None);
        }
        let containers = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        containers.for_each(|container| self.container(container));
        spec.volumes
            .iter()
            .flatten()
            .for_each(|volume| self.volume(volume));
    }

    fn container(&mut self, container: &Container) {
        container
            .env
            .iter()
            .flatten()
            .for_each(|variable| self.variable(variable));
        container
            .env_from
            .iter()
            .flatten()
            .for_each(|source| self.source(source));
    }

    fn variable(&mut self, variable: &EnvVar) {
        let Some(from) = &variable.value_from else {
            return;
        };
        if let Some(secret) = &from.secret_key_ref {
            self.unless_optional(
                secret.optional,
                Referred::Secret,
                &secret.name,
                Some(&secret.key),
            );
        }
        if let Some(map) = &from.config_map_key_ref {
            self.unless_optional(map.optional, Referred::ConfigMap, &map.name, Some(&map.key));
        }
    }

    fn source(&mut self, source: &EnvFromSource) {
        if let Some(secret) = &source.secret_ref {
            self.unless_optional(secret.optional, Referred::Secret, &secret.name, None);
        }
        if let Some(map) = &source.config_map_ref {
            self.unless_optional(map.optional, Referred::ConfigMap, &map.name, None);
        }
    }

    fn volume(&mut self, volume: &Volume) {
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            self.unless_optional(secret.optional, Referred::Secret, name, None);
        }
        if let Some(map) = &volume.config_map {
            self.unless_optional(map.optional, Referred::ConfigMap, &map.name, None);
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            self.need(Referred::Claim, &claim.claim_name, None);
        }
        let projected = volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten());
        for source in projected {
            if let Some(secret) = &source.secret {
                self.unless_optional(secret.optional, Referred::Secret, &secret.name, None);
            }
            // Every namespace has this one, made by the cluster.
            if let Some(map) = source
                .config_map
                .as_ref()
                .filter(|map| map.name != "kube-root-ca.crt")
            {
                self.unless_optional(map.optional, Referred::ConfigMap, &map.name, None);
            }
        }
    }
}

/// What the API server knows of one.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    Missing,
    /// With these keys, of a Secret or ConfigMap.
    There(BTreeSet<String>),
    Forbidden,
}

/// What that means; nothing where all is well.
pub fn finding(
    kind: Referred,
    name: &str,
    need: &Need,
    known: &Known,
    namespace: &str,
) -> Option<Finding> {
    let about = format!("{} {name}", kind.word());
    let users: Vec<&str> = need.users.iter().map(String::as_str).collect();
    let users = users.join(", ");
    let place = match kind.is_of_namespace() {
        true => format!("in namespace {namespace}"),
        false => "on this cluster".to_owned(),
    };
    match known {
        Known::Forbidden => Some(Finding::notes(
            about,
            format!("you may not look whether it is there; used by {users}"),
        )),
        Known::Missing if need.only_pulls && need.keys.is_empty() => Some(Finding::warns(
            about,
            format!("it is not there {place}; images that need it are not pulled ({users})"),
            "make it, or take it out of imagePullSecrets",
        )),
        Known::Missing => Some(Finding::blocks(
            about,
            format!("it is not there {place}; used by {users}"),
            format!(
                "make it, or mark the reference optional: kubectl get {} shows what there is",
                kind.resource()
            ),
        )),
        Known::There(keys) => {
            let missing: Vec<&str> = need.keys.difference(keys).map(String::as_str).collect();
            (!missing.is_empty()).then(|| {
                Finding::blocks(
                    about,
                    format!("it has no key {}; used by {users}", missing.join(", ")),
                    "add the key, or name another",
                )
            })
        }
    }
}

/// Asks about one.
pub async fn look(
    client: &Client,
    namespace: &str,
    kind: Referred,
    name: &str,
) -> Result<Known, Problem> {
    let scoped = || client.clone();
    let found = match kind {
        Referred::Secret => {
            let api: Api<Secret> = Api::namespaced(scoped(), namespace);
            api.get_opt(name)
                .await
                .map(|found| found.map(|secret| keys_of(secret.data)))
        }
        Referred::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(scoped(), namespace);
            let both = |map: ConfigMap| &keys_of(map.data) | &keys_of(map.binary_data);
            api.get_opt(name).await.map(|found| found.map(both))
        }
        Referred::Claim => {
            is_there(
                Api::<PersistentVolumeClaim>::namespaced(scoped(), namespace),
                name,
            )
            .await
        }
        Referred::ServiceAccount => {
            is_there(Api::<ServiceAccount>::namespaced(scoped(), namespace), name).await
        }
        Referred::PriorityClass => is_there(Api::<PriorityClass>::all(scoped()), name).await,
        Referred::RuntimeClass => is_there(Api::<RuntimeClass>::all(scoped()), name).await,
    };
    let call = Call {
        verb: "get",
        resource: kind.resource(),
        namespace: if kind.is_of_namespace() {
            namespace
        } else {
            ""
        },
        name,
    };
    match found {
        Ok(None) => Ok(Known::Missing),
        Ok(Some(keys)) => Ok(Known::There(keys)),
        Err(error) => match call.problem(error) {
            problem if problem.kind == Kind::Forbidden => Ok(Known::Forbidden),
            problem => Err(problem),
        },
    }
}

fn keys_of<T>(data: Option<BTreeMap<String, T>>) -> BTreeSet<String> {
    data.into_iter().flatten().map(|(key, _)| key).collect()
}

async fn is_there<K>(api: Api<K>, name: &str) -> Result<Option<BTreeSet<String>>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    Ok(api.get_opt(name).await?.map(|_| BTreeSet::new()))
}

#[cfg(test)]
mod tests {
    use super::super::planned::tests::planned;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_pods_name_and_do_not_bring_is_found() {
        let needs = of_pods(&planned(json!({
            "job": {"command": ["x"], "files": {"a.py": ""}},
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "login", "key": "user"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "maybe", "key": "x", "optional": true}}},
            ],
            "template": {"spec": {"serviceAccountName": "etl", "imagePullSecrets": [{"name": "pull"}]}},
            "workers": {"template": {"spec": {
                "priorityClassName": "high",
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "all", "projected": {"sources": [{"secret": {"name": "login"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}},
                ],
                "containers": [{"name": "worker", "envFrom": [{"configMapRef": {"name": "settings"}}]}],
            }}},
        })));
        let names: Vec<String> = needs
            .keys()
            .map(|(kind, name)| format!("{} {name}", kind.word()))
            .collect();
        assert_eq!(
            names,
            [
                "Secret login",
                "Secret pull",
                "ConfigMap settings",
                "PersistentVolumeClaim data",
                "ServiceAccount etl",
                "PriorityClass high"
            ]
        );
        let login = &needs[&(Referred::Secret, "login".to_owned())];
        assert_eq!(login.keys, BTreeSet::from(["user".to_owned()]));
        assert_eq!(login.users.len(), 3);
        assert!(needs[&(Referred::Secret, "pull".to_owned())].only_pulls);
        let data = &needs[&(Referred::Claim, "data".to_owned())];
        assert_eq!(data.users, BTreeSet::from(["worker".to_owned()]));
    }

    #[test]
    fn what_is_missing_says_what_that_means() {
        let need = Need {
            keys: BTreeSet::from(["user".to_owned()]),
            users: BTreeSet::from(["runner".to_owned()]),
            only_pulls: false,
        };
        let text = |known| {
            finding(Referred::Secret, "login", &need, &known, "team").map(|finding| finding.text())
        };
        assert!(text(Known::Missing).unwrap().starts_with(
            "BLOCKS  Secret login: it is not there in namespace team; used by runner"
        ));
        assert!(
            text(Known::There(BTreeSet::new()))
                .unwrap()
                .contains("it has no key user")
        );
        assert_eq!(text(Known::There(need.keys.clone())), None);
        assert!(text(Known::Forbidden).unwrap().starts_with("NOTE"));
        let pull = Need {
            only_pulls: true,
            ..Need::default()
        };
        let warned = finding(Referred::Secret, "pull", &pull, &Known::Missing, "team").unwrap();
        assert!(warned.text().starts_with("WARNS"));
    }
}
