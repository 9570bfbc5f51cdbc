//! The configuration of issuers, as an operator writes it.

mod block;

use std::path::PathBuf;

use serde::Deserialize;

use crate::issuer::Issuer;

pub use block::{IssuerConfig, OneOrMany};

/// The issuers that a node accepts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default, rename = "issuer")]
    issuers: Vec<IssuerConfig>,
}

/// An issuer whose keys are still to be loaded.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The issuer, without keys.
    pub issuer: Issuer,
    /// The files with its keys.
    pub files: Vec<PathBuf>,
    /// The address of its JWK set.
    pub jwks: Option<String>,
}

/// A configuration that cannot be used. Names the issuer and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// The text is no TOML of the expected fields.
    #[error("{0}")]
    Toml(String),
    /// There is no issuer.
    #[error("it has no [[issuer]]")]
    Empty,
    /// There are too many.
    #[error("it has {0} issuers; the limit is {ISSUERS_MAX}")]
    TooMany(usize),
    /// A field of an issuer: the number of its block, its name, and the fault.
    #[error("[[issuer]] {0} ({1}): {2}")]
    Field(usize, String, String),
    /// Two issuers have the same name.
    #[error("issuer {0} stands in two blocks")]
    Twice(String),
    /// Two issuers have no name.
    #[error("there are two blocks without issuer: no token would reach the second")]
    TwoNameless,
}

/// Issuers in one configuration: more are a mistake, and each is compared with a token's.
const ISSUERS_MAX: usize = 64;

impl Config {
    /// Reads a configuration in TOML.
    ///
    /// # Errors
    /// The text is no TOML, or has an unknown field.
    pub fn parse(text: &str) -> Result<Self, BadConfig> {
        let config: Self = toml::from_str(text).map_err(|error| fault(text, &error))?;
        match config.issuers.len() {
            0 => Err(BadConfig::Empty),
            count if count > ISSUERS_MAX => Err(BadConfig::TooMany(count)),
            _ => Ok(config),
        }
    }

    /// A configuration of one issuer.
    #[must_use]
    pub fn of(issuer: IssuerConfig) -> Self {
        Self { issuers: vec![issuer] }
    }

    /// Checks the issuers. `grants` is the claim with the rights where an issuer names none.
    ///
    /// # Errors
    /// A field is missing or malformed.
    pub fn plans(&self, grants: &str) -> Result<Vec<Plan>, BadConfig> {
        let plan = |(index, one): (usize, &IssuerConfig)| {
            let name = one.issuer.0.first().map_or("without a name", String::as_str);
            one.plan(grants).map_err(|text| BadConfig::Field(index + 1, name.to_owned(), text))
        };
        let plans: Vec<_> = self.issuers.iter().enumerate().map(plan).collect::<Result<_, _>>()?;
        if plans.iter().filter(|plan| plan.issuer.names.is_empty()).count() > 1 {
            return Err(BadConfig::TwoNameless);
        }
        let mut names: Vec<_> = plans.iter().flat_map(|plan| &plan.issuer.names).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(BadConfig::Twice(pair[0].clone())),
            None => Ok(plans),
        }
    }
}

/// Says where a text is malformed, without the line itself and without values of a wrong type: somebody may have
/// put a secret there.
fn fault(text: &str, error: &toml::de::Error) -> BadConfig {
    let message = error.message();
    let is_quoting =
        message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    let message = match message.split_once(", expected ") {
        Some((_, expected)) if is_quoting => format!("it must be {expected}"),
        _ => message.to_owned(),
    };
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    BadConfig::Toml(format!("line {line}: {message}"))
}

#[cfg(test)]
mod tests;
