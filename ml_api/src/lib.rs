//! The model service: `POST /predict` answers one category per transaction, `GET /health` answers 200.
//!
//! The category is a pure function of the id, so two services, or one asked twice, give the same answer.

mod category;
mod request;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

pub use category::{CATEGORIES, category};

/// The largest body that `/predict` reads, in bytes; above it the answer is 413.
pub const BODY_LIMIT: usize = 16 * 1024 * 1024;

/// How much of a body over the limit is read and thrown away, in bytes. Without that the client, still sending,
/// would see its connection reset instead of the 413.
const DISCARD_LIMIT: usize = 4 * BODY_LIMIT;

/// Bytes of one answer in a list, at most: the fixed text, an id and the longest category.
const ANSWER_SIZE: usize = 100;

/// The service's routes, to be served by [`axum::serve()`] or called in-process by a test.
pub fn router() -> Router {
    Router::new().route("/predict", post(predict)).route("/health", get(|| async { "ok" }))
}

#[derive(Serialize)]
struct Answer {
    transaction_id: Uuid,
    category: &'static str,
}

async fn predict(body: Body) -> Response {
    let body = match read(body).await {
        Ok(body) if body.len() <= BODY_LIMIT => body,
        Ok(_) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 16 MiB"),
        Err(_) => return refusal(StatusCode::BAD_REQUEST, "the body broke off"),
    };
    let ids = match request::ids(&body) {
        Ok(ids) => ids,
        Err(fault) => return refusal(StatusCode::UNPROCESSABLE_ENTITY, &fault),
    };
    let answers = ids.iter().map(|&id| Answer { transaction_id: id, category: category(id) });

    let mut json = Vec::with_capacity(2 + ids.len() * ANSWER_SIZE);
    match serde_json::to_writer(&mut json, &answers.collect::<Vec<_>>()) {
        Ok(()) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// The body; of one over [`BODY_LIMIT`] only enough to know that.
async fn read(body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut body = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut discarded = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if bytes.len() <= BODY_LIMIT {
            bytes.extend_from_slice(&chunk);
        } else {
            discarded += chunk.len();
        }
        if discarded > DISCARD_LIMIT {
            break;
        }
    }
    Ok(bytes)
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
