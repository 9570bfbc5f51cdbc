use access::{Access, Page, Rights, Settings, Tokens};
use metrics::Registry;
use std::sync::Arc;
use std::time::Duration;

use super::*;

fn mint_args(key: PathBuf) -> MintArgs {
    MintArgs {
        key,
        sub: "ann".to_owned(),
        subscribe: vec!["user/{sub}".to_owned()],
        publish: Vec::new(),
        presence: Vec::new(),
        end: Vec::new(),
        history: Some("30m".to_owned()),
        admin: false,
        expires: Duration::from_mins(5),
        issuer: None,
        audience: None,
        jti: None,
        algorithm: None,
        kid: None,
        claim: "tailwater".to_owned(),
    }
}

#[tokio::test]
async fn a_token_that_is_made_here_is_accepted_by_a_node_with_the_key_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    for (number, algorithm) in [KeyKind::Es256, KeyKind::Eddsa, KeyKind::Hs256].iter().enumerate() {
        let out = directory.path().join(format!("key-{number}"));
        make(&KeyArgs { algorithm: *algorithm, out: out.clone() }).unwrap();
        let public = match algorithm {
            KeyKind::Hs256 => out.clone(),
            _ => PathBuf::from(format!("{}.pub", out.display())),
        };
        let keys = crate::access_sources::read_keys(&[public]).unwrap();
        let issuer =
            access::Issuer { files: Arc::new(access::KeyRing::new(keys)), ..Default::default() };
        let everybody = Arc::new(Rights::default());
        let tokens = Tokens::new(vec![issuer], everybody.clone(), &Registry::new());
        let settings = Settings { tokens, everybody, ..Settings::default() };
        let node = Access::closed(settings, &Registry::new());
        let token = format!("Bearer {}", mint(&mint_args(out)).unwrap());
        let credentials = node.credentials(Some(token.as_bytes()), &[], None, Page::Allowed);
        let grant = node.admit(&credentials).await.unwrap();
        assert_eq!(grant.principal().subject(), Some("ann"));
        assert!(grant.allows(access::Right::Subscribe, "user/ann"), "{algorithm:?}");
        assert!(!grant.allows(access::Right::Subscribe, "user/bob"));
    }
}

#[test]
fn a_key_is_not_written_over_and_bad_input_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("key");
    let args = KeyArgs { algorithm: KeyKind::Hs256, out: out.clone() };
    make(&args).unwrap();
    assert!(format!("{:#}", make(&args).unwrap_err()).contains("exists"));
    let bad = MintArgs { subscribe: vec!["a b".to_owned()], ..mint_args(out.clone()) };
    assert!(format!("{:#}", mint(&bad).unwrap_err()).contains("--subscribe"));
    std::fs::write(&out, "short").unwrap();
    let error = format!("{:#}", mint(&mint_args(out)).unwrap_err());
    assert!(error.contains("5 bytes") && !error.contains("short"), "{error}");
}

#[test]
fn a_key_signs_with_what_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    for (name, words) in [
        ("rsa", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("p384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
        ("ed", "genpkey -algorithm ED25519"),
    ] {
        let mut openssl = std::process::Command::new("openssl");
        let made = openssl.args(words.split(' ')).arg("-out").arg(file(name)).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    std::fs::write(file("secret"), "s".repeat(32)).unwrap();
    for (name, wanted, signs) in [
        ("rsa", None, Some(Algorithm::RS256)),
        ("rsa", Some(Algorithm::PS512), Some(Algorithm::PS512)),
        ("rsa", Some(Algorithm::HS256), None),
        ("p384", None, Some(Algorithm::ES384)),
        ("p384", Some(Algorithm::ES256), None),
        ("ed", None, Some(Algorithm::EdDSA)),
        ("secret", None, Some(Algorithm::HS256)),
        ("secret", Some(Algorithm::HS384), Some(Algorithm::HS384)),
        ("secret", Some(Algorithm::RS256), None),
    ] {
        let kid = Some("one".to_owned());
        let minted = mint(&MintArgs { algorithm: wanted, kid, ..mint_args(file(name)) });
        let header = minted.as_ref().ok().map(|token| jsonwebtoken::decode_header(token).unwrap());
        assert_eq!(header.as_ref().map(|header| header.alg), signs, "{name} {wanted:?}");
        assert!(header.is_none_or(|header| header.kid.as_deref() == Some("one")));
        let error = minted.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(signs.is_some() || error.contains(&format!("{:?}", wanted.unwrap())), "{error}");
    }
}
