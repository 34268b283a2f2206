//! Manifests as people give them: a file or standard input, the one job in it, and what is wrong with it in sentences.

use plan::{Defaults, Outcome, Refusal, ResolvedJob};
use std::path::Path;

/// The text of a manifest, or a sentence that says why it cannot be had.
pub fn read_text(file: &Path) -> Result<String, String> {
    if file == Path::new("-") {
        return std::io::read_to_string(std::io::stdin())
            .map_err(|error| format!("cannot read standard input: {error}"));
    }
    std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {}", file.display(), why(&error)))
}

/// In the words of people; what is rare stays in those of the system.
fn why(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "you may not read it".to_owned(),
        ErrorKind::IsADirectory => "it is a directory; name the manifest in it".to_owned(),
        ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

/// Every refusal on lines of its own, the place first as compilers write it.
pub fn refusals_text(place: &str, refusals: &[Refusal]) -> String {
    let mut text = String::new();
    for refusal in refusals {
        let position = match refusal.location {
            Some(location) => match location.column {
                Some(column) => format!("{place}:{}:{column}", location.line),
                None => format!("{place}:{}", location.line),
            },
            None => place.to_owned(),
        };
        // One without a field speaks of the manifest as a whole, and some of these say so themselves.
        let subject = match refusal.field.as_str() {
            "" if refusal.reason.starts_with("the manifest ") => String::new(),
            "" => "the manifest ".to_owned(),
            field => format!("{field}: "),
        };
        text.push_str(&format!(
            "{position}: {subject}{}\n    remedy: {}\n",
            refusal.reason, refusal.remedy
        ));
    }
    text
}

/// The one job of a text.
#[derive(Debug)]
pub struct OneJob {
    pub job: ResolvedJob,
    /// Which document of the text it is, from 0.
    pub document: usize,
    /// Kinds beside it that are not ours.
    pub other_kinds: Vec<String>,
}

/// The one job of a manifest; else what is wrong, in sentences.
pub fn one_job(place: &str, text: &str) -> Result<OneJob, String> {
    let mut jobs = Vec::new();
    let mut other_kinds = Vec::new();
    for document in plan::read(text, &Defaults::default()) {
        match document.outcome {
            Outcome::Job(job) => jobs.push((document.index, *job)),
            Outcome::Refused(refusals) => {
                let place = match document.index {
                    0 => place.to_owned(),
                    index => format!("{place} (document {})", index + 1),
                };
                return Err(refusals_text(&place, &refusals));
            }
            Outcome::Other { kind } => other_kinds.push(kind),
        }
    }
    match jobs.len() {
        0 => Err(format!("{place} holds no DaskJob")),
        1 => {
            let (document, job) = jobs.remove(0);
            Ok(OneJob {
                job,
                document,
                other_kinds,
            })
        }
        count => {
            let names: Vec<&str> = jobs.iter().map(|(_, job)| job.name.as_str()).collect();
            Err(format!(
                "{place} holds {count} jobs ({}): write them into files of their own",
                names.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {name: a}\nspec: {job: {command: [x]}}\n";

    #[test]
    fn one_job_is_found_beside_other_kinds() {
        let text = format!("apiVersion: v1\nkind: ConfigMap\n---\n{JOB}");
        let found = one_job("f", &text).unwrap();
        assert_eq!((found.document, found.job.name.as_str()), (1, "a"));
        assert_eq!(found.other_kinds, ["ConfigMap"]);
    }

    #[test]
    fn none_several_and_refused_ones_are_told() {
        let several = format!("{JOB}---\n{JOB}");
        for (text, said) in [
            ("apiVersion: v1\nkind: ConfigMap\n", "f holds no DaskJob"),
            (several.as_str(), "f holds 2 jobs (a, a)"),
            ("kind: DaskJob\n", "f: apiVersion: is missing"),
            (
                "apiVersion: v1\nkind: Pod\n---\nkind: DaskJob\n",
                "f (document 2): apiVersion",
            ),
            ("a: [", "is not YAML"),
        ] {
            let problem = one_job("f", text).unwrap_err();
            assert!(problem.contains(said), "{problem}");
        }
    }
}
