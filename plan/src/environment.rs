//! Environment variables: what each role has where nobody says otherwise, merging lists by name, and `$(NAME)` as a
//! pod expands it.

use crate::refusal::Refusals;
use contract::Role;
use contract::environment as names;
use crd::{Engine, EnvVar};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// One variable of a role.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResolvedEnv {
    pub name: String,
    #[serde(flatten)]
    pub value: EnvValue,
}

/// Where its value comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EnvValue {
    /// Text of the manifest.
    Value(String),
    /// Something the cluster has: a secret, a config map, a field of the pod.
    ValueFrom(Value),
}

/// What a role's process gets where neither its surroundings (a shell, an image) nor the manifest set it.
pub fn defaults(engine: Engine, role: Role) -> Vec<(&'static str, &'static str)> {
    let mut defaults = vec![names::HASH_SEED];
    match role {
        Role::Worker => defaults.extend(names::NANNY_DEFAULTS),
        Role::Runner => defaults.extend(names::RUNNER_DEFAULTS),
        Role::Scheduler => {}
    }
    match engine {
        // Our scheduler does not carry peer-to-peer shuffles yet.
        Engine::Native => defaults.extend([
            (names::DATAFRAME_SHUFFLE_METHOD, "tasks"),
            (names::ARRAY_RECHUNK_METHOD, "tasks"),
        ]),
        Engine::Dask if role == Role::Scheduler => defaults.push(names::STOCK_HTTP_ROUTES),
        Engine::Dask => {}
    }
    defaults
}

/// Variables of every role, then those of one role; the later one of a name wins in place.
pub(crate) fn merge(of_all: &[EnvVar], of_role: &[EnvVar]) -> Vec<ResolvedEnv> {
    let mut merged: Vec<ResolvedEnv> = Vec::with_capacity(of_all.len() + of_role.len());
    for variable in of_all.iter().chain(of_role) {
        let value = match &variable.value_from {
            Some(source) => EnvValue::ValueFrom(source.clone()),
            None => EnvValue::Value(variable.value.clone().unwrap_or_default()),
        };
        match merged.iter_mut().find(|known| known.name == variable.name) {
            Some(known) => known.value = value,
            None => merged.push(ResolvedEnv {
                name: variable.name.clone(),
                value,
            }),
        }
    }
    merged
}

/// Refuses what cannot be an environment variable.
pub(crate) fn check(list: &[EnvVar], field: &str, refusals: &mut Refusals) {
    for (index, variable) in list.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if !is_name(&variable.name) {
            refusals.add(
                format!("{at}.name"),
                format!(
                    "\"{}\" cannot be the name of an environment variable",
                    variable.name
                ),
                "use letters, digits, _, - and ., not beginning with a digit",
            );
        }
        if variable.value.is_some() && variable.value_from.is_some() {
            refusals.add(&at, "has both value and valueFrom", "write one of them");
        }
        if variable
            .value
            .as_ref()
            .is_some_and(|value| value.contains('\0'))
        {
            refusals.add(format!("{at}.value"), "holds a zero character", "remove it");
        }
        if list[..index]
            .iter()
            .any(|earlier| earlier.name == variable.name)
        {
            refusals.add(
                format!("{at}.name"),
                format!("{} is set twice in this list", variable.name),
                "keep one of them",
            );
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
    name.chars().all(allowed)
        && name
            .chars()
            .next()
            .is_some_and(|first| !first.is_ascii_digit())
}

/// Replaces `$(NAME)` by a variable that is known, `$$` by `$`; an unknown `$(NAME)` stays as it is.
pub fn expand(text: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        expanded.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'))
        {
            match known.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: &str) -> EnvVar {
        EnvVar {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            value_from: None,
        }
    }

    #[test]
    fn the_variable_of_a_role_wins_over_that_of_all_roles() {
        let merged = merge(
            &[variable("A", "1"), variable("B", "2")],
            &[variable("A", "3")],
        );
        let pairs: Vec<_> = merged
            .iter()
            .map(|env| (env.name.as_str(), &env.value))
            .collect();
        assert_eq!(
            pairs,
            [
                ("A", &EnvValue::Value("3".to_owned())),
                ("B", &EnvValue::Value("2".to_owned()))
            ]
        );
    }

    #[test]
    fn a_known_variable_is_expanded_as_in_a_pod() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &known), expected, "{text}");
        }
    }
}
