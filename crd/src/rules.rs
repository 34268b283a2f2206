//! CEL rules of single fields and of what every role has: what a user reads when an API server refuses a manifest, so
//! each names the remedy. `plan` refuses the same.
//!
//! A regular expression of the schema would be shorter, but its refusal shows only the expression.

use serde_json::{Value, json};

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// White space of any script, inside a class of a regular expression.
const WHITE_SPACE: &str = r"\x09-\x0d\x{85}\pZ";

/// A container image.
pub(crate) fn of_image() -> Value {
    json!([rule(
        &format!("!self.matches(r'[{WHITE_SPACE}]')"),
        "an image holds no white space: remove it",
    )])
}

/// The name of an environment variable.
pub(crate) fn of_variable_name() -> Value {
    json!([rule(
        "self.matches('^[-._a-zA-Z][-._a-zA-Z0-9]*$')",
        "this cannot be the name of an environment variable: use letters, digits, _, - and ., not beginning with a digit",
    )])
}

/// An environment variable.
pub(crate) fn of_variable() -> Value {
    json!([rule(
        "!has(self.value) || !has(self.valueFrom)",
        "a variable has both value and valueFrom: write one of them",
    )])
}

/// The name of a worker group.
pub(crate) fn of_group_name() -> Value {
    json!([
        rule(
            "self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "this cannot be the name of a group: use lower-case letters, digits and -, beginning with a letter",
        ),
        rule(
            "self != 'default'",
            "the group default is spec.workers: write it there, or choose another name",
        ),
    ])
}

/// Dask's abstract resources.
pub(crate) fn of_dask_resources() -> Value {
    json!([
        rule(
            &format!("self.all(name, name.matches(r'^[^{WHITE_SPACE}=,]+$'))"),
            "the name of a resource is empty or holds white space, = or ,: use a word such as GPU",
        ),
        rule(
            "self.all(name, self[name] >= 0.0)",
            "the amount of a resource is negative: write 0 or more",
        ),
    ])
}

/// The program to run with its first arguments.
pub(crate) fn of_command() -> Value {
    json!([rule(
        "self.size() == 0 || self[0] != ''",
        "the first item is the program to run and is empty: write its name, such as python",
    )])
}

/// A part of a path that is neither `.` nor `..`, nor holds a backslash or a control character.
const PART: &str = r"([^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.[^./\\\x00-\x1f\x7f-\x{9f}][^/\\\x00-\x1f\x7f-\x{9f}]*|\.\.[^/\\\x00-\x1f\x7f-\x{9f}]+)";

/// Files: path to text.
pub(crate) fn of_files() -> Value {
    let leaves = format!("!path.matches(r'^{PART}(/{PART})*$')");
    let is_directory = "self.exists(other, other.startsWith(path + '/'))";
    json!([
        {
            "rule": format!("!self.exists(path, {leaves})"),
            "message": "a path does not stay below the working directory: write one such as main.py",
            "messageExpression": format!(
                "'the path \"' + self.filter(path, {leaves})[0] + '\" does not stay below the working directory: write one such as main.py or package/module.py'"
            ),
        },
        {
            "rule": format!("!self.exists(path, {is_directory})"),
            "message": "a file is also the directory of another: rename one of the two",
            "messageExpression": format!(
                "'\"' + self.filter(path, {is_directory})[0] + '\" is a file and also the directory of another: rename one of the two'"
            ),
        },
        rule(
            "self.map(path, size(bytes(path)) + size(bytes(self[path]))).sum() < 921600",
            "files are 900 KiB or more together: put large ones into the image or a volume",
        ),
    ])
}

/// What holds of a role as a whole: of `spec` and of everything in it that has containers, once. In a list of groups,
/// and for any resource, it would be beyond what a rule may cost.
pub(crate) fn of_role() -> Value {
    let amount = |list: &str| format!("quantity(string(self.{list}[name]))");
    json!({
        "rule": format!(
            "!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(name, !(name in self.requests) || !(name in self.limits) || {}.compareTo({}) <= 0)",
            amount("requests"), amount("limits"),
        ),
        "message": "a request is more than the limit: lower it, or raise the limit",
        "fieldPath": ".requests",
    })
}

/// What holds of the whole object: rules of the status see nothing where there is none any more.
pub(crate) fn of_whole() -> Value {
    rule(
        "!has(oldSelf.status) || has(self.status)",
        "a status that was written stays: write what changed in it",
    )
}
