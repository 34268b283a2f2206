//! The values of the chart as a table: path, default, and the comment above each.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One value a user may set.
struct Entry {
    path: Vec<String>,
    comment: String,
}

/// The table, in the order of the file.
pub fn table(text: &str) -> Result<String> {
    let defaults = contract::yaml::parse(text).context("understand values.yaml")?;
    let mut table = "| value | default | |\n|---|---|---|\n".to_owned();
    for entry in entries(text)? {
        let pointer = format!("/{}", entry.path.join("/"));
        let default = defaults.pointer(&pointer).unwrap_or(&Value::Null);
        table.push_str(&format!(
            "| `{}` | `{default}` | {} |\n",
            entry.path.join("."),
            entry.comment.replace('|', "\\|"),
        ));
    }
    Ok(table)
}

/// A key with a comment above it is a value, whatever is below it; one without holds values.
fn entries(text: &str) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        let words = line.trim_start();
        let depth = (line.len() - words.len()) / 2;
        if words.is_empty() {
            comment.clear();
            continue;
        }
        if inside.is_some_and(|value| depth > value) {
            continue;
        }
        inside = None;
        if let Some(words) = words.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let (key, rest) = words
            .split_once(':')
            .with_context(|| format!("find a key in {line:?}"))?;
        path.truncate(depth);
        path.push(key.to_owned());
        if !comment.is_empty() {
            found.push(Entry {
                path: path.clone(),
                comment: comment.join(" "),
            });
            comment.clear();
            inside = Some(depth);
        } else if !rest.trim().is_empty() {
            bail!("values.yaml: {} has no comment", path.join("."));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const EXAMPLE: &str = "# About the file.\n\n# One.\na: 1\nb:\n  # Two,\n  # in two lines.\n  c: [x]\n  # Three | more.\n  d:\n    e: f\ng:\n  # Four.\n  h: \"\"\n";

    #[test]
    fn a_value_has_its_path_its_default_and_its_comment() {
        assert_eq!(
            table(EXAMPLE).unwrap(),
            "| value | default | |\n|---|---|---|\n| `a` | `1` | One. |\n| `b.c` | `[\"x\"]` | Two, in two lines. |\n\
             | `b.d` | `{\"e\":\"f\"}` | Three \\| more. |\n| `g.h` | `\"\"` | Four. |\n"
        );
    }

    #[test]
    fn a_value_without_a_comment_is_refused() {
        let error = table("a:\n  b: 1\n").unwrap_err();
        assert!(error.to_string().contains("a.b has no comment"), "{error}");
    }

    fn paths(text: &str) -> BTreeSet<String> {
        let entries = entries(text).unwrap();
        entries.iter().map(|entry| entry.path.join(".")).collect()
    }

    /// Helm itself refuses a value the schema does not know; this is the other way round.
    #[test]
    fn the_schema_knows_no_value_that_is_not_there() {
        let read = |name: &str| super::super::read(&format!("{}/{name}", super::super::CHART));
        let known = paths(&read("values.yaml").unwrap());
        let schema: Value = serde_json::from_str(&read("values.schema.json").unwrap()).unwrap();
        let mut allowed = BTreeSet::new();
        walk(&schema, "", &known, &mut allowed);
        // Whatever a chart above this one has for all of its charts.
        allowed.remove("global");
        assert_eq!(allowed, known);
    }

    fn walk(schema: &Value, path: &str, known: &BTreeSet<String>, found: &mut BTreeSet<String>) {
        let properties = schema["properties"].as_object();
        match properties.filter(|_| !known.contains(path)) {
            None => {
                found.insert(path.to_owned());
            }
            Some(properties) => {
                assert_eq!(
                    schema["additionalProperties"], false,
                    "{path} takes anything"
                );
                for (name, below) in properties {
                    let path = format!("{path}.{name}");
                    walk(below, path.trim_start_matches('.'), known, found);
                }
            }
        }
    }
}
