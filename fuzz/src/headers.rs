//! Headers that more than one service reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cors::{Policy, SiteRules};
use event_log::TraceParent;
use http::{HeaderMap, Method, Request};
use limits::{Client, Peer, Proxies};
use metrics::trace::Remote;

/// The address of a trusted proxy.
const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 80);
/// The address of a client that trusts nobody.
const STRANGER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

/// Finds the client behind trusted proxies: the first line is the list of proxies, the others are
/// `X-Forwarded-For` and, after an empty line, `Forwarded`. The word of a stranger counts for nothing.
pub(crate) fn forwarded(bytes: &[u8]) {
    let lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    let list = lines.first().and_then(|list| str::from_utf8(list).ok()).unwrap_or_default();
    let listed = Proxies::new(list.split(',')).unwrap_or_default();
    let mut headers = lines.get(1..).unwrap_or_default().splitn(2, |line| line.is_empty());
    let (for_list, elements) =
        (headers.next().unwrap_or_default(), headers.next().unwrap_or_default());
    for proxies in [listed, Proxies::new(["10.0.0.0/8"]).unwrap_or_default()] {
        for peer in [PROXY, STRANGER].map(Peer::new) {
            let client = proxies.client(peer, for_list.iter().copied(), elements.iter().copied());
            if !proxies.trust(peer.address.ip()) {
                assert_eq!(client, proxies.connected(peer));
            } else if client != Client::TRUSTED {
                assert!(client.address.is_some() && client.connection.is_none(), "{client:?}");
            }
        }
    }
}

/// Allows the origins of the first line, and decides about the origin of the second.
pub(crate) fn origin(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let allowed = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let allowed: Vec<_> = allowed.split_whitespace().map(str::to_owned).collect();
    let Ok(policy) = Policy::allow(&allowed) else { return };
    let origin = lines.next();
    let mut headers = HeaderMap::new();
    policy.grant(origin).put(&mut headers);
    let granted = headers.get("access-control-allow-origin").map(|value| value.as_bytes());
    if let Some(granted) = granted {
        let is_listed = allowed.iter().any(|allowed| Some(allowed.as_bytes()) == origin);
        assert!(granted == b"*" && allowed == ["*"] || Some(granted) == origin && is_listed);
    }
}

/// The longest message of a refusal, in bytes.
const REFUSAL_BYTES_MAX: usize = 512;

/// Decides about a POST and a GET of the target in the first line with the headers of the other lines,
/// `name:value`. A page of another site changes nothing, and no refusal is long.
pub(crate) fn site(bytes: &[u8]) {
    let everywhere = SiteRules::new(Policy::default());
    let Ok(local) = everywhere.clone().local(&["node.example".to_owned()]) else { return };
    for method in [Method::POST, Method::GET] {
        let mut lines = bytes.split(|byte| *byte == b'\n');
        let target = lines.next().unwrap_or_default();
        let mut request = Request::builder().method(&method).uri(target);
        for line in lines {
            if let Some(colon) = line.iter().position(|byte| *byte == b':') {
                request = request.header(&line[..colon], &line[colon + 1..]);
            }
        }
        let Ok(request) = request.body(()) else { return };
        let site = request.headers().get("sec-fetch-site").map(|site| site.as_bytes());
        let is_foreign = site.is_some_and(|site| site != b"same-origin" && site != b"none");
        for rules in [&everywhere, &local] {
            match rules.check(&request) {
                Ok(()) => {
                    assert!(!is_foreign || method == Method::GET, "{request:?} changes something");
                    let mut hosts = request.headers().get_all("host").iter();
                    assert!(hosts.all(|host| rules.answer_host(host.as_bytes())), "{request:?}");
                }
                Err(refusal) => {
                    let text = refusal.to_string();
                    assert!(text.len() <= REFUSAL_BYTES_MAX, "{} bytes: {text}", text.len());
                }
            }
        }
    }
}

/// Parses a `traceparent`. Each span that a trace parent names is one that the exporter can continue.
pub(crate) fn trace(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let remote = Remote::parse(text);
    if let Some(trace) = TraceParent::parse(text) {
        let zeros = |part: &str| part.bytes().all(|byte| byte == b'0');
        let names_a_span = !trace.as_str().split('-').skip(1).take(2).any(zeros);
        assert_eq!(remote.is_some(), names_a_span, "{text}");
    }
}
