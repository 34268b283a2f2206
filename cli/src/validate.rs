//! `daskjob validate`: what manifests resolve to, or what is wrong with them.

use clap::{Args, ValueEnum};
use plan::{Defaults, Document, Outcome, ResolvedJob, ResolvedWorkerGroup};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use terminal::{print, read_text, refusals_text};

/// Check manifests without running them.
///
/// Prints what each job resolves to, defaults included, or every mistake with its field, the reason and the remedy.
/// Exit code: 0 when everything is good, 1 when something is refused, 2 when a file cannot be read.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Manifests to check; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Shape of the answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

pub fn main(arguments: &ValidateArgs) -> ExitCode {
    let mut answers = Vec::new();
    let mut exit_code = 0;
    for file in &arguments.files {
        match read_text(file) {
            Ok(text) => {
                let documents = plan::read(&text, &Defaults::default());
                if documents
                    .iter()
                    .any(|document| matches!(document.outcome, Outcome::Refused(_)))
                {
                    exit_code = exit_code.max(1);
                }
                answers.push((file, documents));
            }
            Err(error) => {
                eprintln!("daskjob: {error}");
                exit_code = contract::exit_code::REFUSED;
            }
        }
    }
    let text: String = match arguments.output {
        Output::Text => answers
            .iter()
            .map(|(file, documents)| text_of(file, documents))
            .collect(),
        Output::Json => {
            let all: Vec<Value> = answers
                .iter()
                .flat_map(|(file, documents)| {
                    documents.iter().map(|document| json_of(file, document))
                })
                .collect();
            serde_json::to_string_pretty(&all).expect("answers are JSON") + "\n"
        }
    };
    print(&text);
    ExitCode::from(exit_code)
}

fn json_of(file: &Path, document: &Document) -> Value {
    let mut answer = json!({"file": file, "document": document.index + 1, "name": document.name});
    match &document.outcome {
        Outcome::Job(job) => {
            answer["valid"] = json!(true);
            answer["job"] = json!(job);
        }
        Outcome::Refused(refusals) => {
            answer["valid"] = json!(false);
            answer["refusals"] = json!(refusals);
        }
        Outcome::Other { kind } => {
            answer["skipped"] = json!(format!("{kind} is not a kind of ours"))
        }
    }
    answer
}

fn text_of(file: &Path, documents: &[Document]) -> String {
    documents
        .iter()
        .map(|document| {
            let place = place_of(file, document, documents.len());
            match &document.outcome {
                Outcome::Job(job) => format!("{place}: {}", summary_of(job)),
                Outcome::Refused(refusals) => refusals_text(&place, refusals),
                Outcome::Other { kind } => {
                    format!("{place}: {kind} is not a kind of ours: not checked\n")
                }
            }
        })
        .collect()
}

/// The file, and the number of the document where there are several.
fn place_of(file: &Path, document: &Document, documents: usize) -> String {
    if documents == 1 {
        file.display().to_string()
    } else {
        format!("{} (document {})", file.display(), document.index + 1)
    }
}

fn summary_of(job: &ResolvedJob) -> String {
    let mut text = format!("DaskJob {} is valid\n", job.name);
    text.push_str(&format!("    engine:    {}\n", job.engine.as_str()));
    match &job.job {
        Some(runner) => {
            let command: Vec<&str> = runner
                .command
                .iter()
                .chain(&runner.args)
                .map(String::as_str)
                .collect();
            text.push_str(&format!("    command:   {}\n", command.join(" ")));
            let files: Vec<&str> = runner.files.iter().map(|(path, _)| path.as_str()).collect();
            if !files.is_empty() {
                text.push_str(&format!("    files:     {}\n", files.join(", ")));
            }
        }
        None => text.push_str("    command:   none: an interactive cluster\n"),
    }
    for group in &job.worker_groups {
        text.push_str(&format!("    workers:   {}\n", group_summary(group)));
    }
    if job.suspend {
        text.push_str("    suspended: nothing runs until suspend is false\n");
    }
    text
}

fn group_summary(group: &ResolvedWorkerGroup) -> String {
    let mut text = format!(
        "{} x {} with {} thread{}",
        group.count,
        group.name,
        group.threads,
        if group.threads == 1 { "" } else { "s" }
    );
    if let Some(bytes) = group.memory_limit_bytes {
        text.push_str(&format!(", {:.2} GiB", bytes as f64 / f64::from(1 << 30)));
    }
    for (name, amount) in &group.dask_resources {
        text.push_str(&format!(", {name}={amount}"));
    }
    if let Some(scaling) = group.scaling {
        text.push_str(&format!(
            ", adapting between {} and {}",
            scaling.minimum, scaling.maximum
        ));
    }
    text
}
