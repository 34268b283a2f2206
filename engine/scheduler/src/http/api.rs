//! `/api/v1`: what deployments and our own operator ask and order.

use super::Shown;
use super::facts;
use super::json::{Failure, to_json};
use crate::rpc;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use contract::http::SchedulerStatus;
use protocol::{Value, map};
use serde::Deserialize;
use serde_json::{Value as Json_, json};

pub const ROOT: &str = "/api/v1";

/// The most failed tasks one answer lists.
const FAILED_TASKS_MAXIMUM: usize = 1000;

/// Which workers to retire: these, or so many of the scheduler's choice.
#[derive(Deserialize)]
struct Retirement {
    workers: Option<Vec<String>>,
    n: Option<u32>,
}

pub async fn retire_workers(State(shown): State<Shown>, body: Bytes) -> Result<Response, Failure> {
    let retirement: Retirement = match serde_json::from_slice(&body) {
        Ok(retirement) => retirement,
        Err(error) => return Ok(bad_request(&error.to_string())),
    };
    let workers = match (retirement.n.filter(|n| *n > 0), retirement.workers) {
        (Some(n), _) => rpc::handle(&shown.ctx, "workers_to_close", map! {"n" => n}).await?,
        (None, Some(workers)) => workers
            .iter()
            .map(|address| Value::from(address.as_str()))
            .collect(),
        (None, None) => {
            return Ok(bad_request(
                "give {\"workers\": [address, …]} or {\"n\": count}",
            ));
        }
    };
    let retired = rpc::handle(&shown.ctx, "retire_workers", map! {"workers" => workers}).await?;
    Ok(Json(to_json(&retired)).into_response())
}

fn bad_request(reason: &str) -> Response {
    let body = json!({"Error": "Bad Request", "Reason": reason});
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

pub async fn get_workers(State(shown): State<Shown>) -> Result<Json<Json_>, Failure> {
    let contacts = shown.ctx.core.call(|core, _, _| core.workers()).await?;
    let workers: Vec<Json_> = contacts
        .iter()
        .map(|worker| json!({"name": to_json(&worker.name), "address": &*worker.address}))
        .collect();
    Ok(Json(
        json!({"num_workers": workers.len(), "workers": workers}),
    ))
}

pub async fn adaptive_target(State(shown): State<Shown>) -> Result<Json<Json_>, Failure> {
    Ok(Json(
        json!({"workers": facts::desired_workers(&shown.ctx).await?}),
    ))
}

pub async fn check_idle(State(shown): State<Shown>) -> Result<Json<Json_>, Failure> {
    Ok(Json(
        json!({"idle_since": facts::idle_since(&shown.ctx).await?}),
    ))
}

#[derive(Deserialize)]
pub struct StatusQuery {
    #[serde(default)]
    failed: usize,
}

pub async fn status(
    State(shown): State<Shown>,
    Query(query): Query<StatusQuery>,
) -> Result<Json<SchedulerStatus>, Failure> {
    let failed = query.failed.min(FAILED_TASKS_MAXIMUM);
    Ok(Json(facts::status(&shown.ctx, failed).await?))
}
