//! Presets: the fields that the tokens of a provider need, as far as a block leaves them out.

use serde::Deserialize;

use crate::config::{IssuerConfig, OneOrMany};

/// A provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Keycloak: the realm's address is the issuer.
    Keycloak,
    /// Auth0: the issuer ends with a slash.
    Auth0,
    /// Amazon Cognito: access tokens, which name their client instead of an audience.
    Cognito,
    /// Firebase: one key set for all projects, so the issuer names the project.
    Firebase,
    /// Microsoft Entra ID: the issuer names the tenant.
    Entra,
    /// Supabase: the issuer ends with `/auth/v1`.
    Supabase,
    /// Clerk: tokens of a minute, which name the page instead of an audience.
    Clerk,
    /// Okta: the issuer is an authorization server.
    Okta,
}

/// The longest life of a token: an API key of ten years is no token of a user.
const LIFE: &str = "31d";
/// The signatures of providers. No provider shares a secret by its key set.
const ASYMMETRIC: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
/// The keys of all projects of Firebase, as a JWK set.
const FIREBASE_KEYS: &str = "https://www.googleapis.com/service_accounts/v1/jwk/\
    securetoken@system.gserviceaccount.com";

impl Preset {
    /// Fills in the fields that a block leaves out.
    ///
    /// # Errors
    /// The block has no issuer from which the fields could be taken.
    pub(crate) fn fill(self, mut block: IssuerConfig) -> Result<IssuerConfig, String> {
        let Some(name) = block.issuer.0.first().cloned() else {
            return Err("a preset needs issuer".to_owned());
        };
        let below = |path: &str| format!("{}/{path}", name.trim_end_matches('/'));
        let last = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
        let keys = match self {
            Self::Keycloak => below("protocol/openid-connect/certs"),
            Self::Auth0 | Self::Cognito | Self::Supabase | Self::Clerk => {
                below(".well-known/jwks.json")
            }
            Self::Firebase => FIREBASE_KEYS.to_owned(),
            Self::Entra => {
                let tenant = name.split('/').nth(3).unwrap_or_default();
                format!("https://login.microsoftonline.com/{tenant}/discovery/v2.0/keys")
            }
            Self::Okta => below("v1/keys"),
        };
        if block.keys.is_empty() || self != Self::Supabase {
            block.jwks.get_or_insert(keys);
        }
        let audience = match self {
            Self::Firebase => Some(last),
            Self::Supabase => Some("authenticated".to_owned()),
            _ => None,
        };
        if let (true, Some(audience)) = (block.audience.0.is_empty(), audience) {
            block.audience = OneOrMany(vec![audience]);
        }
        let (claim, required, grants) = match self {
            Self::Keycloak => (None, Some(("typ", "Bearer")), None),
            Self::Auth0 => (None, None, Some("https://tailwater/grants")),
            Self::Cognito => (Some("client_id"), Some(("token_use", "access")), None),
            Self::Clerk => (Some("azp"), None, None),
            Self::Supabase => (None, None, Some("/app_metadata/tailwater")),
            Self::Firebase | Self::Entra | Self::Okta => (None, None, None),
        };
        if let Some(claim) = claim {
            block.audience_claim.get_or_insert_with(|| claim.to_owned());
        }
        if let Some((name, value)) = required {
            block.require.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
        if let Some(grants) = grants {
            block.grants.get_or_insert_with(|| grants.to_owned());
        }
        if block.algorithms.is_empty() {
            let has_secret = self == Self::Supabase && !block.keys.is_empty();
            let secret = has_secret.then_some("HS256");
            block.algorithms = ASYMMETRIC.into_iter().chain(secret).map(str::to_owned).collect();
        }
        block.max_life.get_or_insert_with(|| LIFE.to_owned());
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use crate::Plan;
    use crate::config::Config;

    fn plan(text: &str) -> Plan {
        let text = format!("[[issuer]]\n{text}");
        Config::parse(&text).unwrap().plans("tailwater").unwrap().remove(0)
    }

    #[test]
    fn a_preset_fills_in_what_a_block_leaves_out() {
        let keycloak = plan(
            "preset = \"keycloak\"\nissuer = \"https://k.example/realms/r\"\naudience = \"events\"",
        );
        let keys = "https://k.example/realms/r/protocol/openid-connect/certs";
        assert_eq!(keycloak.jwks.as_deref(), Some(keys));
        assert_eq!(keycloak.issuer.required[0].0.as_str(), "typ");

        let firebase =
            plan("preset = \"firebase\"\nissuer = \"https://securetoken.google.com/my-project\"");
        assert_eq!(firebase.issuer.audience, ["my-project"]);

        let cognito = plan(
            "preset = \"cognito\"\naudience = \"app-1\"\n\
             issuer = \"https://cognito-idp.eu-west-1.amazonaws.com/pool\"",
        );
        assert_eq!(cognito.issuer.audience_claim.as_str(), "client_id");

        let entra = plan(
            "preset = \"entra\"\naudience = \"app-1\"\n\
             issuer = \"https://login.microsoftonline.com/tenant-1/v2.0\"",
        );
        let keys = "https://login.microsoftonline.com/tenant-1/discovery/v2.0/keys";
        assert_eq!(entra.jwks.as_deref(), Some(keys));

        let own = plan(
            "preset = \"auth0\"\nissuer = \"https://t.auth0.com/\"\naudience = \"events\"\n\
             grants = \"tailwater\"\nmax-life = \"1h\"",
        );
        assert_eq!(own.issuer.grants.as_str(), "tailwater");
        assert_eq!(own.jwks.as_deref(), Some("https://t.auth0.com/.well-known/jwks.json"));
    }

    #[test]
    fn supabase_may_have_its_old_secret_beside_its_keys() {
        let text = "preset = \"supabase\"\nissuer = \"https://ref.supabase.co/auth/v1\"\n";
        let new = plan(text);
        assert!(new.jwks.is_some() && !format!("{:?}", new.issuer.algorithms).contains("HS"));
        let old = plan(&format!("{text}keys = [\"secret\"]\n"));
        assert!(old.jwks.is_none() && format!("{:?}", old.issuer.algorithms).contains("HS256"));
    }
}
