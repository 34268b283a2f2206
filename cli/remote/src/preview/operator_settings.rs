//! How the operator of this cluster is set up, from its Deployment: what it decides about objects that the manifest leaves
//! open. Pure.

use contract::environment as env;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use plan::objects::ObjectConfig;

/// What finds the operator's Deployment, however it was installed.
pub const SELECTOR: &str = "app.kubernetes.io/name=daskjob-operator";

/// A setting, by variable and by flag.
fn setting(container: &Container, variable: &str, flag: &str) -> Option<String> {
    let words: Vec<&String> = container
        .command
        .iter()
        .chain(&container.args)
        .flatten()
        .collect();
    let with_equals = format!("{flag}=");
    let by_flag = words.iter().enumerate().find_map(|(index, word)| {
        if word.as_str() == flag {
            return words.get(index + 1).map(|value| (*value).clone());
        }
        word.strip_prefix(&with_equals).map(str::to_owned)
    });
    let variables = container.env.iter().flatten();
    let by_variable = || {
        variables
            .into_iter()
            .find(|known| known.name == variable)
            .and_then(|known| known.value.clone())
    };
    by_flag
        .or_else(by_variable)
        .filter(|value| !value.is_empty())
}

/// The settings of the operator that looks after this namespace: one that names it, else one of all namespaces.
pub fn read(deployments: &[Deployment], namespace: &str) -> Option<ObjectConfig> {
    let operators: Vec<(&Deployment, &Container)> = deployments
        .iter()
        .filter_map(|deployment| Some((deployment, operator_of(deployment)?)))
        .collect();
    let names = |(_, container): &&(&Deployment, &Container)| {
        namespaces(container).iter().any(|name| name == namespace)
    };
    let is_for_all = |(_, container): &&(&Deployment, &Container)| namespaces(container).is_empty();
    let found = operators.iter().find(names);
    let (deployment, container) = found.or_else(|| operators.iter().find(is_for_all))?;
    let mut config = of_container(container);
    config
        .operator_namespace
        .clone_from(&deployment.metadata.namespace);
    Some(config)
}

fn operator_of(deployment: &Deployment) -> Option<&Container> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let named = pod.containers.iter().find(|each| each.name == "operator");
    named.or(pod.containers.first())
}

/// Whose jobs it runs; none stands for all.
fn namespaces(container: &Container) -> Vec<String> {
    list(setting(container, env::OPERATOR_NAMESPACES, "--namespaces"))
}

fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn of_container(container: &Container) -> ObjectConfig {
    let usual = ObjectConfig::default();
    let labels = list(setting(
        container,
        env::OPERATOR_LABELS,
        "--operator-labels",
    ));
    ObjectConfig {
        worker_image: setting(container, env::OPERATOR_WORKER_IMAGE, "--worker-image")
            .unwrap_or(usual.worker_image),
        image_pull_policy: setting(
            container,
            env::OPERATOR_IMAGE_PULL_POLICY,
            "--image-pull-policy",
        ),
        image_pull_secrets: list(setting(
            container,
            env::OPERATOR_IMAGE_PULL_SECRETS,
            "--image-pull-secrets",
        )),
        cluster_domain: setting(container, env::OPERATOR_CLUSTER_DOMAIN, "--cluster-domain")
            .unwrap_or(usual.cluster_domain),
        operator_namespace: None,
        operator_labels: labels
            .iter()
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        termination_grace_seconds: setting(
            container,
            env::OPERATOR_TERMINATION_GRACE_SECONDS,
            "--termination-grace-seconds",
        )
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual.termination_grace_seconds),
        run_as_non_root: setting(
            container,
            env::OPERATOR_RUN_AS_NON_ROOT,
            "--run-as-non-root",
        )
        .is_some_and(|text| text == "true")
            || container
                .args
                .iter()
                .flatten()
                .any(|word| word == "--run-as-non-root"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_come_from_variables_and_flags_and_flags_win() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "daskjob"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "side"},
                {"name": "operator", "args": ["operator", "--worker-image", "w:2", "--cluster-domain=c.local"], "env": [
                    {"name": "DASKJOB_OPERATOR_WORKER_IMAGE", "value": "w:1"},
                    {"name": "DASKJOB_OPERATOR_IMAGE_PULL_SECRETS", "value": "a, b"},
                    {"name": "DASKJOB_OPERATOR_LABELS", "value": "app=x,tier=y"},
                    {"name": "DASKJOB_OPERATOR_RUN_AS_NON_ROOT", "value": "true"},
                    {"name": "DASKJOB_OPERATOR_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                ]},
            ]}}},
        }))
        .unwrap();
        let config = read(&[deployment], "team").unwrap();
        assert_eq!(
            (config.worker_image.as_str(), config.cluster_domain.as_str()),
            ("w:2", "c.local")
        );
        assert_eq!(config.image_pull_secrets, ["a", "b"]);
        assert_eq!(config.operator_labels["tier"], "y");
        assert!(config.run_as_non_root);
        assert_eq!(config.operator_namespace.as_deref(), Some("daskjob"));
        assert_eq!(read(&[], "team"), None);
    }

    #[test]
    fn the_operator_of_the_namespace_is_asked_and_no_other() {
        let operator = |image: &str, namespaces: &str| -> Deployment {
            let env = json!([
                {"name": "DASKJOB_OPERATOR_WORKER_IMAGE", "value": image},
                {"name": "DASKJOB_OPERATOR_NAMESPACES", "value": namespaces},
            ]);
            let containers = json!([{"name": "operator", "env": env}]);
            serde_json::from_value(
                json!({"spec": {"selector": {}, "template": {"spec": {"containers": containers}}}}),
            )
            .unwrap()
        };
        let all = [
            operator("others", "one,two"),
            operator("everybodys", ""),
            operator("own", "three, team"),
        ];
        let image = |among: &[Deployment]| read(among, "team").map(|config| config.worker_image);
        assert_eq!(image(&all).as_deref(), Some("own"));
        assert_eq!(image(&all[..2]).as_deref(), Some("everybodys"));
        assert_eq!(image(&all[..1]), None);
    }
}
