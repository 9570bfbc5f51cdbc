//! An API of a language model that follows a script: `POST /v1/chat/completions?tokens=N&rate=R` streams N tokens, R a
//! second, on a schedule that a slow reader does not delay.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use futures_util::stream;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

use crate::cost::chat;

/// The length of an answer, and its speed.
#[derive(Debug, Deserialize)]
struct AnswerLength {
    tokens: u64,
    /// Tokens a second.
    rate: f64,
}

/// Serves for ever.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let router = Router::new().route(chat::PATH, post(answer));
    let listener = TcpListener::bind(address).await?;
    // An error means that the caller is gone.
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
    Ok(axum::serve(listener, router).await?)
}

async fn answer(Query(length): Query<AnswerLength>, _request: String) -> Response {
    let begun = Instant::now();
    let tokens = stream::unfold(0, move |number| async move {
        if number > length.tokens {
            return None;
        }
        sleep_until(begun + Duration::from_secs_f64(number as f64 / length.rate)).await;
        let event =
            if number < length.tokens { chat::token(number) } else { chat::DONE.to_owned() };
        Some((Ok::<_, Infallible>(event), number + 1))
    });
    ([(CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(tokens))
        .into_response()
}
