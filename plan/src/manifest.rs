//! Reading manifests from text: several documents, each a job, something else, or refused.

use crate::locate::locate;
use crate::refusal::{Location, Refusal};
use crate::resolve::{Defaults, resolve_manifest};
use crate::resolved::ResolvedJob;
use serde_json::Value;

/// The API group of the dask-kubernetes operator, whose kinds look like ours.
const OTHER_OPERATORS_GROUP: &str = "kubernetes.dask.org/";

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// From 0, as they stand in the text.
    pub index: usize,
    /// `metadata.name`, if there is one.
    pub name: Option<String>,
    pub outcome: Outcome,
}

/// What a document turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Job(Box<ResolvedJob>),
    Refused(Vec<Refusal>),
    /// A kind that is not ours, such as a ConfigMap beside the job: not looked at.
    Other {
        kind: String,
    },
}

/// Every document of a text. A text that is not YAML is one refused document.
pub fn read(text: &str, defaults: &Defaults) -> Vec<Document> {
    let documents = match contract::yaml::parse_documents(text) {
        Ok(documents) => documents,
        Err(error) => return vec![unreadable(&error)],
    };
    if documents.is_empty() {
        let refusal = Refusal::new(
            "",
            "the manifest is empty",
            format!(
                "begin with apiVersion: {} and kind: {}",
                crd::api_version(),
                crd::KIND
            ),
        );
        return vec![Document {
            index: 0,
            name: None,
            outcome: Outcome::Refused(vec![refusal]),
        }];
    }
    documents
        .into_iter()
        .map(|(index, value)| Document {
            index,
            name: value["metadata"]["name"].as_str().map(str::to_owned),
            outcome: outcome_of(&value, text, index, defaults),
        })
        .collect()
}

fn unreadable(error: &contract::yaml::YamlError) -> Document {
    let mut refusal = Refusal::new(
        "",
        format!("is not YAML: {}", error.message),
        "check indentation, colons and quotes around this place",
    );
    refusal.location = error.line.map(|line| Location {
        line,
        column: error.column,
    });
    Document {
        index: error.document,
        name: None,
        outcome: Outcome::Refused(vec![refusal]),
    }
}

fn outcome_of(value: &Value, text: &str, index: usize, defaults: &Defaults) -> Outcome {
    let outcome = match check_kind(value) {
        Kind::Ours => resolve_manifest(value, defaults),
        Kind::Other(kind) => return Outcome::Other { kind },
        Kind::Refused(refusals) => Err(refusals),
    };
    match outcome {
        Ok(job) => Outcome::Job(Box::new(job)),
        Err(mut refusals) => {
            for refusal in &mut refusals {
                refusal.location = locate(text, index, &refusal.field);
            }
            refusals.sort_by_key(|refusal| refusal.location);
            Outcome::Refused(refusals)
        }
    }
}

enum Kind {
    Ours,
    Other(String),
    Refused(Vec<Refusal>),
}

fn check_kind(value: &Value) -> Kind {
    if !value.is_object() {
        return refused(
            "",
            "is not a map of fields",
            "begin with apiVersion, kind, metadata and spec",
        );
    }
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default();
    let ours = crd::api_version();
    if api_version == ours && kind == crd::KIND {
        return Kind::Ours;
    }
    if api_version.starts_with(OTHER_OPERATORS_GROUP) {
        let reason = format!("{api_version} {kind} is a kind of the dask-kubernetes operator");
        return refused(
            "apiVersion",
            &reason,
            &format!("write apiVersion: {ours} and its fields instead"),
        );
    }
    if api_version.is_empty() || kind.is_empty() {
        let field = if api_version.is_empty() {
            "apiVersion"
        } else {
            "kind"
        };
        return refused(
            field,
            "is missing",
            &format!("write apiVersion: {ours} and kind: {}", crd::KIND),
        );
    }
    let (group, _) = api_version.split_once('/').unwrap_or_default();
    let of_our_group = crate::distance::nearest(group, [crd::GROUP]).is_some();
    let of_our_kind = crate::distance::nearest(kind, [crd::KIND]).is_some();
    if of_our_group && api_version != ours {
        return refused(
            "apiVersion",
            &format!("there is no {api_version} here"),
            &format!("did you mean {ours}?"),
        );
    }
    if of_our_group || of_our_kind {
        let (field, written, meant) = if kind == crd::KIND {
            ("apiVersion", api_version, ours.as_str())
        } else {
            ("kind", kind, crd::KIND)
        };
        return refused(
            field,
            &format!("there is no {written} here"),
            &format!("did you mean {meant}?"),
        );
    }
    Kind::Other(kind.to_owned())
}

fn refused(field: &str, reason: &str, remedy: &str) -> Kind {
    Kind::Refused(vec![Refusal::new(field, reason, remedy)])
}
