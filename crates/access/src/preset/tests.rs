//! Tokens as the providers send them, against blocks as an operator writes them.

use std::sync::Arc;

use metrics::Registry;
use serde_json::{Value, json};

use crate::denied::Reason;
use crate::sample::{Pair, SECRET, set};
use crate::{Config, Grant, Issuer, Key, KeyRing, Right, Timestamp, Tokens};

/// The issuers of a configuration, whose keys are all in one file.
fn tokens(block: &str, keys: &str) -> Tokens {
    let ring = Arc::new(KeyRing::new(Key::read_file(keys).unwrap().0));
    let plans = Config::parse(&format!("[[issuer]]\n{block}")).unwrap().plans("tailwater").unwrap();
    let issuer = |plan: crate::Plan| Issuer { files: Arc::clone(&ring), ..plan.issuer };
    let issuers = plans.into_iter().map(issuer).collect();
    Tokens::new(issuers, Arc::default(), &Registry::new())
}

/// Claims with others in their place. A null takes a claim away.
fn with(claims: &Value, others: &Value) -> Value {
    let mut all = claims.clone();
    for (name, value) in others.as_object().unwrap() {
        all[name] = value.clone();
    }
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    all
}

fn in_seconds(seconds: u64) -> u64 {
    Timestamp::now().as_seconds() + seconds
}

/// A row: the block, the claims of a good token, and changes that make it a bad one.
struct Row {
    block: &'static str,
    claims: Value,
    bad: Vec<(Value, Reason)>,
}

fn rows() -> Vec<Row> {
    let own = json!({"subscribe": ["orders/*"]});
    let hour = in_seconds(3600);
    vec![
        Row {
            block: r#"
                preset = "keycloak"
                issuer = ["https://k.example/realms/shop", "http://keycloak:8080/realms/shop"]
                audience = "events"
                [issuer.map."/realm_access/roles"]
                "orders reader" = { subscribe = ["orders/*"] }"#,
            claims: json!({
                "iss": "http://keycloak:8080/realms/shop", "aud": ["events", "account"], "sub": "ann",
                "exp": in_seconds(300), "iat": in_seconds(0), "jti": "j", "typ": "Bearer", "azp": "web",
                "sid": "s", "scope": "openid email", "realm_access": {"roles": ["x", "orders reader"]},
                "resource_access": {"account": {"roles": ["view-profile"]}},
            }),
            bad: vec![
                (json!({"typ": "ID"}), Reason::RequiredValue),
                (json!({"typ": null}), Reason::MissingClaim),
                (json!({"aud": "account"}), Reason::Audience),
                (json!({"aud": null}), Reason::MissingClaim),
                (json!({"iss": "https://k.example/realms/shop/"}), Reason::Issuer),
            ],
        },
        Row {
            block: r#"
                preset = "keycloak"
                issuer = "https://k.example/realms/shop"
                audience = ["web", "app"]
                audience-claim = "azp"
                [issuer.map."/resource_access/web/roles"]
                reader = { subscribe = ["orders/*"] }"#,
            claims: json!({
                "iss": "https://k.example/realms/shop", "sub": "ann", "exp": in_seconds(300),
                "typ": "Bearer", "azp": "web", "resource_access": {"web": {"roles": ["reader"]}},
            }),
            bad: vec![
                (json!({"azp": "another"}), Reason::Audience),
                (json!({"azp": null, "aud": "web"}), Reason::MissingClaim),
            ],
        },
        Row {
            block: r#"
                preset = "auth0"
                issuer = "https://shop.eu.auth0.com/"
                audience = "https://events.example"
                header-typ = ["at+jwt", "JWT"]
                grants = "https://events.example/tailwater""#,
            claims: json!({
                "iss": "https://shop.eu.auth0.com/", "sub": "ann", "exp": in_seconds(86400),
                "aud": ["https://events.example", "https://shop.eu.auth0.com/userinfo"], "azp": "spa",
                "scope": "openid", "permissions": ["x"], "https://events.example/tailwater": own,
            }),
            bad: vec![
                (json!({"iss": "https://shop.eu.auth0.com"}), Reason::Issuer),
                (json!({"aud": "https://shop.eu.auth0.com/userinfo"}), Reason::Audience),
                (json!({"exp": in_seconds(32 * 86400)}), Reason::MalformedClaim),
            ],
        },
        Row {
            block: r#"
                preset = "cognito"
                issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"
                audience = "app-1"
                [issuer.map."cognito:groups"]
                staff = { subscribe = ["orders/*"] }"#,
            claims: json!({
                "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC", "sub": "ann",
                "exp": hour, "client_id": "app-1", "token_use": "access", "username": "ann",
                "scope": "aws.cognito.signin.user.admin", "cognito:groups": ["staff"],
            }),
            bad: vec![
                (json!({"token_use": "id", "aud": "app-1"}), Reason::RequiredValue),
                (json!({"client_id": "app-2"}), Reason::Audience),
                (json!({"client_id": null, "aud": "app-1"}), Reason::MissingClaim),
            ],
        },
        Row {
            block: r#"
                preset = "cognito"
                issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC"
                audience = "app-1"
                audience-claim = "aud"
                require = { token_use = "id" }
                grants = "custom:tailwater""#,
            claims: json!({
                "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC", "sub": "ann",
                "exp": hour, "aud": "app-1", "token_use": "id", "custom:tailwater": own.to_string(),
            }),
            bad: vec![
                (json!({"token_use": "access"}), Reason::RequiredValue),
                (json!({"aud": "app-2"}), Reason::Audience),
                (json!({"custom:tailwater": "staff"}), Reason::MalformedClaim),
            ],
        },
        Row {
            block: r#"
                preset = "firebase"
                issuer = "https://securetoken.google.com/shop"
                require = { email_verified = true }"#,
            claims: json!({
                "iss": "https://securetoken.google.com/shop", "aud": "shop", "sub": "ann",
                "user_id": "ann", "exp": hour, "auth_time": 1, "email_verified": true, "tailwater": own,
                "firebase": {"sign_in_provider": "password"},
            }),
            bad: vec![
                (json!({"aud": "another"}), Reason::Audience),
                (json!({"iss": "https://securetoken.google.com/another"}), Reason::Issuer),
                (json!({"aud": null}), Reason::MissingClaim),
                (json!({"email_verified": false}), Reason::RequiredValue),
            ],
        },
        Row {
            block: r#"
                preset = "entra"
                issuer = ["https://login.microsoftonline.com/t-1/v2.0", "https://sts.windows.net/t-1/"]
                audience = ["c-1", "api://c-1"]
                subject = "oid"
                require = { tid = ["t-1", "t-2"] }
                [issuer.map.scp]
                "Events.Read" = { subscribe = ["orders/*"] }"#,
            claims: json!({
                "iss": "https://sts.windows.net/t-1/", "aud": "api://c-1", "sub": "pairwise",
                "oid": "ann", "tid": "t-1", "appid": "app", "exp": hour, "ver": "1.0",
                "scp": "User.Read Events.Read",
            }),
            bad: vec![
                (json!({"tid": "t-3"}), Reason::RequiredValue),
                (json!({"aud": "00000003-0000-0000-c000-000000000000"}), Reason::Audience),
                (json!({"oid": null}), Reason::MissingClaim),
            ],
        },
        Row {
            block: r#"
                preset = "supabase"
                issuer = "https://ref.supabase.co/auth/v1""#,
            claims: json!({
                "iss": "https://ref.supabase.co/auth/v1", "aud": "authenticated", "sub": "ann",
                "exp": hour, "role": "authenticated", "session_id": "s", "aal": "aal1",
                "app_metadata": {"provider": "email", "tailwater": own}, "user_metadata": {},
            }),
            bad: vec![
                (json!({"aud": "anon"}), Reason::Audience),
                (json!({"exp": in_seconds(10 * 365 * 86400)}), Reason::MalformedClaim),
            ],
        },
        Row {
            block: r#"
                preset = "clerk"
                issuer = "https://clerk.example.com"
                audience = ["https://app.example.com", "https://www.example.com"]"#,
            claims: json!({
                "iss": "https://clerk.example.com", "sub": "ann", "azp": "https://app.example.com",
                "exp": in_seconds(60), "nbf": in_seconds(0) - 10, "sid": "s", "v": 2,
                "o": {"id": "org"}, "tailwater": own,
            }),
            bad: vec![
                (json!({"azp": "https://evil.example"}), Reason::Audience),
                (json!({"azp": null}), Reason::MissingClaim),
                (json!({"iss": "https://clerk.example.com/"}), Reason::Issuer),
            ],
        },
        Row {
            block: r#"
                preset = "okta"
                issuer = "https://dev.okta.com/oauth2/default"
                audience = "api://default"
                [issuer.map.scp]
                "orders:read" = { subscribe = ["orders/*"] }"#,
            claims: json!({
                "iss": "https://dev.okta.com/oauth2/default", "aud": "api://default", "sub": "ann",
                "cid": "app", "uid": "u", "exp": hour, "scp": ["openid", "orders:read"],
            }),
            bad: vec![
                (json!({"aud": "api://another"}), Reason::Audience),
                (json!({"scp": 1}), Reason::MalformedClaim),
            ],
        },
    ]
}

async fn verify(tokens: &Tokens, pair: &Pair, claims: &Value) -> Result<Arc<Grant>, Reason> {
    tokens.verify(&pair.token(Some("theirs"), claims)).await
}

#[tokio::test]
async fn a_preset_accepts_its_providers_tokens_and_no_others() {
    let pair = Pair::rsa();
    // The key of the provider beside one that only encrypts, as Keycloak has it.
    let mut encrypts = pair.jwk("enc");
    encrypts["use"] = json!("enc");
    let keys = set(&[encrypts, pair.jwk("theirs")]);
    for Row { block, claims, bad } in rows() {
        let tokens = tokens(block, &keys);
        let grant = verify(&tokens, pair, &claims).await;
        let grant = grant.unwrap_or_else(|reason| panic!("{block}: {reason:?}"));
        assert_eq!(grant.principal().subject(), Some("ann"), "{block}");
        assert!(grant.allows(Right::Subscribe, "orders/1"), "{block}");
        assert!(!grant.allows(Right::Subscribe, "other"), "{block}");
        assert!(!grant.allows(Right::Publish, "orders/1"), "{block}");
        let common = [
            (json!({"exp": null}), Reason::MissingClaim),
            (json!({"exp": in_seconds(0) - 60}), Reason::Expired),
            (json!({"iss": null}), Reason::MissingClaim),
            (json!({"iss": "https://evil.example/"}), Reason::Issuer),
        ];
        for (change, wanted) in bad.into_iter().chain(common) {
            let outcome = verify(&tokens, pair, &with(&claims, &change)).await;
            assert_eq!(outcome.unwrap_err(), wanted, "{change} in {block}");
        }
        let forged = verify(&tokens, &Pair::secret(&pair.public), &claims).await;
        assert_eq!(forged.unwrap_err(), Reason::Algorithm, "{block}");
    }
}

#[tokio::test]
async fn a_list_of_names_is_not_cut_at_spaces_and_a_text_is() {
    let pair = Pair::rsa();
    let block = r#"
        keys = ["k"]
        [issuer.map.roles]
        reader = { subscribe = ["orders/*"] }
        "chief reader" = { publish = ["orders/*"] }"#;
    let tokens = tokens(block, &pair.public);
    for (roles, subscribes, publishes) in [
        (json!("x reader"), true, false),
        (json!("chief reader"), true, true),
        (json!(["reader"]), true, false),
        (json!(["chief reader"]), false, true),
        (json!(["no reader"]), false, false),
        (json!("readers"), false, false),
        (json!(null), false, false),
    ] {
        let claims = json!({"sub": "ann", "exp": in_seconds(60), "roles": roles});
        let grant = verify(&tokens, pair, &claims).await.unwrap();
        assert_eq!(grant.allows(Right::Subscribe, "orders/1"), subscribes, "{roles}");
        assert_eq!(grant.allows(Right::Publish, "orders/1"), publishes, "{roles}");
    }
}

#[tokio::test]
async fn supabase_accepts_its_old_secret_beside_its_new_keys_where_the_file_has_it() {
    let block = "preset = \"supabase\"\nissuer = \"https://ref.supabase.co/auth/v1\"\n";
    let claims = json!({
        "iss": "https://ref.supabase.co/auth/v1", "aud": "authenticated", "sub": "ann",
        "exp": in_seconds(3600),
    });
    let (old, new) = (Pair::secret(SECRET), Pair::ec());
    let with_file = tokens(&format!("{block}keys = [\"secret\"]"), SECRET);
    verify(&with_file, &old, &claims).await.unwrap();
    let without = tokens(block, &set(&[new.jwk("theirs")]));
    verify(&without, &new, &claims).await.unwrap();
    assert_eq!(verify(&without, &old, &claims).await.unwrap_err(), Reason::Algorithm);
}
