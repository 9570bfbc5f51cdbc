//! The token that a client brings, and the advice about it when a server refuses it.

use anyhow::{Context as _, Result};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::args::ClientToken;
use crate::secret::SecretFile;

/// The environment variable with a client's token.
const VARIABLE: &str = "TAILWATER_TOKEN";

/// Adds the token of a client to a request: the one in its file, which may change, or that of `TAILWATER_TOKEN`.
///
/// # Errors
/// The file cannot be read, or the text is no token. No error quotes it.
pub(super) fn authorized(request: RequestBuilder, token: &ClientToken) -> Result<RequestBuilder> {
    let text = match &token.file {
        Some(path) => Some(SecretFile::new("--token-file", path).read()?),
        None => variable(),
    };
    let Some(text) = text else { return Ok(request) };
    let header = HeaderValue::from_str(&format!("Bearer {}", text.trim())).ok();
    let mut header =
        header.with_context(|| format!("{}: it has characters that no token has", named(token)))?;
    header.set_sensitive(true);
    Ok(request.header(AUTHORIZATION, header))
}

/// Returns true if a server refused a token that has expired, and its file may get a new one.
pub(super) fn may_be_renewed(token: &ClientToken, status: StatusCode, body: &str) -> bool {
    token.file.is_some() && status == StatusCode::UNAUTHORIZED && code(body) == "token_expired"
}

/// Says what a person can do about a refusal; empty if it has nothing to do with the token.
pub(super) fn advice(token: &ClientToken, body: &str) -> String {
    let named = named(token);
    match code(body).as_str() {
        "no_token" => "; give it by --token-file FILE or TAILWATER_TOKEN".to_owned(),
        "token_expired" => format!("; put a new one into {named}"),
        "bad_token" => {
            format!("; give {named} to `tailwater token explain`, with the flags of the node")
        }
        "forbidden" => format!("; {named} needs a token with this right"),
        "revoked" => {
            format!("; no token of this subject in {named} helps before the revocation ends")
        }
        _ => String::new(),
    }
}

fn named(token: &ClientToken) -> String {
    match &token.file {
        Some(path) => format!("--token-file {}", path.display()),
        None => VARIABLE.to_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "a flag of clap would show in the list of processes")]
fn variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|token| !token.is_empty())
}

/// The code of an error in Tailwater's format; empty if it has none.
fn code(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let code = json.as_ref().and_then(|json| json["error"]["code"].as_str());
    code.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn token(file: Option<&str>) -> ClientToken {
        ClientToken { file: file.map(PathBuf::from) }
    }

    fn body(code: &str) -> String {
        format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#)
    }

    #[test]
    fn advice_names_the_place_of_the_token() {
        let file = token(Some("/run/token"));
        for code in ["token_expired", "bad_token", "forbidden", "revoked"] {
            assert!(advice(&file, &body(code)).contains("--token-file /run/token"), "{code}");
            assert!(advice(&token(None), &body(code)).contains(VARIABLE), "{code}");
        }
        assert!(advice(&token(None), &body("no_token")).contains("--token-file FILE"));
        for other in [&body("bad_request"), "", "<html>", "[]"] {
            assert_eq!(advice(&file, other), "");
        }
    }

    #[test]
    fn only_the_token_of_a_file_is_renewed() {
        let (file, expired) = (token(Some("f")), body("token_expired"));
        assert!(may_be_renewed(&file, StatusCode::UNAUTHORIZED, &expired));
        assert!(!may_be_renewed(&token(None), StatusCode::UNAUTHORIZED, &expired));
        assert!(!may_be_renewed(&file, StatusCode::UNAUTHORIZED, &body("bad_token")));
        assert!(!may_be_renewed(&file, StatusCode::FORBIDDEN, &expired));
    }

    #[test]
    fn a_text_that_is_no_token_is_named_and_not_quoted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\u{7}").unwrap();
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let request = reqwest::Client::new().get("http://127.0.0.1:1");
        let error = authorized(request, &token(file.path().to_str())).unwrap_err().to_string();
        assert!(error.contains("--token-file") && !error.contains("s3cret"), "{error}");
    }
}
