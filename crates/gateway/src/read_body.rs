//! The small bodies of requests.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use axum::response::Response;
use tokio::time::timeout;

use crate::error::simple;

/// The longest time until a body has come.
const BODY_MAX: Duration = Duration::from_secs(10);

/// Reads a body of at most `max` bytes, or makes the refusal.
pub(crate) async fn read_body(body: Body, max: usize) -> Result<Bytes, Response> {
    match timeout(BODY_MAX, to_bytes(body, max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let message = format!("the body broke off or has more than {max} bytes");
            Err(simple(StatusCode::PAYLOAD_TOO_LARGE, "too_large", &message))
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", BODY_MAX.as_secs());
            Err(simple(StatusCode::REQUEST_TIMEOUT, "body_timeout", &message))
        }
    }
}
