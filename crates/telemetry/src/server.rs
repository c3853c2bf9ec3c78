//! `/metrics`, `/health` and `/ready` over HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::Metrics;

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4";

/// The body of `/ready`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Readiness {
    /// Whether a source is being read and nothing is unavailable; 503 otherwise.
    pub ready: bool,
    /// Whether a source is being read.
    pub in_progress: bool,
    /// The last fault, even when it is over.
    pub last_error: Option<String>,
    /// Unix time of the last commit.
    pub last_run_ts: Option<f64>,
}

/// Serves until the runtime ends; returns the address, whose port is free if `address` has port 0.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: (&str, u16),
    metrics: Metrics,
    readiness: impl Fn() -> Readiness + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let readiness = Arc::new(readiness);
    let ready = move || {
        let readiness = readiness();
        let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        std::future::ready((status, Json(readiness)))
    };
    let metrics = move || {
        std::future::ready(([(CONTENT_TYPE, PROMETHEUS_TEXT)], metrics.render()).into_response())
    };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/health", get(async || "ok"))
        .route("/ready", get(ready));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
