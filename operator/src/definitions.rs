//! Creates or updates custom resource definitions from a file, and nothing else: what the chart's hook asks for where a
//! definition is there that is not Helm's. Knows nothing of what they define.

use crate::api::FIELD_MANAGER;
use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use std::path::Path;

/// By server-side apply: labels and annotations of others stay, and so do all objects of the kind.
pub async fn apply(client: Client, file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let definitions = contract::yaml::parse_documents(&text)
        .with_context(|| format!("understand {}", file.display()))?;
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let api: Api<DynamicObject> = Api::all_with(client, &kind);
    for (_, definition) in definitions {
        let name = definition.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.context("find the name of a definition")?;
        let how = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api
            .patch(name, &how, &Patch::Apply(&definition))
            .await
            .with_context(|| format!("apply the definition {name}"))?;
        let disowned = json!({"metadata": {"managedFields": owners_of_status(applied)}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(&disowned))
            .await
            .with_context(|| format!("leave the definition {name} to whoever upgrades it"))?;
        tracing::info!(object = name, "the definition is applied");
    }
    Ok(())
}

/// All that may own a field afterwards: who upgrades the definition next, by server-side apply as Helm 4 does, would meet
/// a conflict with any other, us and `kubectl apply` included.
fn owners_of_status(applied: DynamicObject) -> Vec<ManagedFieldsEntry> {
    let owners = applied.metadata.managed_fields.unwrap_or_default();
    owners
        .into_iter()
        .filter(|owner| owner.subresource.is_some())
        .collect()
}
