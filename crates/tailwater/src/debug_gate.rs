//! The clients that `/debug` answers.

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use cors::SiteRules;
use limits::Peer;
use subtle::ConstantTimeEq as _;
use tokio::task::spawn_blocking;

use crate::secret::SecretFile;

/// Lets clients of this machine pass or, with a token, the clients that send it.
#[derive(Debug, Clone)]
pub(crate) enum DebugGate {
    /// Clients of this machine that call it by a local or allowed name, so that no page gets in by DNS
    /// rebinding.
    Local(SiteRules),
    /// Clients that send the token in this file. It is read for each request, since it may change.
    Token(SecretFile),
}

impl DebugGate {
    /// Returns the answer to a client that may not pass.
    pub(crate) async fn refusal<B>(&self, request: &Request<B>) -> Option<Response> {
        match self {
            Self::Local(names) => refuse_others(names, request),
            Self::Token(file) => refuse_without(file.clone(), request).await,
        }
    }
}

fn refuse_others<B>(names: &SiteRules, request: &Request<B>) -> Option<Response> {
    let peer = request.extensions().get::<Peer>();
    let is_here = peer.is_some_and(|peer| peer.address.ip().to_canonical().is_loopback());
    if !is_here {
        let text = "/debug answers this machine only: ask from there (kubectl port-forward does), or \
                    start the node with --debug-token-file\n";
        return Some((StatusCode::FORBIDDEN, text).into_response());
    }
    let refusal = names.check(request).err()?;
    Some((refusal.status(), format!("{refusal}\n")).into_response())
}

async fn refuse_without<B>(file: SecretFile, request: &Request<B>) -> Option<Response> {
    let sent = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes().to_vec());
    let token = match spawn_blocking(move || file.read()).await {
        Ok(Ok(token)) => token,
        Ok(Err(error)) => {
            tracing::warn!(error = format!("{error:#}"), "no client may use /debug");
            let text =
                "the file of --debug-token-file cannot be used; the node's log has the cause\n";
            return Some((StatusCode::SERVICE_UNAVAILABLE, text).into_response());
        }
        Err(_) => return Some(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    };
    let is_right = sent.as_deref().and_then(bearer).is_some_and(|sent| {
        // The comparison takes the same time for every text of the token's length.
        bool::from(sent.ct_eq(token.as_bytes()))
    });
    let text = "/debug needs the header Authorization: Bearer TOKEN, with the token in the file of \
                --debug-token-file\n";
    let refused = (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text);
    (!is_right).then(|| refused.into_response())
}

/// Returns the token of an `Authorization` header.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn status(gate: &DebugGate, peer: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().uri("/debug/log");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer::new(peer.parse().unwrap())).body(()).unwrap();
        gate.refusal(&request).await.map(|response| response.status().as_u16())
    }

    #[tokio::test]
    async fn without_a_token_only_this_machine_by_a_local_name_passes() {
        let allowed = ["tail.example".to_owned()];
        let gate = DebugGate::Local(SiteRules::default().local(&allowed).unwrap());
        let local = [("host", "localhost:9090")];
        for peer in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(status(&gate, peer, &local).await, None);
            assert_eq!(status(&gate, peer, &[("host", "tail.example:9090")]).await, None);
            assert_eq!(status(&gate, peer, &[("host", "evil.example")]).await, Some(403));
        }
        for peer in ["192.0.2.1:1", "[2001:db8::1]:1"] {
            assert_eq!(status(&gate, peer, &local).await, Some(403));
        }
        let nobody = Request::builder().body(()).unwrap();
        assert_eq!(gate.refusal(&nobody).await.unwrap().status(), 403);
    }

    #[tokio::test]
    async fn with_a_token_whoever_sends_the_present_one_passes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "s3cret\n").unwrap();
        let gate = DebugGate::Token(SecretFile::new("--debug-token-file", &path));
        let sent =
            async |value: &str| status(&gate, "192.0.2.1:1", &[("authorization", value)]).await;
        assert_eq!(sent("Bearer s3cret").await, None);
        assert_eq!(sent("bearer s3cret").await, None);
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Bearer ", "Basic s3cret", "s3cret", ""] {
            assert_eq!(sent(wrong).await, Some(401), "{wrong}");
        }
        assert_eq!(status(&gate, "127.0.0.1:1", &[]).await, Some(401));
        fs::write(&path, "other").unwrap();
        assert_eq!(sent("Bearer s3cret").await, Some(401));
        assert_eq!(sent("Bearer other").await, None);
        fs::remove_file(&path).unwrap();
        assert_eq!(sent("Bearer other").await, Some(503));
    }
}
