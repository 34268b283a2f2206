//! The chart sets the operator's environment, and nobody would notice a name that the operator does not know.

use std::collections::BTreeSet;
use std::fs;

use clap::{Args, Command};
use operator::OperatorArgs;

/// Left to their defaults by the chart: the host's name is the pod's, and the port is the container's.
const LEFT_OUT: [&str; 2] = ["DASKJOB_OPERATOR_IDENTITY", "DASKJOB_OPERATOR_LISTEN"];

fn template(name: &str) -> String {
    let templates = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../charts/daskjob-operator/templates"
    );
    fs::read_to_string(format!("{templates}/{name}")).expect("the template can be read")
}

/// Names of variables, as far as they are ours.
fn variables(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("DASKJOB_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_chart_sets_every_flag_and_no_other() {
    let command = OperatorArgs::augment_args(Command::new("operator"));
    let known: BTreeSet<_> = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str())
        .filter(|name| !LEFT_OUT.contains(name))
        .map(str::to_owned)
        .collect();
    assert_eq!(variables(&template("deployment.yaml")), known);
}

#[test]
fn the_flag_of_the_hook_is_there() {
    let command = OperatorArgs::augment_args(Command::new("operator"));
    let hook = template("definition-taken-over.yaml");
    let flag = command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .find(|flag| hook.contains(&format!("args: [--{flag},")));
    assert_eq!(flag, Some("apply-definitions"));
}
