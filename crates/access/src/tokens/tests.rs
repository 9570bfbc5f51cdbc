use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::issuer::{ClaimName, KeySource, MappedClaim};
use crate::key::{KeyRing, parse_set};
use crate::sample::{Pair, SECRET, set};
use crate::{Patterns, Right};

const ISSUER: &str = "https://issuer.example/";

fn now() -> u64 {
    Timestamp::now().as_seconds()
}

/// Claims that are accepted, with others in their place. A null takes a claim away.
fn claims(others: Value) -> Value {
    let mut all = json!({
        "iss": ISSUER, "aud": "events", "sub": "ann", "exp": now() + 600,
        "tailwater": {"subscribe": ["a/*"]},
    });
    let Value::Object(others) = others else { panic!("claims are an object") };
    for (name, value) in others {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(&name)),
            value => all[name] = value,
        }
    }
    all
}

fn ring(text: &str) -> Arc<KeyRing> {
    Arc::new(KeyRing::new(Key::read_file(text).unwrap().0))
}

fn name(text: &str) -> ClaimName {
    ClaimName::new(text).unwrap()
}

fn issuer(keys: &str) -> Issuer {
    Issuer {
        names: vec![ISSUER.to_owned()],
        audience: vec!["events".to_owned(), "other".to_owned()],
        files: ring(keys),
        ..Issuer::default()
    }
}

fn tokens(issuers: impl Into<Vec<Issuer>>) -> Tokens {
    Tokens::new(issuers.into(), Arc::default(), &Registry::new())
}

async fn outcome(tokens: &Tokens, token: &str) -> Result<(), Reason> {
    tokens.verify(token).await.map(drop)
}

#[tokio::test]
async fn claims_are_checked_strictly() {
    let pair = Pair::ec();
    let tokens = tokens([issuer(&pair.public)]);
    let (exp, ok) = (now() + 600, Ok(()));
    let (malformed, missing) = (Err(Reason::MalformedClaim), Err(Reason::MissingClaim));
    for (others, wanted) in [
        (json!({}), ok),
        (json!({"iss": null}), missing),
        (json!({"iss": [ISSUER]}), malformed),
        (json!({"iss": "https://issuer.example"}), Err(Reason::Issuer)),
        (json!({"aud": null}), missing),
        (json!({"aud": []}), Err(Reason::Audience)),
        (json!({"aud": ["x", "events"]}), ok),
        (json!({"aud": ["events", 1]}), malformed),
        (json!({"aud": 1}), malformed),
        (json!({"aud": "x"}), Err(Reason::Audience)),
        (json!({"sub": null}), missing),
        (json!({"sub": ""}), malformed),
        (json!({"sub": 7}), malformed),
        (json!({"sub": "s".repeat(257)}), malformed),
        (json!({"exp": null}), missing),
        (json!({"exp": exp as f64 + 0.7}), ok),
        (json!({"exp": exp.to_string()}), malformed),
        (json!({"exp": exp * 1000}), malformed),
        (json!({"exp": [exp]}), malformed),
        (json!({"exp": -1}), malformed),
        (json!({"exp": 1e300}), malformed),
        (json!({"exp": u64::MAX}), malformed),
        (json!({"exp": 0}), Err(Reason::Expired)),
        // The deadline is 30 s after `exp`, and a right of less than 3 s is none.
        (json!({"exp": now() - 20}), ok),
        (json!({"exp": now() - 28}), Err(Reason::Expired)),
        (json!({"nbf": now() + 20}), ok),
        (json!({"nbf": now() + 40}), Err(Reason::NotYet)),
        (json!({"nbf": "0"}), malformed),
        (json!({"iat": "0"}), malformed),
        (json!({"jti": 1}), malformed),
        (json!({"tailwater": 1}), malformed),
        (json!({"tailwater": {"subscribe": "a"}}), malformed),
        (json!({"tailwater": {"subscribe": ["a b"]}}), malformed),
        (json!({"tailwater": {"subscribe": vec!["a"; 65]}}), malformed),
        (json!({"tailwater": {"subscribes": []}}), malformed),
        (json!({"tailwater": {"history": "30"}}), malformed),
        (json!({"tailwater": "{\"subscribe\": [\"b\"]}"}), ok),
        (json!({"tailwater": "nonsense"}), malformed),
        (json!({"tailwater": null}), ok),
    ] {
        let token = pair.token(None, &claims(others.clone()));
        assert_eq!(outcome(&tokens, &token).await, wanted, "{others}");
    }
    let token = pair.token(None, &json!([1]));
    assert_eq!(outcome(&tokens, &token).await, malformed, "claims are an object");
}

#[tokio::test]
async fn headers_are_checked_before_the_signature() {
    let (pair, secret) = (Pair::ec(), Pair::secret(SECRET));
    let tokens = tokens([issuer(&pair.public)]);
    for (header, wanted) in [
        (json!({"alg": "ES256"}), Ok(())),
        (json!({"alg": "ES256", "jku": "https://x", "kid": "any"}), Ok(())),
        (json!({"alg": "none"}), Err(Reason::Algorithm)),
        (json!({"alg": "ES512"}), Err(Reason::Algorithm)),
        (json!({"alg": "Ed25519"}), Err(Reason::Algorithm)),
        (json!({"alg": "ES384"}), Err(Reason::Algorithm)),
        (json!({"alg": "HS256"}), Err(Reason::Algorithm)),
        (json!({"alg": 1}), Err(Reason::Algorithm)),
        (json!({}), Err(Reason::NotJwt)),
        (json!([1]), Err(Reason::NotJwt)),
        (json!({"alg": "ES256", "kid": 7}), Err(Reason::NotJwt)),
        (json!({"alg": "ES256", "kid": "k".repeat(257)}), Err(Reason::UnknownKey)),
        (json!({"alg": "ES256", "crit": ["exp"]}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "crit": "exp"}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "b64": false}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "b64": null}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "crit": null}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "zip": "DEF"}), Err(Reason::Critical)),
        (json!({"alg": "ES256", "enc": "A128GCM"}), Err(Reason::Critical)),
    ] {
        let token = pair.token_with(&header, &claims(json!({})));
        assert_eq!(outcome(&tokens, &token).await, wanted, "{header}");
    }
    let good = pair.token(None, &claims(json!({})));
    let forged = Pair::ec().token(None, &claims(json!({})));
    let public = Pair::secret(&pair.public).token(None, &claims(json!({})));
    let unsigned = good.rsplit_once('.').unwrap().0;
    for (token, wanted) in [
        (forged.as_str(), Reason::Signature),
        (&public, Reason::Algorithm),
        (&secret.token(None, &claims(json!({}))), Reason::Algorithm),
        (&format!("{unsigned}."), Reason::Signature),
        (unsigned, Reason::NotJwt),
        ("", Reason::NotJwt),
        ("opaque", Reason::NotJwt),
        ("a.b.c.d.e", Reason::NotJwt),
        (&format!("Bearer {good}"), Reason::NotJwt),
        (&pair.token(None, &claims(json!({"x": "x".repeat(16 * 1024)}))), Reason::TooLarge),
    ] {
        assert_eq!(outcome(&tokens, token).await, Err(wanted), "{token:.40}");
    }
}

#[tokio::test]
async fn keys_are_chosen_by_id_and_kind() {
    let (rsa, ec, ed, twin) = (Pair::rsa(), Pair::ec(), Pair::ed(), Pair::ec());
    let mut encrypts = Pair::ec().jwk("enc");
    encrypts["use"] = json!("enc");
    let odd = json!({"kty": "OKP", "crv": "Ed448", "x": "AA"});
    let mut number = Pair::ec().jwk("n");
    number["kid"] = json!(7);
    let keys = [odd, number, encrypts, rsa.jwk("r"), ec.jwk("e"), twin.jwk("e"), ed.jwk("d")];
    let tokens = tokens([issuer(&set(&keys))]);
    let all = claims(json!({}));
    for (pair, id, wanted) in [
        (rsa, Some("r"), Ok(())),
        (&ec, Some("e"), Ok(())),
        (&twin, Some("e"), Ok(())),
        (&ed, Some("d"), Ok(())),
        (rsa, None, Ok(())),
        (&twin, None, Ok(())),
        (rsa, Some("e"), Err(Reason::Algorithm)),
        (&ec, Some("enc"), Err(Reason::UnknownKey)),
        (&ec, Some("x\u{1b}"), Err(Reason::UnknownKey)),
        (&Pair::ec(), Some("e"), Err(Reason::Signature)),
        (&Pair::secret(SECRET), Some("e"), Err(Reason::Algorithm)),
    ] {
        assert_eq!(outcome(&tokens, &pair.token(id, &all)).await, wanted, "{id:?}");
    }
    let narrow = Issuer { algorithms: vec![Algorithm::EdDSA], ..issuer(&set(&keys)) };
    let narrow = super::tests::tokens([narrow]);
    assert_eq!(outcome(&narrow, &ed.token(None, &all)).await, Ok(()));
    assert_eq!(outcome(&narrow, &ec.token(None, &all)).await, Err(Reason::Algorithm));
}

#[tokio::test]
async fn a_token_without_an_id_tries_few_keys() {
    let pairs: Vec<_> = (0..=TRIED_MAX).map(|_| Pair::ec()).collect();
    let keys: Vec<_> = pairs.iter().map(|pair| pair.jwk("same")).collect();
    let tokens = tokens([issuer(&set(&keys))]);
    let token = |number: usize| pairs[number].token(None, &claims(json!({})));
    assert_eq!(outcome(&tokens, &token(TRIED_MAX - 1)).await, Ok(()));
    assert_eq!(outcome(&tokens, &token(TRIED_MAX)).await, Err(Reason::Signature));
}

/// A key server: its set of now, and the one that it has at the next fetch.
#[derive(Debug, Default)]
struct Server {
    ring: Option<Arc<KeyRing>>,
    next: Option<String>,
    asked: AtomicUsize,
}

#[async_trait]
impl KeySource for Server {
    fn keys(&self) -> Option<Arc<KeyRing>> {
        self.ring.clone()
    }

    async fn refresh(self: Arc<Self>, _id: Option<&str>) -> Refreshed {
        self.asked.fetch_add(1, SeqCst);
        let (Some(ring), Some(next)) = (&self.ring, &self.next) else {
            return Refreshed::Unavailable;
        };
        ring.replace(parse_set(next).unwrap().0);
        Refreshed::Loaded
    }
}

fn served(keys: &str, server: &Arc<Server>) -> Issuer {
    Issuer { server: Some(server.clone()), ..issuer(keys) }
}

#[tokio::test]
async fn a_new_key_is_fetched_also_beside_keys_without_an_id() {
    let (old, new) = (Pair::ec(), Pair::ec());
    let all = claims(json!({}));
    // A secret, a key of the same kind, and an empty set of files.
    for file in [SECRET.to_owned(), Pair::ec().public, set(&[Pair::ed().jwk("d")])] {
        let ring = Arc::new(KeyRing::new(parse_set(&set(&[old.jwk("old")])).unwrap().0));
        let next = Some(set(&[new.jwk("new")]));
        let server = Arc::new(Server { ring: Some(ring), next, ..Server::default() });
        let tokens = tokens([served(&file, &server)]);
        assert_eq!(outcome(&tokens, &old.token(Some("old"), &all)).await, Ok(()));
        let forged = outcome(&tokens, &new.token(Some("old"), &all)).await;
        assert_eq!(forged, Err(Reason::Signature));
        assert_eq!(server.asked.load(SeqCst), 0, "known keys need no fetch");
        assert_eq!(outcome(&tokens, &new.token(Some("new"), &all)).await, Ok(()));
        assert_eq!(server.asked.load(SeqCst), 1);
        let gone = outcome(&tokens, &old.token(Some("old"), &all)).await;
        assert!(gone.is_err(), "the cache forgets a token whose key is gone");
    }
}

#[tokio::test]
async fn keys_that_were_never_loaded_are_no_fault_of_the_token() {
    let server = Arc::new(Server::default());
    let tokens = tokens([served(SECRET, &server)]);
    let all = claims(json!({}));
    let stranger = outcome(&tokens, &Pair::ec().token(Some("e"), &all)).await;
    assert_eq!(stranger, Err(Reason::KeysUnavailable));
    for (others, wanted) in [
        (json!({"iss": "https://another.example/"}), Reason::Issuer),
        (json!({"iss": null}), Reason::MissingClaim),
        (json!({"iss": 7}), Reason::MalformedClaim),
        (json!({"exp": now() - 40}), Reason::Expired),
        (json!({"exp": null}), Reason::MissingClaim),
    ] {
        let other = Pair::ec().token(Some("e"), &claims(others));
        assert_eq!(outcome(&tokens, &other).await, Err(wanted), "it will not become good");
    }
    assert_eq!(server.asked.load(SeqCst), 1);
    let known = outcome(&tokens, &Pair::secret(SECRET).token(None, &all)).await;
    assert_eq!(known, Ok(()), "the keys of files serve meanwhile");
}

#[tokio::test]
async fn a_verified_token_is_not_verified_again() {
    let pair = Pair::ec();
    let (registry, issuer) = (Registry::new(), issuer(&pair.public));
    let files = issuer.files.clone();
    let tokens = Tokens::new(vec![issuer], Arc::default(), &registry);
    let token = pair.token(None, &claims(json!({})));
    let first = tokens.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &tokens.verify(&token).await.unwrap()));
    files.replace(Key::read_file(&pair.public).unwrap().0);
    assert!(!Arc::ptr_eq(&first, &tokens.verify(&token).await.unwrap()));
    files.replace(Key::read_file(&Pair::ec().public).unwrap().0);
    assert_eq!(outcome(&tokens, &token).await, Err(Reason::Signature));
}

#[tokio::test]
async fn an_issuer_is_chosen_by_its_name() {
    let (one, two) = (Pair::ec(), Pair::ec());
    let second = || Issuer { names: vec!["https://two.example".to_owned()], ..issuer(&two.public) };
    let tokens = tokens([issuer(&one.public), second()]);
    let of = |pair: &Pair, name: Value| pair.token(None, &claims(json!({"iss": name})));
    for (token, wanted) in [
        (of(&one, json!(ISSUER)), Ok(())),
        (of(&two, json!("https://two.example")), Ok(())),
        (of(&two, json!(ISSUER)), Err(Reason::Signature)),
        (of(&two, json!("https://two.example/")), Err(Reason::Issuer)),
        (of(&two, json!(["https://two.example"])), Err(Reason::MalformedClaim)),
        (of(&two, json!(null)), Err(Reason::MissingClaim)),
    ] {
        assert_eq!(outcome(&tokens, &token).await, wanted);
    }
    let nameless = Issuer { names: Vec::new(), ..issuer(&one.public) };
    let tokens = super::tests::tokens([second(), nameless]);
    assert_eq!(outcome(&tokens, &of(&one, json!(null))).await, Ok(()));
    let stolen = of(&one, json!("https://two.example"));
    assert_eq!(outcome(&tokens, &stolen).await, Err(Reason::Signature));
    let nobody = super::tests::tokens([]);
    assert_eq!(outcome(&nobody, &stolen).await, Err(Reason::Issuer));
}

#[test]
fn an_operator_gets_hints() {
    let pair = Pair::ec();
    let issuer = Issuer {
        life: Some(std::time::Duration::from_secs(700)),
        required: vec![(name("token_use"), vec!["access".to_owned()])],
        algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
        ..issuer(&pair.public)
    };
    let typed = Issuer { types: vec!["at+jwt".to_owned()], ..issuer.clone() };
    let (tokens, typed) = (tokens([issuer]), super::tests::tokens([typed]));
    let of = |others: Value| {
        let mut all = claims(json!({"token_use": "access"}));
        for (name, value) in others.as_object().unwrap() {
            all[name] = value.clone();
        }
        pair.token(None, &all)
    };
    for (others, part) in [
        (json!({"iss": "https://issuer.example"}), "by a slash"),
        (json!({"iss": "https://x"}), "iss is another; accepted: [\"https://issuer.example/\"]"),
        (json!({"iss": null}), "iss is missing"),
        (json!({"exp": now() * 1000}), "milliseconds"),
        (json!({"exp": now() + 900}), "max-life 11m 40s"),
        (json!({"aud": null, "azp": "events"}), "aud is missing, and azp has an accepted"),
        (json!({"aud": "x"}), "aud is another; accepted audiences: [\"events\", \"other\"]"),
        (json!({"token_use": "id"}), "token_use is missing or another; required: [\"access\"]"),
        (json!({"sub": null}), "sub holds no subject"),
        (json!({"tailwater": {"topics": []}}), "no members but subscribe"),
        (json!({"tailwater": {"publish": ["a b"]}}), "no pattern"),
    ] {
        let hint = tokens.hint(&of(others.clone())).unwrap_or_default();
        assert!(hint.contains(part), "{others}: {hint}");
    }
    let unsupported = pair.token_with(&json!({"alg": "ES512"}), &json!({}));
    assert!(tokens.hint(&unsupported).unwrap().contains("ES512"));
    let other = Pair::secret(SECRET).token(None, &claims(json!({})));
    assert!(tokens.hint(&other).unwrap().contains("HS256 is not among"));
    assert!(typed.hint(&of(json!({}))).unwrap().contains("typ of the header"));
    for nothing in [of(json!({})), "x".to_owned(), "a.b.c".to_owned()] {
        assert_eq!(tokens.hint(&nothing), None);
    }
}

#[tokio::test]
async fn tokens_of_every_provider_are_understood() {
    let pair = Pair::rsa();
    let rights = |topic: &str| crate::Rights {
        subscribe: Patterns::new([topic]).unwrap(),
        ..crate::Rights::default()
    };
    let mapped = |claim: &str, value: &str| {
        vec![MappedClaim { claim: name(claim), value: value.to_owned(), rights: rights("a/*") }]
    };
    let block = || Issuer { audience: vec!["app".to_owned()], ..issuer(&pair.public) };
    let by = |claim: &str| Issuer { audience_claim: name(claim), ..block() };
    let required = |claim: &str, value: &str| vec![(name(claim), vec![value.to_owned()])];
    let own = json!({"subscribe": ["a/*"]});
    let none = || json!({"tailwater": null, "aud": "app"});
    let with = |mut base: Value, more: Value| {
        for (name, value) in more.as_object().unwrap() {
            base[name] = value.clone();
        }
        base
    };
    for (provider, issuer, others) in [
        (
            "keycloak",
            Issuer {
                required: required("typ", "Bearer"),
                mapped: mapped("/realm_access/roles", "reader"),
                ..by("azp")
            },
            with(
                none(),
                json!({"aud": null, "azp": "app", "typ": "Bearer",
                    "realm_access": {"roles": ["x", "reader"]}}),
            ),
        ),
        (
            "auth0",
            Issuer {
                grants: name("https://tailwater/grants"),
                types: vec!["at+jwt".into()],
                ..block()
            },
            with(
                none(),
                json!({"aud": ["app", "https://t.auth0.com/userinfo"],
                    "https://tailwater/grants": own}),
            ),
        ),
        (
            "cognito",
            Issuer {
                required: required("token_use", "access"),
                mapped: mapped("cognito:groups", "readers"),
                ..by("client_id")
            },
            with(
                none(),
                json!({"aud": null, "client_id": "app", "token_use": "access",
                    "cognito:groups": ["readers"]}),
            ),
        ),
        (
            "cognito id",
            Issuer { grants: name("custom:tailwater"), ..block() },
            with(none(), json!({"custom:tailwater": own.to_string()})),
        ),
        ("firebase", block(), with(none(), json!({"user_id": "ann", "tailwater": own}))),
        (
            "entra",
            Issuer {
                required: required("tid", "tenant"),
                mapped: mapped("roles", "Events.Read"),
                subject: name("oid"),
                ..block()
            },
            with(
                none(),
                json!({"tid": "tenant", "oid": "ann", "sub": "pairwise", "roles": ["Events.Read"]}),
            ),
        ),
        (
            "supabase",
            Issuer { grants: name("/app_metadata/tailwater"), ..block() },
            with(none(), json!({"role": "x", "app_metadata": {"tailwater": own}})),
        ),
        (
            "clerk",
            by("azp"),
            with(
                none(),
                json!({"aud": null, "azp": "app", "exp": now() + 60, "nbf": now() - 10, "tailwater": own}),
            ),
        ),
        (
            "okta",
            Issuer { mapped: mapped("scp", "events:read"), ..by("cid") },
            with(none(), json!({"aud": "api://default", "cid": "app", "scp": ["events:read"]})),
        ),
        (
            "scope as a text",
            Issuer { mapped: mapped("scope", "events:read"), ..block() },
            with(none(), json!({"scope": "openid events:read"})),
        ),
    ] {
        let header = json!({"alg": "RS256", "kid": "theirs", "typ": "at+JWT"});
        let tokens = tokens([issuer.clone()]);
        let grant = tokens.verify(&pair.token_with(&header, &claims(others.clone()))).await;
        let grant = grant.unwrap_or_else(|reason| panic!("{provider}: {reason:?}"));
        assert_eq!(grant.principal().subject(), Some("ann"), "{provider}");
        assert!(grant.allows(Right::Subscribe, "a/b"), "{provider}");
        assert!(!grant.allows(Right::Subscribe, "b"), "{provider}");
        assert!(!grant.allows(Right::Publish, "a/b"), "{provider}");
        for (claim, _) in &issuer.required {
            let mut without = others.clone();
            without[claim.as_str()] = json!("another");
            let token = pair.token_with(&header, &claims(without.clone()));
            assert_eq!(outcome(&tokens, &token).await, Err(Reason::RequiredValue), "{provider}");
            without[claim.as_str()] = json!(null);
            let token = pair.token_with(&header, &claims(without));
            assert_eq!(outcome(&tokens, &token).await, Err(Reason::MissingClaim), "{provider}");
        }
        if !issuer.types.is_empty() {
            let token = pair.token(None, &claims(others));
            assert_eq!(outcome(&tokens, &token).await, Err(Reason::Type), "{provider}");
        }
    }
}

#[tokio::test]
async fn rights_history_and_the_end_come_from_the_token() {
    let pair = Pair::ed();
    let issuer =
        Issuer { life: Some(std::time::Duration::from_secs(3600)), ..issuer(&pair.public) };
    let tokens = tokens([issuer]);
    let exp = now() + 600;
    let written = json!({
        "subscribe": ["user/{sub}"], "publish": ["in/**"], "end": ["in/x"], "history": "none", "admin": true,
    });
    let all = claims(json!({"tailwater": written, "exp": exp, "iat": 1000, "jti": "t1"}));
    let grant = tokens.verify(&pair.token(None, &all)).await.unwrap();
    assert!(
        grant.allows(Right::Subscribe, "user/ann") && !grant.allows(Right::Subscribe, "user/bob")
    );
    assert!(grant.allows(Right::Publish, "in/a/b") && grant.allows(Right::End, "in/x"));
    assert!(grant.is_admin());
    assert_eq!(grant.principal().deadline(), Some(Timestamp::from_seconds(exp + 30)));
    let floor = grant.history_floor(Timestamp::now());
    assert_eq!(floor, Some(Timestamp::from_seconds(1000)), "what came before the token was made");
    let long = claims(json!({"exp": now() + 3700}));
    assert_eq!(outcome(&tokens, &pair.token(None, &long)).await, Err(Reason::MalformedClaim));
}

#[tokio::test]
async fn a_claim_that_comes_twice_is_refused() {
    let pair = Pair::ec();
    let tokens = tokens([issuer(&pair.public)]);
    let once = claims(json!({})).to_string();
    for twice in [r#""sub":"ann""#, r#""tailwater":{"subscribe":["**"]}"#, r#""other":1,"other":1"#]
    {
        let (header, claims) =
            (r#"{"alg":"ES256"}"#, once.replacen('{', &format!("{{{twice},"), 1));
        let refused = outcome(&tokens, &pair.token_of(header, &claims)).await;
        assert_eq!(refused, Err(Reason::MalformedClaim), "{claims}");
    }
    let good = pair.token_of(r#"{"alg":"ES256"}"#, &once.replacen('{', r#"{"other":1,"#, 1));
    assert_eq!(outcome(&tokens, &good).await, Ok(()));
}

#[test]
fn users_do_not_write_their_own_rights() {
    for bad in ["user_metadata", "/user_metadata/tailwater"] {
        assert!(ClaimName::new(bad).unwrap_err().to_string().contains("user_metadata"));
    }
    assert!(ClaimName::new("").is_err());
}

/// With two back ends, or with none, the first token panics: no build and no check shows it.
#[test]
fn jsonwebtoken_has_one_back_end() {
    let lock = include_str!("../../../../Cargo.lock");
    let packages = lock.split("[[package]]");
    let all: Vec<_> = packages.filter(|one| one.contains("\nname = \"jsonwebtoken\"\n")).collect();
    let [only] = &all[..] else { panic!("{} versions of jsonwebtoken", all.len()) };
    assert!(only.contains("\"aws-lc-rs\""), "{only}");
    for other in ["\"rsa\"", "\"p256\"", "\"ed25519-dalek\""] {
        assert!(!only.contains(other), "{other}: the back end rust_crypto");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,80}", header in ".{0,40}", body in ".{0,40}") {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let tokens = tokens([issuer(SECRET), Issuer { names: Vec::new(), ..issuer(SECRET) }]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let dotted = format!("{}.{}.{}", encode(&header), encode(&body), encode(&text));
        for token in [text, dotted] {
            prop_assert!(runtime.block_on(tokens.verify(&token)).is_err());
            let _hint = tokens.hint(&token);
        }
    }

    #[test]
    fn no_claims_panic(body in ".{0,60}", number in any::<f64>(), whole in any::<i64>()) {
        let tokens = tokens([issuer(SECRET)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let pair = Pair::secret(SECRET);
        for others in [json!({"exp": number}), json!({"exp": whole}), json!({"iat": number}), json!({"tailwater": body}), json!({"aud": body})] {
            let token = pair.token(None, &claims(others));
            let _outcome = runtime.block_on(tokens.verify(&token));
            let _hint = tokens.hint(&token);
        }
    }
}

#[tokio::test]
async fn a_token_of_another_protocol_may_lack_an_end_and_a_subject_and_nothing_else() {
    let pair = Pair::ec();
    let tokens = tokens([issuer(&pair.public)]);
    let verify = async |claims: &Value| {
        let token = pair.token(None, claims);
        tokens.verify_foreign(&token).await
    };
    let bare = claims(json!({"exp": null, "sub": null, "mercure": {"publish": ["*"]}}));
    let read = verify(&bare).await.unwrap();
    assert_eq!((&read.claims, read.kind.as_deref()), (&bare, Some("JWT")));
    assert_eq!(read.grant.principal().deadline(), None);
    assert!(read.grant.allows(Right::Subscribe, "a/1"));
    // Two tokens are two parties, and a party keeps its name.
    let other = verify(&claims(json!({"sub": null, "jti": "2"}))).await.unwrap();
    let party = |foreign: &Foreign| foreign.grant.principal().subject().unwrap().to_owned();
    assert_ne!(party(&read), party(&other));
    assert!(other.grant.principal().deadline().is_some());
    assert_eq!(party(&verify(&claims(json!({}))).await.unwrap()), "ann");
    for (others, reason) in [
        (json!({"exp": now() - 40}), Reason::Expired),
        (json!({"exp": null, "nbf": now() + 40}), Reason::NotYet),
        (json!({"exp": null, "aud": "x"}), Reason::Audience),
        (json!({"exp": null, "iss": "x"}), Reason::Issuer),
        (json!({"sub": 7}), Reason::MalformedClaim),
    ] {
        assert_eq!(verify(&claims(others.clone())).await.err(), Some(reason), "{others}");
    }
    let forged = Pair::ec().token(None, &bare);
    assert_eq!(tokens.verify_foreign(&forged).await.err(), Some(Reason::Signature));
    // An issuer that bounds the life of its tokens demands an end.
    let life = Some(std::time::Duration::from_hours(1));
    let bounded = Tokens::new(
        vec![Issuer { life, ..issuer(&pair.public) }],
        Arc::default(),
        &Registry::new(),
    );
    let refused = bounded.verify_foreign(&pair.token(None, &bare)).await;
    assert_eq!(refused.err(), Some(Reason::MissingClaim));
    // The token grants nothing where an end and a subject are needed.
    assert_eq!(outcome(&tokens, &pair.token(None, &bare)).await, Err(Reason::MissingClaim));
}
