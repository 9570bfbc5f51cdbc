//! Pages of other origins that publish: the headers of the policy on every answer, and preflights.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::options;
use cors::Policy;

/// Puts `routes`, which stand at `paths`, under a policy.
pub(crate) fn allow<const N: usize>(
    routes: Router,
    paths: [&'static str; N],
    policy: Policy,
) -> Router {
    if policy == Policy::default() {
        return routes;
    }
    let routes = routes.route_layer(from_fn_with_state(policy.clone(), put));
    let preflights = paths
        .into_iter()
        .fold(Router::new(), |router, path| router.route(path, options(preflight)));
    // Of two answers to a method that there is not, the later one counts, and `routes` puts the headers on it.
    preflights.with_state(policy).merge(routes)
}

async fn put(State(policy): State<Policy>, request: Request, next: Next) -> Response {
    let grant = policy.grant(origin(request.headers()));
    let mut response = next.run(request).await;
    grant.put(response.headers_mut());
    response
}

async fn preflight(State(policy): State<Policy>, headers: HeaderMap) -> Response {
    let headers = policy.preflight(origin(&headers));
    headers.expect("a policy that allows nobody has no route for preflights").into_response()
}

fn origin(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::ORIGIN).map(HeaderValue::as_bytes)
}
