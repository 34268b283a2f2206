//! From a text and what the command line adds to the object that is sent, checked before any cluster is asked.

use crate::problem::Problem;
use plan::Defaults;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use terminal::{one_job, refusals_text};

/// What is sent.
#[derive(Debug)]
pub struct Manifest {
    pub object: Value,
    /// Kinds beside it that are not sent.
    pub other_kinds: Vec<String>,
}

impl Manifest {
    /// The namespace it names.
    pub fn namespace(&self) -> Option<&str> {
        self.object["metadata"]["namespace"].as_str()
    }

    /// The name it asks for; none where the cluster is to make one up.
    pub fn name(&self) -> Option<&str> {
        self.object["metadata"]["name"].as_str()
    }
}

/// The one job of a text, with another name and files where they are asked for.
pub fn prepare(
    place: &str,
    text: &str,
    name: Option<&str>,
    files: Option<BTreeMap<String, String>>,
) -> Result<Manifest, Problem> {
    let refused = |said: String| Problem::refused(said, "");
    let found = one_job(place, text).map_err(refused)?;
    let documents =
        contract::yaml::parse_documents(text).map_err(|error| refused(error.to_string()))?;
    let object = documents
        .into_iter()
        .find(|(index, _)| *index == found.document);
    let mut object = object.map(|(_, value)| value).unwrap_or_default();
    // The status is the operator's to write.
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(name) = name {
        object["metadata"]["name"] = json!(name);
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("generateName");
        }
    }
    if let Some(files) = files {
        add_files(&mut object, files)?;
    }
    plan::resolve_manifest(&object, &Defaults::default())
        .map_err(|refusals| refused(refusals_text(place, &refusals)))?;
    Ok(Manifest {
        object,
        other_kinds: found.other_kinds,
    })
}

fn add_files(object: &mut Value, files: BTreeMap<String, String>) -> Result<(), Problem> {
    let Some(job) = object["spec"]["job"].as_object_mut() else {
        return Err(Problem::refused(
            "--with-files: the manifest has no spec.job that could use files",
            "add spec.job with a command, or leave --with-files out",
        ));
    };
    let written = job
        .entry("files")
        .or_insert_with(|| Value::Object(Map::new()));
    if written.is_null() {
        *written = Value::Object(Map::new());
    }
    let Some(written) = written.as_object_mut() else {
        return Ok(()); // refused when the manifest is read
    };
    let twice: Vec<&str> = files
        .keys()
        .filter(|path| written.contains_key(*path))
        .map(String::as_str)
        .collect();
    if !twice.is_empty() {
        return Err(Problem::refused(
            format!("--with-files: the manifest has {} too", twice.join(", ")),
            "keep each file in one of the two places",
        ));
    }
    written.extend(files.into_iter().map(|(path, text)| (path, json!(text))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: daskjob.dev/v1alpha1
kind: DaskJob
metadata: {name: etl, namespace: team}
spec:
  job:
    command: [python, main.py]
    files: {a.py: x}
status: {attempt: 3}
";

    fn files(paths: &[&str]) -> Option<BTreeMap<String, String>> {
        Some(
            paths
                .iter()
                .map(|path| ((*path).to_owned(), "text".to_owned()))
                .collect(),
        )
    }

    #[test]
    fn name_and_files_of_the_command_line_go_into_the_manifest() {
        let manifest = prepare("f", TEXT, Some("other"), files(&["b.py"])).unwrap();
        assert_eq!(
            (manifest.name(), manifest.namespace()),
            (Some("other"), Some("team"))
        );
        assert_eq!(
            manifest.object["spec"]["job"]["files"],
            json!({"a.py": "x", "b.py": "text"})
        );
        assert_eq!(manifest.object["status"], Value::Null);
    }

    #[test]
    fn a_name_takes_the_place_of_a_prefix() {
        let text = TEXT.replace("name: etl", "generateName: etl-");
        assert_eq!(prepare("f", &text, None, None).unwrap().name(), None);
        let named = prepare("f", &text, Some("x"), None).unwrap();
        assert_eq!(
            (named.name(), &named.object["metadata"]["generateName"]),
            (Some("x"), &Value::Null)
        );
    }

    #[test]
    fn a_file_in_both_places_is_refused() {
        let problem = prepare("f", TEXT, None, files(&["a.py", "c.py"])).unwrap_err();
        assert!(problem.said.contains("has a.py too"));
    }

    #[test]
    fn what_the_command_line_makes_wrong_is_refused_with_its_field() {
        let problem = prepare("f", TEXT, Some("Not A Name"), None).unwrap_err();
        assert!(problem.said.contains("metadata.name"), "{}", problem.said);
        let problem = prepare("f", TEXT, None, files(&["a.py/b"])).unwrap_err();
        assert!(
            problem.said.contains("spec.job.files[a.py]"),
            "{}",
            problem.said
        );
        let interactive = TEXT.replace(
            "  job:\n    command: [python, main.py]\n    files: {a.py: x}\n",
            "  workers: {threads: 1}\n",
        );
        assert!(
            prepare("f", &interactive, None, files(&["a.py"]))
                .unwrap_err()
                .said
                .contains("no spec.job")
        );
    }
}
