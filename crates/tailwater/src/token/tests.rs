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
        end: Vec::new(),
        history: Some("30m".to_owned()),
        admin: false,
        expires: Duration::from_mins(5),
        issuer: None,
        audience: None,
        jti: None,
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
