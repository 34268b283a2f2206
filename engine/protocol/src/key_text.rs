//! Keys as Python prints and compares them.

use std::cmp::Ordering;
use std::fmt::{self, Write};

use crate::value::Value;

/// Writes what Python's `repr` writes.
pub fn write_repr(out: &mut dyn Write, value: &Value) -> fmt::Result {
    match value {
        Value::Str(text) => write_str_repr(out, &text.to_string_lossy()),
        Value::Int(value) => write!(out, "{value}"),
        Value::UInt(value) => write!(out, "{value}"),
        Value::Float(value) => out.write_str(&float_repr(*value)),
        Value::Array(items) => {
            out.write_char('(')?;
            for (index, item) in items.iter().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_repr(out, item)?;
            }
            out.write_str(if items.len() == 1 { ",)" } else { ")" })
        }
        other => write!(out, "<{}>", other.type_name()),
    }
}

/// Python's `repr` of a string.
pub fn write_str_repr(out: &mut dyn Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            _ if character == quote => write!(out, "\\{character}")?,
            _ if character.is_control() => write!(out, "\\x{:02x}", u32::from(character))?,
            _ => out.write_char(character)?,
        }
    }
    out.write_char(quote)
}

/// Python's `repr` of a float: shortest digits, exponent form below 1e-4 and from 1e16.
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("LowerExp always writes an exponent");
    let (sign, exponent) = exponent
        .strip_prefix('-')
        .map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A total order over key values: numbers, then strings, then tuples.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let differing = left
                .iter()
                .zip(right)
                .map(|(left, right)| compare(left, right))
                .find(|order| order.is_ne());
            differing.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        _ => rank(left)
            .cmp(&rank(right))
            .then_with(|| compare_numbers(left, right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Str(_) => 1,
        Value::Array(_) => 2,
        _ => 0,
    }
}

fn compare_numbers(left: &Value, right: &Value) -> Ordering {
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(left), None) => compare_mixed(left, float(right)),
        (None, Some(right)) => compare_mixed(right, float(left)).reverse(),
        (None, None) => float(left).total_cmp(&float(right)),
    }
}

/// Exact even where the integer does not fit a float: a float key in this range has a fraction, so it never ties.
fn compare_mixed(integer: i128, float: f64) -> Ordering {
    if float >= 1e30 {
        return Ordering::Less;
    }
    if float <= -1e30 {
        return Ordering::Greater;
    }
    let floor = float.floor() as i128;
    if integer <= floor {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::UInt(value) => Some(i128::from(*value)),
        _ => None,
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Float(value) => *value,
        _ => 0.0,
    }
}
