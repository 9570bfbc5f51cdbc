//! One block of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::Plan;
use crate::issuer::{ALGORITHMS, BadClaimName, ClaimName, Issuer, MappedClaim};
use crate::preset::Preset;
use crate::{BadPattern, Patterns, Rights};

/// One issuer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct IssuerConfig {
    /// The accepted values of `iss`.
    pub issuer: OneOrMany,
    /// Fills in the fields that are left out, as a provider needs them.
    pub preset: Option<Preset>,
    /// The address of the JWK set; `none` if there is none although the preset has one.
    pub jwks: Option<String>,
    /// Files with keys.
    pub keys: Vec<PathBuf>,
    /// The accepted audiences, or `any` alone.
    pub audience: OneOrMany,
    /// The claim that names the audience.
    pub audience_claim: Option<String>,
    /// The accepted algorithms.
    pub algorithms: Vec<String>,
    /// Claims that must have a value, or one of several.
    pub require: BTreeMap<String, Accepted>,
    /// The accepted types in the header.
    pub header_typ: OneOrMany,
    /// The claim that names the subject.
    pub subject: Option<String>,
    /// The claim that holds the rights.
    pub grants: Option<String>,
    /// Claims, their values, and the rights that each brings.
    map: BTreeMap<String, BTreeMap<String, MappedRights>>,
    /// The longest time from now to the end of a token.
    pub max_life: Option<String>,
}

/// A text or a list of texts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Written")]
pub struct OneOrMany(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "it must be a text or a list of texts")]
enum Written {
    One(String),
    Many(Vec<String>),
}

impl From<Written> for OneOrMany {
    fn from(written: Written) -> Self {
        match written {
            Written::One(one) => Self(vec![one]),
            Written::Many(many) => Self(many),
        }
    }
}

/// The values of a claim that are accepted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "WrittenValues")]
pub struct Accepted(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "it must be a text, a number, true, false, or a list of these")]
enum WrittenValues {
    One(WrittenValue),
    Many(Vec<WrittenValue>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenValue {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl From<WrittenValues> for Accepted {
    fn from(written: WrittenValues) -> Self {
        let all = match written {
            WrittenValues::One(one) => vec![one],
            WrittenValues::Many(many) => many,
        };
        let text = |value| match value {
            WrittenValue::Text(text) => text,
            WrittenValue::Number(number) => number.to_string(),
            WrittenValue::Flag(flag) => flag.to_string(),
        };
        Self(all.into_iter().map(text).collect())
    }
}

/// The rights that the value of a claim brings. How much history a subscriber reads, and who may revoke, is told
/// by the claim of rights alone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MappedRights {
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
    #[serde(default)]
    end: Vec<String>,
    #[serde(default)]
    presence: Vec<String>,
}

impl MappedRights {
    fn rights(&self) -> Result<Rights, BadPattern> {
        let list = |texts: &[String]| Patterns::new(texts.iter().map(String::as_str));
        Ok(Rights {
            subscribe: list(&self.subscribe)?,
            publish: list(&self.publish)?,
            end: list(&self.end)?,
            presence: list(&self.presence)?,
        })
    }
}

/// The audience that accepts tokens for anybody.
const ANY: &str = "any";
/// The address of a provider's key set that a preset is not to fill in: its tokens are signed with a secret.
const NONE: &str = "none";

impl IssuerConfig {
    /// Checks the block and returns the issuer that it describes.
    ///
    /// # Errors
    /// A field is missing or malformed. Names it.
    pub(super) fn plan(&self, grants: &str) -> Result<Plan, String> {
        self.check_texts()?;
        let filled = self.filled()?;
        let claim = |name: &str| ClaimName::new(name).map_err(|bad: BadClaimName| bad.to_string());
        let audience = match &filled.audience.0[..] {
            [] if filled.jwks.is_some() => {
                return Err("jwks needs audience: without one, tokens for other services would be accepted; \
                            audience = \"any\" accepts them"
                    .to_owned());
            }
            [any] if any == ANY => Vec::new(),
            list if list.iter().any(|one| one == ANY) => {
                return Err(
                    "audience has \"any\" beside others; it accepts all of them alone".to_owned()
                );
            }
            list => list.to_vec(),
        };
        if filled.jwks.is_none() && filled.keys.is_empty() {
            return Err("it has neither jwks nor keys".to_owned());
        }
        if filled.jwks.is_some() && filled.issuer.0.is_empty() {
            return Err("jwks needs issuer: the exact value of the claim iss".to_owned());
        }
        let default = Issuer::default();
        let algorithms = match filled.algorithms.is_empty() {
            true => default.algorithms.clone(),
            false => {
                filled.algorithms.iter().map(|name| algorithm(name)).collect::<Result<_, _>>()?
            }
        };
        let required = filled.require.iter();
        let required = required.map(|(name, values)| match &values.0[..] {
            [] => Err(format!("require.{name} is an empty list; nothing would be accepted")),
            values => Ok((claim(name)?, values.to_vec())),
        });
        let issuer = Issuer {
            names: filled.issuer.0.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            audience,
            audience_claim: filled
                .audience_claim
                .as_deref()
                .map_or(Ok(default.audience_claim.clone()), claim)?,
            algorithms,
            required: required.collect::<Result<_, String>>()?,
            types: filled.header_typ.0.clone(),
            subject: filled.subject.as_deref().map_or(Ok(default.subject.clone()), claim)?,
            grants: claim(filled.grants.as_deref().unwrap_or(grants))?,
            mapped: filled.mapped()?,
            life: filled.max_life.as_deref().map(life).transpose()?,
            ..default
        };
        Ok(Plan { issuer, files: filled.keys.clone(), jwks: filled.jwks.clone() })
    }

    /// Refuses empty texts: nothing would equal them.
    fn check_texts(&self) -> Result<(), String> {
        let lists = [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("header-typ", &self.header_typ),
        ];
        let is_empty = |list: &OneOrMany| list.0.iter().any(String::is_empty);
        match lists.into_iter().find(|(_, list)| is_empty(list)) {
            Some((field, _)) => Err(format!("{field} has an empty text; leave it out instead")),
            None => Ok(()),
        }
    }

    /// The block with the fields of its preset.
    fn filled(&self) -> Result<Self, String> {
        let mut block = self.clone();
        let Some(preset) = self.preset else { return Ok(block) };
        let name = self.issuer.0.first().ok_or("preset needs issuer")?;
        let filling = preset.filling(name, !self.keys.is_empty())?;
        block.jwks = block.jwks.or(Some(filling.jwks)).filter(|url| url != NONE);
        if let (true, Some(audience)) = (block.audience.0.is_empty(), filling.audience) {
            block.audience = OneOrMany(vec![audience]);
        }
        let text = |text: &str| text.to_owned();
        block.audience_claim = block.audience_claim.or(filling.audience_claim.map(text));
        if let Some((name, value)) = filling.required {
            block
                .require
                .entry(name.to_owned())
                .or_insert_with(|| Accepted(vec![value.to_owned()]));
        }
        block.grants = block.grants.or(filling.grants.map(text));
        if block.algorithms.is_empty() {
            block.algorithms = filling.algorithms.into_iter().map(str::to_owned).collect();
        }
        block.max_life.get_or_insert_with(|| filling.life.to_owned());
        Ok(block)
    }

    fn mapped(&self) -> Result<Vec<MappedClaim>, String> {
        let all = self.map.iter().flat_map(|(claim, values)| {
            values.iter().map(move |(value, written)| (claim, value, written))
        });
        let mapped = all.map(|(claim, value, written)| {
            let at = |text: String| format!("map.{claim}.{value}: {text}");
            Ok(MappedClaim {
                claim: ClaimName::new(claim).map_err(|bad| at(bad.to_string()))?,
                value: value.clone(),
                rights: written.rights().map_err(|bad| at(bad.to_string()))?,
            })
        });
        mapped.collect()
    }
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let found = ALGORITHMS.into_iter().find(|one| format!("{one:?}") == name);
    found.ok_or_else(|| {
        let all: Vec<_> = ALGORITHMS.iter().map(|one| format!("{one:?}")).collect();
        format!("algorithm {name:?} is not supported; choose among {}", all.join(", "))
    })
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).ok().filter(|life| !life.is_zero());
    life.ok_or_else(|| format!("max-life is {text:?}; it must be a time with a unit, as 31d"))
}
