//! JSON bodies: `/json/*`, and values of the Dask protocol as JSON.

use super::{Shown, facts};
use crate::rpc::{self, RpcError};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use protocol::{Value, map};
use serde_json::{Map, Number, Value as Json_, json};

/// A failed answer, in the shape stock Dask gives it, with its reason.
pub struct Failure(RpcError);

impl<E: Into<RpcError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({"Error": "Internal Server Error", "Reason": self.0.to_string()});
        (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
    }
}

pub async fn counts(State(shown): State<Shown>) -> Result<Json<Json_>, Failure> {
    let counts = shown.ctx.core.call(|core, _, _| core.counts()).await?;
    let desired_workers = facts::desired_workers(&shown.ctx).await?;
    Ok(Json(json!({
        "bytes": counts.bytes,
        "clients": counts.clients,
        "cores": counts.cores,
        "erred": counts.erred,
        "hosts": counts.hosts,
        "idle": counts.idle,
        "memory": counts.memory,
        "processing": counts.processing,
        "released": counts.released,
        "saturated": counts.saturated,
        "tasks": counts.tasks,
        "unrunnable": counts.unrunnable,
        "waiting": counts.waiting,
        "waiting_data": counts.waiting_data,
        "workers": counts.workers,
        "desired_workers": desired_workers,
    })))
}

pub async fn identity(State(shown): State<Shown>) -> Result<Json<Json_>, Failure> {
    let identity = rpc::handle(&shown.ctx, "identity", map! {}).await?;
    Ok(Json(to_json(&identity)))
}

/// Plots of the stock dashboard; there are none.
pub async fn individual_plots() -> Json<Json_> {
    Json(json!({}))
}

pub async fn sitemap(State(shown): State<Shown>) -> Json<Json_> {
    let http = &shown.ctx.config.http;
    let paths = super::paths(http.status_page);
    let paths: Vec<String> = paths
        .iter()
        .map(|path| format!("{}{path}", http.prefix))
        .collect();
    Json(json!({"paths": paths}))
}

/// A value as JSON. A key that is no text becomes its Python text; bytes, pickles and numbers that JSON does not know
/// become null.
pub fn to_json(value: &Value) -> Json_ {
    match value {
        Value::Nil | Value::Bin(_) | Value::Serialized(_) | Value::Pickled(_) => Json_::Null,
        Value::Bool(value) => Json_::Bool(*value),
        Value::Int(value) => Json_::Number((*value).into()),
        Value::UInt(value) => Json_::Number((*value).into()),
        Value::Float(value) => Number::from_f64(*value).map_or(Json_::Null, Json_::Number),
        Value::Str(text) => Json_::String(text.to_string_lossy().into_owned()),
        Value::Array(items) | Value::Set(items) => {
            Json_::Array(items.iter().map(to_json).collect())
        }
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key_text(key), to_json(value)));
            Json_::Object(entries.collect::<Map<_, _>>())
        }
        Value::Enum(member) => Json_::String(member.member.to_string_lossy().into_owned()),
    }
}

fn key_text(key: &Value) -> String {
    key.as_key()
        .map_or_else(|| "null".to_owned(), |key| key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_protocol_becomes_json() {
        let key = Value::Array(vec![Value::text("execute"), Value::Int(1)]);
        let value = Value::Map(vec![
            (key, Value::Float(1.5)),
            (Value::Int(3), Value::Float(f64::NAN)),
            (
                Value::text("inner"),
                map! {"list" => Value::Array(vec![Value::Bool(true), Value::Nil])},
            ),
        ]);
        assert_eq!(
            to_json(&value),
            json!({"('execute', 1)": 1.5, "3": null, "inner": {"list": [true, null]}})
        );
    }
}
