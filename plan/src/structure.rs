//! Does a manifest have the shape of the CRD's schema: known fields, right types, within bounds?
//!
//! Walks the very schema the API server gets, so that both refuse alike, and finds every mistake
//! instead of the first. What is refused is cut out, so that the rest can be read and checked too.

use crate::distance::nearest;
use crate::refusal::Refusals;
use serde_json::{Map, Value};

/// Words people bring from elsewhere, and what they are called here.
const FOREIGN_WORDS: [(&str, &str); 8] = [
    ("replicas", "numberOfWorkers"),
    ("nworkers", "numberOfWorkers"),
    ("nthreads", "threads"),
    (
        "resources",
        "requests and limits (or daskResources for Dask's abstract resources)",
    ),
    ("worker", "workers"),
    ("cluster", "scheduler and workers, directly in spec"),
    ("memoryLimit", "limits.memory"),
    ("timeout", "activeDeadlineSeconds"),
];

/// Refuses what does not fit the schema and returns what does.
pub(crate) fn check(
    value: &Value,
    schema: &Value,
    path: &str,
    refusals: &mut Refusals,
) -> Option<Value> {
    if schema["x-kubernetes-int-or-string"] == true {
        return int_or_string(value, path, refusals);
    }
    match schema["type"].as_str().unwrap_or_default() {
        "object" => object(value, schema, path, refusals),
        "array" => array(value, schema, path, refusals),
        "string" => string(value, schema, path, refusals),
        "integer" | "number" => number(value, schema, path, refusals),
        "boolean" => of_type(
            value,
            value.is_boolean(),
            "true or false",
            "write true or false without quotes",
            path,
            refusals,
        ),
        _ => Some(value.clone()),
    }
}

fn object(value: &Value, schema: &Value, path: &str, refusals: &mut Refusals) -> Option<Value> {
    let Value::Object(fields) = value else {
        return of_type(
            value,
            false,
            "a map of fields",
            "write its fields below it, indented",
            path,
            refusals,
        );
    };
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return Some(value.clone());
    }
    let kept = match schema["properties"].as_object() {
        Some(properties) => known_fields(fields, properties, path, refusals),
        None => entries(fields, schema, path, refusals),
    };
    for required in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if fields.get(required).is_none_or(Value::is_null) {
            refusals.add(
                join(path, required),
                "is missing",
                format!("add {required}"),
            );
        }
    }
    Some(Value::Object(kept))
}

/// Fields that the schema names.
fn known_fields(
    fields: &Map<String, Value>,
    properties: &Map<String, Value>,
    path: &str,
    refusals: &mut Refusals,
) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let field = join(path, name);
        let Some(property) = properties.get(name) else {
            refusals.add(
                field,
                "is not a field here",
                remedy_for_unknown(name, properties),
            );
            continue;
        };
        // A null is dropped by the API server too: the field counts as unset.
        if !value.is_null()
            && let Some(value) = check(value, property, &field, refusals)
        {
            kept.insert(name.clone(), value);
        }
    }
    kept
}

fn remedy_for_unknown(name: &str, properties: &Map<String, Value>) -> String {
    if let Some(meant) = nearest(name, properties.keys().map(String::as_str)) {
        return format!("did you mean {meant}?");
    }
    let foreign = FOREIGN_WORDS.iter().find(|(foreign, ours)| {
        foreign.eq_ignore_ascii_case(name)
            && properties.contains_key(
                ours.split(' ')
                    .next()
                    .unwrap_or_default()
                    .split('.')
                    .next()
                    .unwrap_or_default(),
            )
    });
    if let Some((_, ours)) = foreign {
        return format!("here it is called {ours}");
    }
    let mut known: Vec<&str> = properties.keys().map(String::as_str).collect();
    known.sort_unstable();
    format!("remove it; the fields here are {}", known.join(", "))
}

/// Entries of a map with free keys.
fn entries(
    fields: &Map<String, Value>,
    schema: &Value,
    path: &str,
    refusals: &mut Refusals,
) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let field = format!("{path}[{name}]");
        if value.is_null() {
            refusals.add(field, "has no value", "write a value or remove the entry");
        } else if let Some(value) = check(value, &schema["additionalProperties"], &field, refusals)
        {
            kept.insert(name.clone(), value);
        }
    }
    if let Some(most) = schema["maxProperties"].as_u64()
        && fields.len() as u64 > most
    {
        refusals.add(
            path,
            format!("has {} entries, more than {most}", fields.len()),
            format!("keep at most {most}"),
        );
    }
    kept
}

fn array(value: &Value, schema: &Value, path: &str, refusals: &mut Refusals) -> Option<Value> {
    let Value::Array(items) = value else {
        let example = match value {
            Value::String(text) => format!(
                "write a list with one item each: [{}]",
                text.split_whitespace().collect::<Vec<_>>().join(", ")
            ),
            _ => "write a list".to_owned(),
        };
        return of_type(value, false, "a list", &example, path, refusals);
    };
    let length = items.len() as u64;
    if let Some(most) = schema["maxItems"].as_u64().filter(|most| length > *most) {
        refusals.add(
            path,
            format!("has {length} items, more than {most}"),
            format!("keep at most {most}"),
        );
    }
    if let Some(least) = schema["minItems"].as_u64().filter(|least| length < *least) {
        refusals.add(path, "is empty", format!("write at least {least} item"));
        return None;
    }
    let mut kept = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        // A refused item leaves null behind, so that the others keep their index.
        kept.push(
            check(
                item,
                &schema["items"],
                &format!("{path}[{index}]"),
                refusals,
            )
            .unwrap_or(Value::Null),
        );
    }
    let complete = kept.iter().all(|item| !item.is_null());
    complete.then_some(Value::Array(kept))
}

fn string(value: &Value, schema: &Value, path: &str, refusals: &mut Refusals) -> Option<Value> {
    let Value::String(text) = value else {
        let remedy = match value {
            Value::Number(_) | Value::Bool(_) => format!("write it in quotes: \"{value}\""),
            _ => "write text".to_owned(),
        };
        return of_type(value, false, "text", &remedy, path, refusals);
    };
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        if !words.contains(&text.as_str()) {
            let remedy = match nearest(text, words.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("write one of {}", words.join(", ")),
            };
            refusals.add(path, format!("\"{text}\" is not one of its words"), remedy);
            return None;
        }
    }
    let length = text.chars().count() as u64;
    if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
        refusals.add(
            path,
            format!("has {length} characters, more than {most}"),
            format!("keep at most {most}"),
        );
        return None;
    }
    if schema["minLength"]
        .as_u64()
        .is_some_and(|least| length < least)
    {
        refusals.add(path, "is empty", "write a value or remove the field");
        return None;
    }
    Some(value.clone())
}

fn number(value: &Value, schema: &Value, path: &str, refusals: &mut Refusals) -> Option<Value> {
    let whole = schema["type"] == "integer";
    let what = if whole { "a whole number" } else { "a number" };
    let fits = if whole {
        value.is_i64() || value.is_u64()
    } else {
        value.is_number()
    };
    let remedy = match value {
        Value::String(text) if text.parse::<f64>().is_ok() => {
            format!("write it without quotes: {text}")
        }
        _ => format!("write {what}"),
    };
    of_type(value, fits, what, &remedy, path, refusals)?;
    let number = value.as_f64().expect("just found to be a number");
    if let Some(least) = schema["minimum"].as_f64().filter(|least| number < *least) {
        refusals.add(
            path,
            format!("{value} is less than {least}"),
            format!("write {least} or more"),
        );
        return None;
    }
    if let Some(most) = schema["maximum"].as_f64().filter(|most| number > *most) {
        refusals.add(
            path,
            format!("{value} is more than {most}"),
            format!("write {most} or less"),
        );
        return None;
    }
    Some(value.clone())
}

fn int_or_string(value: &Value, path: &str, refusals: &mut Refusals) -> Option<Value> {
    let fits = value.is_string() || value.is_i64() || value.is_u64();
    let remedy = if value.is_number() {
        format!("write it in quotes: \"{value}\"")
    } else {
        "write an amount such as 500m, 2 or 4Gi".to_owned()
    };
    of_type(
        value,
        fits,
        "a whole number or an amount in quotes",
        &remedy,
        path,
        refusals,
    )
}

/// Keeps the value when it has the type, refuses it otherwise.
fn of_type(
    value: &Value,
    fits: bool,
    expected: &str,
    remedy: &str,
    path: &str,
    refusals: &mut Refusals,
) -> Option<Value> {
    if fits {
        return Some(value.clone());
    }
    refusals.add(
        path,
        format!("must be {expected}, is {}", kind_of(value)),
        remedy,
    );
    None
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
