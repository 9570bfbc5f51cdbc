//! The console: a static page that shows a topic live. The binary embeds all of its files.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::config::Config;

/// Allows scripts, styles and connections from this gateway only, so that an event cannot inject code.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

macro_rules! assets {
    ($($file:literal: $kind:literal,)+) => {
        [$((concat!("/console/", $file), $kind, include_str!(concat!("console/", $file))),)+]
    };
}

/// Serves the page at `/` and its files.
pub(crate) fn router(config: &Config) -> Router {
    let page = include_str!("console/index.html")
        .replace("{{publish}}", if config.publish { "true" } else { "false" })
        .replace("{{closed}}", if config.access.is_open() { "false" } else { "true" })
        .replace("{{node}}", &escape(&config.node))
        .replace("{{version}}", env!("CARGO_PKG_VERSION"));
    let files = assets! {
        "console.css": "text/css",
        "favicon.svg": "image/svg+xml",
        "chart.js": "text/javascript",
        "connection.js": "text/javascript",
        "console.js": "text/javascript",
        "dom.js": "text/javascript",
        "pretty.js": "text/javascript",
        "publish.js": "text/javascript",
        "series.js": "text/javascript",
        "subscription.js": "text/javascript",
        "theme.js": "text/javascript",
        "timeline.js": "text/javascript",
        "token.js": "text/javascript",
    };
    let index = Router::new()
        .route("/", get(async move || asset("text/html; charset=utf-8", page.clone())));
    files.into_iter().fold(index, |router, (path, kind, text)| {
        router.route(path, get(async move || asset(kind, text)))
    })
}

fn asset(kind: &'static str, text: impl IntoResponse) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // A new binary may have a new page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
