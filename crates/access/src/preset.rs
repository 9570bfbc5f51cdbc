//! Presets: the fields that the tokens of a provider need, as far as a block leaves them out.

use serde::Deserialize;

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

/// The fields that a provider needs.
#[derive(Debug)]
pub(crate) struct Filling {
    /// The address of the key set.
    pub(crate) jwks: String,
    pub(crate) audience: Option<String>,
    pub(crate) audience_claim: Option<&'static str>,
    /// A claim and its value.
    pub(crate) required: Option<(&'static str, &'static str)>,
    pub(crate) grants: Option<&'static str>,
    pub(crate) algorithms: Vec<&'static str>,
    pub(crate) life: &'static str,
}

impl Preset {
    /// The fields for an issuer of this name, whose block may have files of keys.
    ///
    /// # Errors
    /// The name is none that the provider gives.
    pub(crate) fn filling(self, name: &str, has_files: bool) -> Result<Filling, String> {
        self.check(name)?;
        let below = |path: &str| format!("{}/{path}", name.trim_end_matches('/'));
        let last = || name.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
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
        // A project that still signs with its old secret has the secret in a file.
        let has_secret = self == Self::Supabase && has_files;
        let (audience_claim, required, grants) = match self {
            Self::Keycloak => (None, Some(("typ", "Bearer")), None),
            Self::Auth0 => (None, None, Some("https://tailwater/grants")),
            Self::Cognito => (Some("client_id"), Some(("token_use", "access")), None),
            Self::Clerk => (Some("azp"), None, None),
            Self::Supabase => (None, None, Some("/app_metadata/tailwater")),
            Self::Firebase | Self::Entra | Self::Okta => (None, None, None),
        };
        Ok(Filling {
            jwks: keys,
            audience: match self {
                Self::Firebase => Some(last()),
                Self::Supabase => Some("authenticated".to_owned()),
                _ => None,
            },
            audience_claim,
            required,
            grants,
            algorithms: ASYMMETRIC.into_iter().chain(has_secret.then_some("HS256")).collect(),
            life: LIFE,
        })
    }

    /// Refuses a name without the part that the other fields are made from.
    fn check(self, name: &str) -> Result<(), String> {
        let host = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
        let path = host.unwrap_or_default().trim_end_matches('/').split('/').skip(1);
        let path: Vec<_> = path.collect();
        let is_shared = |tenant: &str| ["common", "organizations", "consumers"].contains(&tenant);
        let (is_good, form) = match self {
            Self::Keycloak => (path.contains(&"realms"), "https://HOST/realms/REALM"),
            Self::Auth0 => (name.ends_with('/'), "https://TENANT.auth0.com/ with the slash"),
            Self::Cognito => (path.len() == 1, "https://cognito-idp.REGION.amazonaws.com/POOL"),
            Self::Firebase => (path.len() == 1, "https://securetoken.google.com/PROJECT"),
            Self::Entra => (
                path.first().is_some_and(|tenant| !is_shared(tenant) && !tenant.contains('{')),
                "https://login.microsoftonline.com/TENANT-ID/v2.0",
            ),
            Self::Supabase => (path == ["auth", "v1"], "https://REF.supabase.co/auth/v1"),
            Self::Clerk => (path.is_empty(), "https://clerk.DOMAIN"),
            Self::Okta => (path.first() == Some(&"oauth2"), "https://HOST/oauth2/SERVER"),
        };
        match host.is_some_and(|host| !host.is_empty()) && is_good {
            true => Ok(()),
            false => Err(format!("issuer {name:?} is none of its preset; it must be as {form}")),
        }
    }
}

#[cfg(test)]
mod tests;
