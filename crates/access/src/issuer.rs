//! One issuer of tokens, as an operator describes it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use crate::denied::Reason;
use crate::key::KeyRing;
use crate::{BadPattern, Rights};

/// An issuer: the names by which it signs, the keys that verify its tokens, and the meaning of its claims.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// The accepted values of `iss`, byte for byte. If there is none, `iss` is not looked at.
    pub names: Vec<String>,
    /// The parties that tokens must be for. If there is none, the audience is not looked at.
    pub audience: Vec<String>,
    /// The claim that names the audience: a text or a list of texts.
    pub audience_claim: ClaimName,
    /// The algorithms that the operator allows; each key cuts them down to its own.
    pub algorithms: Vec<Algorithm>,
    /// Claims that must have one of these values.
    pub required: Vec<(ClaimName, Vec<String>)>,
    /// The accepted values of the header's `typ`, in any case; any if there is none.
    pub types: Vec<String>,
    /// The claim that names the subject.
    pub subject: ClaimName,
    /// The claim that holds the rights.
    pub grants: ClaimName,
    /// The rights that values of claims bring: scopes, roles, groups.
    pub mapped: Vec<MappedClaim>,
    /// The longest time from now to the end of a token.
    pub life: Option<Duration>,
    /// The keys of files.
    pub files: Arc<KeyRing>,
    /// The keys of a server.
    pub server: Option<Arc<dyn KeySource>>,
}

/// The name of a claim: found by exactly this name first, and else as a JSON pointer if it begins with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimName(Box<str>);

/// Rights that a claim brings if one of its values is this one.
#[derive(Debug, Clone)]
pub struct MappedClaim {
    /// The claim: a text whose words are separated by spaces, or a list of texts.
    pub claim: ClaimName,
    /// The value.
    pub value: String,
    /// The rights.
    pub rights: Rights,
}

/// Keys that come from elsewhere and change.
#[async_trait]
pub trait KeySource: fmt::Debug + Send + Sync {
    /// The keys at present; `None` if they have never been loaded.
    fn keys(&self) -> Option<Arc<KeyRing>>;

    /// Loads the keys once more, because a token names an id that none of them has, or none has been loaded.
    /// The source bounds how often it asks.
    async fn refresh(self: Arc<Self>, id: Option<&str>) -> Refreshed;
}

/// The answer of a source that was asked for a key once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// The keys were loaded now: look again.
    Loaded,
    /// There is no such key: the source has been asked for it a moment ago.
    Known,
    /// Nobody can tell now: the source is away, or may not be asked again so soon.
    Unavailable,
}

/// A name of a claim that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadClaimName {
    /// The name is empty.
    #[error("the name of a claim is empty")]
    Empty,
    /// Users write this claim themselves.
    #[error("claim {0:?} cannot be a source of rights: users write user_metadata themselves")]
    OfUser(String),
}

impl ClaimName {
    /// Checks and returns a name.
    ///
    /// # Errors
    /// The name is empty, or leads to a claim that users write.
    pub fn new(name: &str) -> Result<Self, BadClaimName> {
        let first = name.trim_start_matches('/').split('/').next().unwrap_or_default();
        match first {
            "" => Err(BadClaimName::Empty),
            "user_metadata" => Err(BadClaimName::OfUser(name.to_owned())),
            _ => Ok(Self(name.into())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Issuer {
    /// The longest life of a token, as text; `none` if there is none.
    #[must_use]
    pub fn life_text(&self) -> String {
        const DAY: u64 = 24 * 3600;
        match self.life {
            None => "none".to_owned(),
            // Not in months, which have no days of their own.
            Some(life) if life.as_secs() >= DAY && life.as_secs().is_multiple_of(DAY) => {
                format!("{}d", life.as_secs() / DAY)
            }
            Some(life) => humantime::format_duration(life).to_string(),
        }
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Issuer {
    /// An issuer without a name, an audience or a key.
    fn default() -> Self {
        let name = |text: &str| ClaimName(text.into());
        Self {
            names: Vec::new(),
            audience: Vec::new(),
            audience_claim: name("aud"),
            algorithms: ALGORITHMS.to_vec(),
            required: Vec::new(),
            types: Vec::new(),
            subject: name("sub"),
            grants: name("tailwater"),
            mapped: Vec::new(),
            life: None,
            files: Arc::default(),
            server: None,
        }
    }
}

/// The algorithms that can be verified.
pub const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
];

/// The rights of a claim or of a line of a file.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenRights {
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    end: Vec<String>,
    #[serde(default)]
    presence: Vec<String>,
    pub(crate) member: Option<Map<String, Value>>,
    pub(crate) history: Option<String>,
    #[serde(default)]
    pub(crate) quotas: crate::Quotas,
    #[serde(default)]
    pub(crate) admin: bool,
}

/// The largest description of a party for other members of a topic, in bytes of JSON.
pub(crate) const MEMBER_BYTES_MAX: usize = 512;

impl WrittenRights {
    /// The description of the party as JSON in one line.
    ///
    /// # Errors
    /// It is longer than [`MEMBER_BYTES_MAX`].
    pub(crate) fn member(&self) -> Result<Option<Arc<str>>, Reason> {
        let Some(member) = &self.member else { return Ok(None) };
        let text = serde_json::to_string(member).map_err(|_| Reason::MalformedClaim)?;
        match text.len() {
            0..=MEMBER_BYTES_MAX => Ok(Some(text.into())),
            _ => Err(Reason::MalformedClaim),
        }
    }

    /// # Errors
    /// A text is no pattern, or a list is too long.
    pub(crate) fn rights(&self) -> Result<Rights, BadPattern> {
        let list = |texts: &[String]| crate::Patterns::new(texts.iter().map(String::as_str));
        Ok(Rights {
            subscribe: list(&self.subscribe)?,
            publish: list(&self.publish)?,
            end: list(&self.end)?,
            presence: list(&self.presence)?,
        })
    }
}
