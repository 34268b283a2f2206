//! The only place that names the YAML library: reading documents and writing them.
//!
//! The library is archived by its author; to replace it, change this file.

use serde::Serialize;
use serde::de::Deserialize;
use serde_json::{Map, Number, Value};

/// Text that is not YAML, or YAML that is not JSON-like data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    pub message: String,
    /// From 1; where the parser could tell.
    pub line: Option<usize>,
    /// From 1.
    pub column: Option<usize>,
    /// Which document of the text, from 0.
    pub document: usize,
}

/// Every document of a text, empty ones left out, with its number from 0.
pub fn parse_documents(text: &str) -> Result<Vec<(usize, Value)>, YamlError> {
    let mut documents = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let mut value =
            serde_yaml::Value::deserialize(document).map_err(|error| at(index, &error))?;
        value.apply_merge().map_err(|error| at(index, &error))?;
        let value = to_json(value).map_err(|message| YamlError {
            message,
            line: None,
            column: None,
            document: index,
        })?;
        if !value.is_null() {
            documents.push((index, value));
        }
    }
    Ok(documents)
}

/// One document; an empty text is null.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let mut documents = parse_documents(text)?;
    match documents.len() {
        0 => Ok(Value::Null),
        1 => Ok(documents.remove(0).1),
        count => Err(YamlError {
            message: format!("expected one document, found {count}"),
            line: None,
            column: None,
            document: 1,
        }),
    }
}

/// One document of Dask's configuration: what Kubernetes refuses and Dask's reader takes is taken here too, numbers that
/// are not finite as their text (`.inf`), tagged values without their tag.
pub fn parse_configuration(text: &str) -> Result<Value, YamlError> {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| at(0, &error))?;
    value.apply_merge().map_err(|error| at(0, &error))?;
    relax(&mut value);
    to_json(value).map_err(|message| YamlError {
        message,
        line: None,
        column: None,
        document: 0,
    })
}

/// Replaces what has no JSON form by what comes closest.
fn relax(value: &mut serde_yaml::Value) {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Number(number) if to_json_number(number).is_err() => {
            *value = Yaml::String(number.to_string());
        }
        Yaml::Sequence(items) => items.iter_mut().for_each(relax),
        Yaml::Mapping(entries) => entries.values_mut().for_each(relax),
        Yaml::Tagged(tagged) => {
            *value = std::mem::take(&mut tagged.value);
            relax(value);
        }
        Yaml::Null | Yaml::Bool(_) | Yaml::String(_) | Yaml::Number(_) => {}
    }
}

/// One document as text.
pub fn to_string(value: &impl Serialize) -> Result<String, YamlError> {
    serde_yaml::to_string(value).map_err(|error| at(0, &error))
}

fn at(document: usize, error: &serde_yaml::Error) -> YamlError {
    let location = error.location();
    YamlError {
        message: without_locations(&error.to_string()),
        line: location.as_ref().map(serde_yaml::Location::line),
        column: location.as_ref().map(serde_yaml::Location::column),
        document,
    }
}

/// The location is a field of its own; the library repeats it inside the text, as
/// ` at line 4 column 1`.
fn without_locations(message: &str) -> String {
    let mut parts = message.split(" at line ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.trim_start_matches(|letter: char| {
            letter.is_ascii_digit() || " column".contains(letter)
        }));
    }
    text
}

/// Kubernetes reads YAML as JSON, so a key must be text and a number finite.
fn to_json(value: serde_yaml::Value) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(value) => Value::String(value),
        Yaml::Number(number) => Value::Number(to_json_number(&number)?),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(entries) => {
            let mut map = Map::with_capacity(entries.len());
            for (key, value) in entries {
                map.insert(to_json_key(key)?, to_json(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => return Err(format!("the tag {} has no meaning here", tagged.tag)),
    })
}

fn to_json_key(key: serde_yaml::Value) -> Result<String, String> {
    match key {
        serde_yaml::Value::String(key) => Ok(key),
        serde_yaml::Value::Number(key) => Ok(key.to_string()),
        serde_yaml::Value::Bool(key) => Ok(key.to_string()),
        serde_yaml::Value::Null
        | serde_yaml::Value::Sequence(_)
        | serde_yaml::Value::Mapping(_)
        | serde_yaml::Value::Tagged(_) => Err("a key must be text".to_owned()),
    }
}

fn to_json_number(number: &serde_yaml::Number) -> Result<Number, String> {
    if let Some(value) = number.as_i64() {
        return Ok(value.into());
    }
    if let Some(value) = number.as_u64() {
        return Ok(value.into());
    }
    number
        .as_f64()
        .and_then(Number::from_f64)
        .ok_or_else(|| format!("{number} is not a finite number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_keep_their_number_and_empty_ones_are_left_out() {
        let documents = parse_documents("a: 1\n---\n---\nb: [x, 2.5, true]\n").unwrap();
        assert_eq!(
            documents,
            [(0, json!({"a": 1})), (2, json!({"b": ["x", 2.5, true]}))]
        );
    }

    #[test]
    fn a_syntax_error_has_line_and_column() {
        let error = parse_documents("a: 1\nb: [1,\nc: 2\n").unwrap_err();
        assert!(error.line.is_some() && error.column.is_some(), "{error:?}");
        assert!(!error.message.contains("at line"), "{error:?}");
    }

    #[test]
    fn a_key_that_is_written_twice_is_an_error() {
        let error = parse_documents("a: 1\na: 2\n").unwrap_err();
        assert!(error.message.contains("duplicate"), "{error:?}");
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let value = parse("base: &base {cpu: 1}\nother:\n  <<: *base\n  memory: 2\n").unwrap();
        assert_eq!(value["other"], json!({"cpu": 1, "memory": 2}));
    }

    #[test]
    fn configuration_may_hold_infinity_and_tags() {
        let value = parse_configuration("a: .inf\nb: [!tag x, 1.5]\n").unwrap();
        assert_eq!(value, json!({"a": ".inf", "b": ["x", 1.5]}));
        assert_eq!(parse_configuration("# nothing").unwrap(), Value::Null);
    }

    #[test]
    fn what_has_no_json_form_is_an_error() {
        for text in ["? [1, 2]\n: x\n", "a: .nan\n", "a: !tag x\n"] {
            parse(text).unwrap_err();
        }
    }
}
