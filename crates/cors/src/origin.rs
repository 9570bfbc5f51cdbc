//! An origin as a browser sends it.

use http::HeaderValue;
use url::{Host, Url};

/// A list of origins that is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOrigin {
    /// The text is not `scheme://host[:port]`.
    #[error("{0:?} is no origin, as https://app.example.com")]
    Malformed(String),
    /// A browser writes this origin in another way, so the text would never match.
    #[error("{given:?} never matches: a browser sends {sent:?}")]
    NeverSent {
        /// The text as it is given.
        given: String,
        /// The same origin as a browser sends it.
        sent: String,
    },
    /// An origin is compared as a whole.
    #[error(
        "{0:?} has a wildcard, and a browser sends one host: name each origin, or give * alone"
    )]
    Wildcard(String),
    /// No page has an origin of this scheme, or its pages send `null`.
    #[error("{0:?} never matches: a browser sends no origin of this scheme for a page")]
    NoPages(String),
    /// Every page can give itself the origin `null`, for example in a sandboxed frame.
    #[error("null is the origin of any page in a sandbox: name an origin, or allow all by *")]
    Null,
    /// `*` allows every origin, so nothing may stand beside it.
    #[error("{0:?} names origins beside *: * stands alone")]
    BesideAny(Vec<String>),
}

/// Schemes whose URLs have a host or look so, and whose pages have no origin of this scheme.
const WITHOUT_PAGES: [&str; 10] = [
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "ftp",
    "javascript",
    "view-source",
    "ws",
    "wss",
];

/// Reads an origin. Only the text that a browser sends is accepted, since it is compared byte by byte.
pub(crate) fn parse(given: &str) -> Result<HeaderValue, BadOrigin> {
    let malformed = || BadOrigin::Malformed(given.to_owned());
    if given.eq_ignore_ascii_case("null") {
        return Err(BadOrigin::Null);
    }
    if given.contains('*') {
        return Err(BadOrigin::Wildcard(given.to_owned()));
    }
    let url = Url::parse(given).map_err(|_| malformed())?;
    if WITHOUT_PAGES.contains(&url.scheme()) {
        return Err(BadOrigin::NoPages(given.to_owned()));
    }
    let sent = match url.host() {
        None | Some(Host::Domain("")) => return Err(malformed()),
        Some(host) => {
            // The parser leaves out the default port of http and https, as browsers do.
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}://{host}{port}", url.scheme())
        }
    };
    if sent != given {
        return Err(BadOrigin::NeverSent { given: given.to_owned(), sent });
    }
    HeaderValue::from_str(given).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_that_browsers_send_is_accepted() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "https://app.example.com.",
            "https://xn--bcher-kva.example",
            "http://192.0.2.7:8080",
            "http://[2001:db8::7]:8080",
            "https://a_b.example",
            "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "capacitor://localhost",
            "tauri://localhost",
            "app://bundle:8080",
        ] {
            assert_eq!(parse(good), Ok(HeaderValue::from_static(good)));
        }
    }

    #[test]
    fn an_origin_in_other_words_is_refused_with_the_words_of_a_browser() {
        for (given, sent) in [
            ("HTTPS://app.example", "https://app.example"),
            ("https://App.example", "https://app.example"),
            ("https://app.example:443", "https://app.example"),
            ("http://app.example:80", "http://app.example"),
            ("https://app.example:0443", "https://app.example"),
            ("https://app.example/", "https://app.example"),
            ("https://app.example/page?q#f", "https://app.example"),
            ("https://user:pass@app.example", "https://app.example"),
            ("https:app.example", "https://app.example"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("http://0x7f.1", "http://127.0.0.1"),
            ("http://[2001:DB8:0::7]", "http://[2001:db8::7]"),
            (" https://app.example\n", "https://app.example"),
            ("Capacitor://localhost/", "capacitor://localhost"),
        ] {
            let refused = BadOrigin::NeverSent { given: given.to_owned(), sent: sent.to_owned() };
            assert_eq!(parse(given), Err(refused));
            assert!(parse(sent).is_ok(), "{sent} is the way out of {given}");
        }
        let text = parse("https://app.example:443").unwrap_err().to_string();
        assert_eq!(
            text,
            r#""https://app.example:443" never matches: a browser sends "https://app.example""#
        );
    }

    #[test]
    fn a_text_that_no_page_can_have_as_its_origin_is_refused_by_name() {
        for bad in [
            "",
            "app.example",
            "localhost:3000",
            "https://",
            "https://a b",
            "app://",
            "app:x",
            "https://a:99999",
        ] {
            assert_eq!(parse(bad), Err(BadOrigin::Malformed(bad.to_owned())));
        }
        for bad in ["https://*.example.com", "*://app.example", "https://*"] {
            assert_eq!(parse(bad), Err(BadOrigin::Wildcard(bad.to_owned())));
        }
        for bad in [
            "javascript://x",
            "data://x",
            "blob:https://app.example",
            "file://x",
            "wss://app.example",
        ] {
            assert_eq!(parse(bad), Err(BadOrigin::NoPages(bad.to_owned())));
        }
        assert_eq!(parse("null"), Err(BadOrigin::Null));
    }
}
