//! Credentials, and the files that decide about them.

use std::sync::{Arc, LazyLock};

use access::{
    Access, Config, Credentials, Issuer, Key, KeyRing, Machines, Page, Pattern, Revocation, Rights,
    Settings, TicketKeys, Tickets, Tokens, parse_set,
};
use futures_util::FutureExt as _;
use metrics::Registry;

/// A node whose keys no input knows: nothing that it is brought may be accepted.
static NODE: LazyLock<Access> = LazyLock::new(|| {
    let (registry, everybody) = (Registry::new(), Arc::new(Rights::default()));
    let secret = TicketKeys::random();
    let (keys, _) = Key::read_file(SET).expect("the set is well-formed");
    let issuer = Issuer { files: Arc::new(KeyRing::new(keys)), ..Issuer::default() };
    let settings = Settings {
        tokens: Tokens::new(vec![issuer], Arc::clone(&everybody), &registry),
        tickets: Some(Tickets::new(secret, Arc::clone(&everybody))),
        cookie: COOKIE.into(),
        everybody,
        ..Settings::default()
    };
    Access::closed(settings, &registry)
});

/// The public key of RFC 8037, whose private key signs nothing that is current.
const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const COOKIE: &str = "__Host-tailwater";

/// Brings a text as a token and as a ticket. Nobody can sign for this node, so both are refused, and no
/// refusal quotes the text.
pub(crate) fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let header = [b"Bearer ", bytes].concat();
    for (header, ticket) in [(Some(&*header), None), (None, Some(&*text))] {
        let credentials = NODE.credentials(header, &[], ticket, Page::Allowed);
        assert_secret(&credentials);
        if credentials.is_none() {
            continue;
        }
        let admitted = NODE.admit(&credentials).now_or_never().expect("no key is fetched");
        assert!(admitted.is_err(), "{admitted:?}");
    }
}

/// Finds the cookie in the lines of `Cookie` headers. A cookie of a page of another origin grants nothing.
pub(crate) fn cookie(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    for page in [Page::Allowed, Page::Foreign] {
        let credentials = Credentials::new(None, &lines, COOKIE, None, page);
        assert_secret(&credentials);
        let admitted = NODE.admit(&credentials).now_or_never().expect("no key is fetched");
        let grant = admitted.expect("a cookie that is refused grants what everybody may do");
        assert!(grant.principal().subject().is_none(), "{grant:?}");
    }
}

/// Credentials print sizes and nothing else.
fn assert_secret(credentials: &Credentials) {
    let printed = format!("{credentials:?}");
    let shape = printed.replace(|c: char| c.is_ascii_digit(), "").replace("Some()", "None");
    let sizes = "Credentials { header_bytes: None, cookie_bytes: None, ticket_bytes: None, .. }";
    assert_eq!(shape, sizes);
}

/// Compares a pattern (the first line) with a topic (the second) for a subject (the third), and with a slower
/// way to do so.
pub(crate) fn pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (Some(pattern), Some(topic)) = (lines.next(), lines.next()) else { return };
    let subject = lines.next();
    let Ok(read) = Pattern::new(pattern) else { return };
    assert_eq!(read.as_str(), pattern);
    // Only topics are compared.
    let is_topic = |c: char| c.is_ascii_alphanumeric() || "._~:/@-".contains(c);
    if topic.is_empty() || !topic.chars().all(is_topic) {
        return;
    }
    let named = match subject {
        Some(subject) if !subject.is_empty() && !subject.contains('/') => {
            Some(pattern.replace("{sub}", subject))
        }
        _ => (!pattern.contains("{sub}")).then(|| pattern.to_owned()),
    };
    // A subject that looks like a wildcard is none.
    let wild: Vec<_> = pattern.split('/').map(|segment| matches!(segment, "*" | "**")).collect();
    let expected = named.is_some_and(|named| slow(&named, &wild, topic));
    assert_eq!(read.matches(topic, subject), expected, "{pattern:?} {topic:?} {subject:?}");
}

fn slow(pattern: &str, wild: &[bool], topic: &str) -> bool {
    let (wanted, segments): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), topic.split('/').collect());
    let ends_open = wild.last() == Some(&true) && wanted.last() == Some(&"**");
    let is_long =
        if ends_open { segments.len() >= wanted.len() } else { segments.len() == wanted.len() };
    is_long
        && wanted
            .iter()
            .zip(wild)
            .zip(&segments)
            .all(|((wanted, is_wild), segment)| *is_wild || wanted == segment)
}

/// Reads a file of keys, and the set of a key server. A key that is taken can verify something.
pub(crate) fn keys(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (keys, _) in [Key::read_file(&text), parse_set(&text)].into_iter().flatten() {
        assert!(!keys.is_empty());
        assert!(keys.iter().all(|key| !key.algorithms().is_empty()), "{keys:?}");
    }
}

/// Reads the other files of an operator, and the data of a revocation.
pub(crate) fn files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(config) = Config::parse(&text)
        && let Ok(plans) = config.plans("tailwater")
    {
        assert!(plans.iter().all(|plan| plan.jwks.is_some() || !plan.files.is_empty()));
    }
    let _machines = Machines::parse(&text, &Arc::default());
    let _keys = TicketKeys::parse(&text);
    if let Some(revocation) = Revocation::from_json(&text) {
        let again = Revocation::from_json(&revocation.to_json()).expect("what is written is read");
        assert_eq!(again.revoked, revocation.revoked);
    }
}
