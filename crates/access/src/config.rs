//! The configuration of issuers, as an operator writes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use crate::issuer::{ALGORITHMS, BadClaimName, ClaimName, Issuer, MappedClaim, WrittenRights};
use crate::preset::Preset;

/// The issuers that a node accepts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default, rename = "issuer")]
    issuers: Vec<IssuerConfig>,
}

/// One issuer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct IssuerConfig {
    /// The accepted values of `iss`.
    pub issuer: OneOrMany,
    /// Fills in the fields that are left out, as a provider needs them.
    pub preset: Option<Preset>,
    /// The address of the JWK set.
    pub jwks: Option<String>,
    /// Files with keys.
    pub keys: Vec<PathBuf>,
    /// The accepted audiences, or `any`.
    pub audience: OneOrMany,
    /// The claim that names the audience.
    pub audience_claim: Option<String>,
    /// The accepted algorithms.
    pub algorithms: Vec<String>,
    /// Claims that must have a value.
    pub require: BTreeMap<String, String>,
    /// The accepted types in the header.
    pub header_typ: OneOrMany,
    /// The claim that names the subject.
    pub subject: Option<String>,
    /// The claim that holds the rights.
    pub grants: Option<String>,
    /// Claims, their values, and the rights that each brings.
    map: BTreeMap<String, BTreeMap<String, WrittenRights>>,
    /// The longest time from now to the end of a token.
    pub max_life: Option<String>,
}

/// A text or a list of texts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Written")]
pub struct OneOrMany(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
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
    /// A field of an issuer.
    #[error("issuer {0}: {1}")]
    Field(String, String),
    /// Two issuers have the same name.
    #[error("issuer {0} stands in two blocks")]
    Twice(String),
}

/// Issuers in one configuration: more are a mistake, and each is compared with a token's.
const ISSUERS_MAX: usize = 64;
/// The audience that accepts tokens for anybody.
const ANY: &str = "any";

impl Config {
    /// Reads a configuration in TOML.
    ///
    /// # Errors
    /// The text is no TOML, or has an unknown field.
    pub fn parse(text: &str) -> Result<Self, BadConfig> {
        let config: Self =
            toml::from_str(text).map_err(|error| BadConfig::Toml(error.to_string()))?;
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
        let plans: Vec<_> =
            self.issuers.iter().map(|one| one.plan(grants)).collect::<Result<_, _>>()?;
        let mut names: Vec<_> = plans.iter().flat_map(|plan| &plan.issuer.names).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(BadConfig::Twice(pair[0].clone())),
            None => Ok(plans),
        }
    }
}

impl IssuerConfig {
    fn plan(&self, grants: &str) -> Result<Plan, BadConfig> {
        let named = self.issuer.0.first().map_or("without a name", String::as_str);
        self.checked(grants).map_err(|text| BadConfig::Field(named.to_owned(), text))
    }

    fn checked(&self, grants: &str) -> Result<Plan, String> {
        let filled = self.filled()?;
        let claim = |name: &str| ClaimName::new(name).map_err(|bad: BadClaimName| bad.to_string());
        let audience = match &filled.audience.0[..] {
            [] if filled.jwks.is_some() => {
                return Err("jwks needs audience: without one, tokens for other services would be accepted; \
                            audience = \"any\" accepts them"
                    .to_owned());
            }
            [any] if any == ANY => Vec::new(),
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
        let required = required.map(|(name, value)| Ok((claim(name)?, value.clone())));
        let issuer = Issuer {
            names: filled.issuer.0.clone(),
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

    /// The block with the fields of its preset.
    fn filled(&self) -> Result<Self, String> {
        let mut block = self.clone();
        let Some(preset) = self.preset else { return Ok(block) };
        let name = self.issuer.0.first().ok_or("a preset needs issuer")?;
        let filling = preset.filling(name, !self.keys.is_empty());
        block.jwks = block.jwks.or(filling.jwks);
        if let (true, Some(audience)) = (block.audience.0.is_empty(), filling.audience) {
            block.audience = OneOrMany(vec![audience]);
        }
        let text = |text: &str| text.to_owned();
        block.audience_claim = block.audience_claim.or(filling.audience_claim.map(text));
        if let Some((name, value)) = filling.required {
            block.require.entry(name.to_owned()).or_insert_with(|| value.to_owned());
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
    humantime::parse_duration(text)
        .map_err(|_| format!("max-life is {text:?}; it must be a time with a unit, as 31d"))
}

#[cfg(test)]
mod tests {
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
        ] {
            let error = plans(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
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
}
