//! The page at `/relay/`: it asks the upstream of an OpenAI-compatible API, and its answer survives a reload. The
//! binary embeds all of its files.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// Allows scripts, styles and connections from this node only, so that an answer cannot inject code.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Serves the page and its files.
pub(crate) fn router() -> Router {
    let files = [
        ("/relay/", "text/html; charset=utf-8", include_str!("demo/index.html")),
        ("/relay/demo.css", "text/css", include_str!("demo/demo.css")),
        ("/relay/demo.js", "text/javascript", include_str!("demo/demo.js")),
    ];
    files.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || file(kind, text)))
    })
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A new binary may have a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
