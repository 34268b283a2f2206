//! `/metrics`, `/healthz`, `/readyz`.
//!
//! Healthy is a process that answers. Ready is one that has listed everything: also a replica that does not lead, which
//! may have to at any moment.

use crate::operator::Operator;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Shown {
    operator: Arc<Operator>,
    synced: watch::Receiver<bool>,
}

/// Answers until dropped.
pub async fn serve(
    listener: TcpListener,
    operator: Arc<Operator>,
    synced: watch::Receiver<bool>,
) -> io::Result<()> {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Shown { operator, synced });
    axum::serve(listener, routes).await
}

async fn ready(State(shown): State<Shown>) -> (StatusCode, &'static str) {
    if *shown.synced.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "not everything is listed yet\n",
        )
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        shown.operator.metrics_text(),
    )
}
