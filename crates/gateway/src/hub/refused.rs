//! A refusal as a client of a hub reads it. The crate `mercure` chooses its status.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mercure::{BODY_TYPE, Dialect, Hub, Refusal};

/// A refusal, and the dialect of the request.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{refusal}")]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) dialect: Dialect,
    pub(crate) hub: Hub,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.refusal.status(self.dialect));
        let status = status.expect("the protocol has statuses of HTTP");
        let content_type = (header::CONTENT_TYPE, BODY_TYPE);
        let nosniff = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        let mut response = (status, [content_type, nosniff], self.refusal.body()).into_response();
        let challenge = self.refusal.challenge(self.dialect, &self.hub);
        if let Some(value) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
        }
        response
    }
}
