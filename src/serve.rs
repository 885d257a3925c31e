//! Health and metrics over HTTP: for `bedplate serve`, and to be merged into an application's own router.
//!
//! | path | answer |
//! |---|---|
//! | `/health/live` | 200 while the process answers; it asks nobody, so that a database that is gone restarts no application |
//! | `/health/ready` | 200 or 503, with every check as JSON |
//! | `/metrics` | what was counted, for Prometheus |

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::database::Health;

/// The three paths. An application merges them into its router, and tells how its own pool is doing.
///
/// ```rust,no_run
/// # async fn example(db: bedplate::Database, app: axum::Router) {
/// use bedplate::database::{Health, HealthLimits};
/// let app = app.merge(bedplate::serve::router(Health::new(&db, HealthLimits::of(db.config().environment))));
/// # }
/// ```
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(async || "alive\n"))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    let readiness = health.readiness().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], health.metrics().await).into_response()
}
