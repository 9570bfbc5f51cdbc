use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::*;

fn plans(text: &str) -> Result<Vec<Plan>, BadConfig> {
    Config::parse(text)?.plans("tailwater")
}

#[test]
fn a_block_describes_an_issuer() {
    let text = r#"
        [[issuer]]
        issuer = ["https://a.example/", "https://b.example/"]
        jwks = "https://a.example/keys"
        keys = ["old.pem"]
        audience = "events"
        audience-claim = "client_id"
        algorithms = ["RS256"]
        require = { token_use = "access" }
        header-typ = "at+jwt"
        max-life = "31d"
        [issuer.map.scope]
        "events:read" = { subscribe = ["**"] }
    "#;
    let plan = plans(text).unwrap().remove(0);
    assert_eq!(plan.issuer.names.len(), 2);
    assert_eq!(plan.issuer.audience_claim.as_str(), "client_id");
    assert_eq!(plan.issuer.algorithms, [Algorithm::RS256]);
    assert_eq!(plan.issuer.mapped[0].value, "events:read");
    assert_eq!(plan.issuer.life, Some(Duration::from_hours(31 * 24)));
    assert_eq!(plan.files, [PathBuf::from("old.pem")]);
}

#[test]
fn a_fault_names_the_issuer_and_the_field() {
    let jwks = "[[issuer]]\nissuer = \"https://a.example\"\njwks = \"https://a.example/k\"\n";
    let audience = format!("{jwks}audience = \"x\"\n");
    for (text, part) in [
        ("", "no [[issuer]]"),
        (jwks, "jwks needs audience"),
        ("[[issuer]]\naudience = \"x\"\njwks = \"https://a\"\n", "jwks needs issuer"),
        ("[[issuer]]\nissuer = \"https://a\"\n", "neither jwks nor keys"),
        ("[[issuer]]\nkays = []\n", "kays"),
        (&format!("{audience}algorithms = [\"ES512\"]\n"), "ES512"),
        (&format!("{audience}max-life = \"31\"\n"), "max-life"),
        (&format!("{audience}grants = \"/user_metadata/x\"\n"), "user_metadata"),
        (
            &format!("{audience}[issuer.map.scope]\nr = {{ subscribe = [\"a b\"] }}\n"),
            "map.scope.r",
        ),
        (&format!("{audience}{audience}"), "two blocks"),
        ("[[issuer]]\nkeys = [\"a\"]\n[[issuer]]\nkeys = [\"b\"]\n", "two blocks without issuer"),
        (&format!("{audience}{jwks}"), "[[issuer]] 2 (https://a.example): jwks needs audience"),
        (&format!("{jwks}audience = [\"any\", \"x\"]\n"), "beside others"),
        (&format!("{jwks}audience = \"\"\n"), "audience has an empty text"),
        ("[[issuer]]\nissuer = \"\"\nkeys = [\"k\"]\n", "issuer has an empty text"),
        ("[[issuer]]\nissuer = 7\n", "line 2: it must be a text or a list of texts"),
        (&format!("{audience}max-life = \"0s\"\n"), "max-life"),
        (&format!("{audience}require = {{ tid = [] }}\n"), "require.tid"),
        (&format!("{audience}require = {{ tid = {{}} }}\n"), "a text, a number, true, false"),
        (&format!("{audience}preset = \"github\"\n"), "keycloak"),
        (&format!("{audience}[issuer.map.scope]\nr = {{ admin = true }}\n"), "admin"),
        (&format!("{audience}[issuer.map.scope]\nr = {{ history = \"none\" }}\n"), "history"),
        ("[[issuer]]\npreset = \"okta\"\n", "preset needs issuer"),
    ] {
        let error = plans(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn no_fault_quotes_a_value_that_may_be_a_secret() {
    let secret = "hunter2-hunter2-hunter2-hunter2";
    for text in [
        format!("[[issuer]]\nkeys = \"{secret}\"\n"),
        format!("[[issuer]]\nsecret = \"{secret}\"\n"),
        format!("[[issuer]]\nsecret = \"{secret}\n"),
        format!("[[issuer]]\nsecret = {secret}\n"),
        format!("[[issuer]]\nmap = \"{secret}\"\n"),
        format!("issuer = \"{secret}\"\n"),
        secret.to_owned(),
    ] {
        let error = plans(&text).unwrap_err().to_string();
        assert!(error.contains("line ") && !error.contains("hunter2"), "{error}");
    }
}

fn preset_plan(text: &str) -> Plan {
    let text = format!("[[issuer]]\n{text}");
    Config::parse(&text).unwrap().plans("tailwater").unwrap().remove(0)
}

#[test]
fn a_preset_fills_in_what_a_block_leaves_out() {
    let keycloak = preset_plan(
        "preset = \"keycloak\"\nissuer = \"https://k.example/realms/r\"\naudience = \"events\"",
    );
    let keys = "https://k.example/realms/r/protocol/openid-connect/certs";
    assert_eq!(keycloak.jwks.as_deref(), Some(keys));
    assert_eq!(keycloak.issuer.required[0].0.as_str(), "typ");

    let firebase = preset_plan(
        "preset = \"firebase\"\nissuer = \"https://securetoken.google.com/my-project\"",
    );
    assert_eq!(firebase.issuer.audience, ["my-project"]);

    let cognito = preset_plan(
        "preset = \"cognito\"\naudience = \"app-1\"\n\
         issuer = \"https://cognito-idp.eu-west-1.amazonaws.com/pool\"",
    );
    assert_eq!(cognito.issuer.audience_claim.as_str(), "client_id");

    let entra = preset_plan(
        "preset = \"entra\"\naudience = \"app-1\"\n\
         issuer = \"https://login.microsoftonline.com/tenant-1/v2.0\"",
    );
    let keys = "https://login.microsoftonline.com/tenant-1/discovery/v2.0/keys";
    assert_eq!(entra.jwks.as_deref(), Some(keys));

    let own = preset_plan(
        "preset = \"auth0\"\nissuer = \"https://t.auth0.com/\"\naudience = \"events\"\n\
         grants = \"tailwater\"\nmax-life = \"1h\"",
    );
    assert_eq!(own.issuer.grants.as_str(), "tailwater");
    assert_eq!(own.jwks.as_deref(), Some("https://t.auth0.com/.well-known/jwks.json"));
}

#[test]
fn supabase_may_have_its_old_secret_beside_its_keys() {
    let text = "preset = \"supabase\"\nissuer = \"https://ref.supabase.co/auth/v1\"\n";
    let new = preset_plan(text);
    assert!(new.jwks.is_some() && !format!("{:?}", new.issuer.algorithms).contains("HS"));
    let old = preset_plan(&format!("{text}keys = [\"secret\"]\n"));
    assert!(old.jwks.is_some() && format!("{:?}", old.issuer.algorithms).contains("HS256"));
}

#[test]
fn a_preset_needs_the_issuer_of_its_provider() {
    for (preset, bad) in [
        ("keycloak", "https://k.example"),
        ("auth0", "https://t.auth0.com"),
        ("cognito", "https://cognito-idp.eu-west-1.amazonaws.com"),
        ("firebase", "https://securetoken.google.com/"),
        ("firebase", "my-project"),
        ("entra", "https://login.microsoftonline.com/common/v2.0"),
        ("entra", "https://login.microsoftonline.com/{tenantid}/v2.0"),
        ("supabase", "https://ref.supabase.co"),
        ("clerk", "https://clerk.example/path"),
        ("okta", "https://dev.okta.com"),
    ] {
        let text = format!(
            "[[issuer]]\npreset = \"{preset}\"\nissuer = \"{bad}\"\naudience = \"events\"\n"
        );
        let error = plans(&text).unwrap_err().to_string();
        assert!(error.contains(bad) && error.contains("must be as https://"), "{error}");
    }
}

#[test]
fn a_preset_without_a_key_set_verifies_with_files_alone() {
    let text = "preset = \"supabase\"\nissuer = \"https://ref.supabase.co/auth/v1\"\n\
                jwks = \"none\"\nkeys = [\"secret\"]\n";
    assert_eq!(preset_plan(text).jwks, None);
}

#[test]
fn the_configurations_of_the_documentation_are_good() {
    let text = include_str!("../../../../docs/security.md");
    let blocks: Vec<_> = text.split("```toml\n").skip(1).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let toml = block.split("```").next().unwrap();
        plans(toml).unwrap_or_else(|error| panic!("{toml}: {error}"));
    }
}
