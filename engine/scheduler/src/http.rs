//! What the scheduler answers over HTTP: health, metrics, JSON, the API of deployments, a status page.
//!
//! Owns routes and bodies; asks the core through `Context` and RPC handlers for what needs more than a look. Bodies are
//! stock Dask's where stock has them. Invariant: a visitor costs bounded memory and time, however it behaves.

mod api;
mod connections;
mod facts;
mod json;
mod metrics;
mod metrics_of_process;
mod page;
mod ticks;

use crate::context::Context;
use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use contract::http as paths;
use std::sync::Arc;
use ticks::Ticks;

use connections::Bounds;
pub use connections::{BoundListener, bind};

/// What every answer may look at.
#[derive(Clone)]
struct Shown {
    ctx: Arc<Context>,
    ticks: Arc<Ticks>,
}

/// Answers until the task is dropped.
pub async fn serve(ctx: Arc<Context>, listener: BoundListener) {
    let shown = Shown {
        ctx: Arc::clone(&ctx),
        ticks: Arc::default(),
    };
    let ticking = ticks::run(Arc::clone(&ctx), Arc::clone(&shown.ticks));
    tokio::select! {
        () = connections::serve(listener, router(shown), Bounds::default()) => {}
        () = ticking => {}
    }
}

fn router(shown: Shown) -> Router {
    let http = &shown.ctx.config.http;
    let (prefix, status_page) = (http.prefix.clone(), http.status_page);
    let mut router = Router::new()
        .route(paths::HEALTH, get(|| async { "ok" }))
        .route(paths::METRICS, get(metrics::metrics))
        .route(paths::COUNTS, get(json::counts))
        .route("/json/identity.json", get(json::identity))
        .route("/json/index.html", get(page::json_index))
        .route("/individual-plots.json", get(json::individual_plots))
        .route("/sitemap.json", get(json::sitemap))
        .route(api::ROOT, get(|| async { "API V1" }))
        .route(paths::RETIRE_WORKERS, post(api::retire_workers))
        .route(paths::GET_WORKERS, get(api::get_workers))
        .route(paths::ADAPTIVE_TARGET, get(api::adaptive_target))
        .route(paths::CHECK_IDLE, get(api::check_idle))
        .route(paths::STATUS, get(api::status));
    let to_page = format!("{prefix}{}", paths::STATUS_PAGE);
    let redirect = move || std::future::ready(Redirect::temporary(&to_page));
    if status_page {
        router = router
            .route(paths::STATUS_PAGE, get(page::status))
            .route("/", get(redirect.clone()))
            .route("/info/main/workers.html", get(redirect.clone()));
    }
    let router = router.with_state(shown);
    if prefix.is_empty() {
        return router;
    }
    let outside = Router::new().nest(&prefix, router);
    if status_page {
        // A nested "/" is the prefix alone, without the slash that people type.
        outside.route(&format!("{prefix}/"), get(redirect))
    } else {
        outside
    }
}

/// Every path that is answered without arguments, for the site map.
fn paths(status_page: bool) -> Vec<&'static str> {
    let mut paths = vec![
        paths::HEALTH,
        paths::METRICS,
        paths::COUNTS,
        "/json/identity.json",
        "/json/index.html",
        "/individual-plots.json",
        "/sitemap.json",
        api::ROOT,
        paths::GET_WORKERS,
        paths::ADAPTIVE_TARGET,
        paths::CHECK_IDLE,
        paths::STATUS,
    ];
    if status_page {
        paths.push(paths::STATUS_PAGE);
    }
    paths.sort_unstable();
    paths
}
