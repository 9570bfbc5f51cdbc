use super::*;

fn check(rules: &SiteRules, request: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
    let (method, uri) = request.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(uri);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    rules.check(&request.body(()).unwrap())
}

fn policy(origins: &[&str]) -> Policy {
    Policy::allow(&origins.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

type Headers = &'static [(&'static str, &'static str)];

const HOST: (&str, &str) = ("host", "node.example:8080");

/// Posts with these headers, and returns true if the post is answered.
fn posts(rules: &SiteRules, headers: &[(&str, &str)]) -> bool {
    let headers = [&[HOST], headers].concat();
    let results = ["POST /", "PUT /", "PATCH /", "DELETE /"].map(|it| check(rules, it, &headers));
    assert!(check(rules, "GET /", &headers).is_ok() && check(rules, "OPTIONS /", &headers).is_ok());
    let is_ok = results[0].is_ok();
    for result in results {
        assert_eq!(result.is_ok(), is_ok);
        if let Err(refusal) = result {
            assert_eq!((refusal.status().as_u16(), refusal.code()), (403, "cross_site"));
        }
    }
    is_ok
}

#[test]
fn only_own_and_allowed_pages_change_things_and_other_clients_always() {
    const OWN: (&str, &str) = ("origin", "http://node.example:8080");
    const APP: (&str, &str) = ("origin", "https://app.example");
    const EVIL: (&str, &str) = ("origin", "https://evil.example");
    const NULL: (&str, &str) = ("origin", "null");
    const fn site(value: &'static str) -> (&'static str, &'static str) {
        ("sec-fetch-site", value)
    }
    // Without a policy, with one that lists the app, with one that allows all.
    const CASES: &[(Headers, [bool; 3])] = &[
        (&[], [true; 3]),
        (&[OWN], [true; 3]),
        (&[OWN, site("same-origin")], [true; 3]),
        (&[site("same-origin")], [true; 3]),
        (&[site("none")], [true; 3]),
        // A proxy rewrote the host.
        (&[("origin", "https://public.example"), site("same-origin")], [true; 3]),
        (&[APP], [false, true, true]),
        (&[APP, site("cross-site")], [false, true, true]),
        (&[EVIL], [false, false, true]),
        (&[EVIL, site("cross-site")], [false, false, true]),
        (&[EVIL, site("same-site")], [false, false, true]),
        (&[OWN, site("cross-site")], [false, false, true]),
        (&[site("cross-site")], [false, false, true]),
        (&[site("same-site")], [false, false, true]),
        (&[site("nonsense")], [false, false, true]),
        (&[NULL], [false, false, true]),
        (&[OWN, EVIL], [false; 3]),
        (&[APP, EVIL], [false; 3]),
        (&[EVIL, site("same-origin"), site("cross-site")], [false, false, true]),
        (&[("origin", "")], [false, false, true]),
    ];
    let none = SiteRules::default();
    let listed = SiteRules::new(policy(&["https://app.example"]));
    let any = SiteRules::new(policy(&["*"]));
    for (headers, expected) in CASES {
        let answered = [&none, &listed, &any].map(|rules| posts(rules, headers));
        assert_eq!(answered, *expected, "{headers:?}");
    }
}

#[test]
fn an_origin_is_own_by_host_and_port_whatever_the_scheme() {
    for (origin, host, expected) in [
        ("http://a.example", "a.example", true),
        ("https://a.example", "a.example", true),
        ("https://A.example", "a.EXAMPLE", true),
        ("https://a.example", "a.example:443", true),
        ("http://a.example", "a.example:80", true),
        ("http://a.example:8080", "a.example:8080", true),
        ("http://[::1]:8080", "[::1]:8080", true),
        ("http://a.example", "a.example:8080", false),
        ("http://a.example:8080", "a.example", false),
        ("http://a.example.evil", "a.example", false),
        ("http://b.example", "a.example", false),
        ("a.example", "a.example", false),
        ("null", "null", false),
        ("http://", "", true),
        ("http://a.example", "a.example:x", false),
    ] {
        assert_eq!(is_own(origin.as_bytes(), host.as_bytes()), expected, "{origin} {host}");
    }
    assert!(!is_own(b"http://\xff", b"\xff"));
}

#[test]
fn a_socket_on_a_loopback_address_answers_local_and_allowed_names_only() {
    let names = ["tail.example".to_owned(), "[fd00::1]".to_owned()];
    let rules = SiteRules::default().local(&names).unwrap();
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "app.localhost:1",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
        "tail.example",
        "Tail.Example:8080",
        "[fd00::1]:1",
    ] {
        assert!(rules.answer_host(host.as_bytes()), "{host}");
        assert!(SiteRules::default().answer_host(host.as_bytes()));
    }
    for host in [
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost:80@evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "[::1",
        "[::1]x",
        "localhost:80:80",
        "0.0.0.0",
        "x.tail.example",
    ] {
        assert!(!rules.answer_host(host.as_bytes()), "{host}");
        let refusal = check(&rules, "GET /", &[("host", host)]).unwrap_err();
        assert_eq!((refusal.status().as_u16(), refusal.code()), (403, "foreign_host"), "{host}");
    }
    assert!(check(&rules, "GET /", &[("host", "localhost")]).is_ok());
    // The authority of HTTP/2, or of a proxy's request line, counts as well.
    assert!(check(&rules, "GET http://evil.example/", &[("host", "localhost")]).is_err());
    let long = "x".repeat(5000);
    let refusal = check(&rules, "GET /", &[("host", &long)]).unwrap_err().to_string();
    assert!(refusal.contains("--allow-host") && refusal.len() < 300, "{refusal}");
}

#[test]
fn a_request_has_exactly_one_host() {
    let rules = SiteRules::default();
    assert_eq!(check(&rules, "GET /", &[]), Err(Refusal::NoHost));
    assert_eq!(check(&rules, "GET http://a.example/", &[]), Err(Refusal::NoHost));
    assert_eq!(check(&rules, "GET /", &[HOST, HOST]), Err(Refusal::ManyHosts));
    let versions = [Version::HTTP_10, Version::HTTP_2].map(|version| {
        let request = Request::builder().version(version).uri("http://a.example/");
        rules.check(&request.body(()).unwrap())
    });
    assert_eq!(versions, [Ok(()), Ok(())]);
    let request = Request::builder().version(Version::HTTP_2).uri("/").body(()).unwrap();
    assert_eq!(rules.check(&request), Err(Refusal::NoHost));
    assert_eq!((Refusal::NoHost.status().as_u16(), Refusal::NoHost.code()), (400, "bad_host"));
}

#[test]
fn a_name_that_is_no_host_is_refused() {
    for bad in ["", "https://a.example", "a.example:8080", "a/b", "*.example", "[::1"] {
        let refused = SiteRules::default().local(&[bad.to_owned()]);
        assert_eq!(refused, Err(BadHost(bad.to_owned())));
    }
}
