//! The tokens of machines: random texts, of which a node knows the hashes only.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use crate::claims::SUBJECT_BYTES_MAX;
use crate::denied::{Carrier, Reason};
use crate::issuer::{MEMBER_BYTES_MAX, WrittenRights};
use crate::{Grant, HistoryExtent, Principal, Rights};

/// The tokens of machines, by their hashes. A file has one a line: the hash, the subject, the rights.
#[derive(Debug, Default)]
pub struct Machines(RwLock<Arc<[Machine]>>);

#[derive(Debug)]
struct Machine {
    hash: [u8; 32],
    grant: Arc<Grant>,
}

/// A line that describes no machine. Never quotes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMachines {
    /// There are too many lines.
    #[error("it has more than {MACHINES_MAX} tokens")]
    TooMany,
    /// A line has not three parts.
    #[error("line {0} is not: SHA-256 of the token in hexadecimal, subject, rights as JSON")]
    Line(usize),
    /// The first part is no hash.
    #[error("line {0} does not begin with the SHA-256 of a token, 64 hexadecimal digits")]
    Hash(usize),
    /// The subject is too long.
    #[error("line {0}: the subject has {1} bytes; the limit is {SUBJECT_BYTES_MAX}")]
    Subject(usize, usize),
    /// The rights are malformed.
    #[error("line {0}: {1}")]
    Rights(usize, String),
    /// Two lines have the same token.
    #[error("line {0} has the token of another line")]
    Twice(usize),
}

/// Tokens in one file: each is compared with a token that comes.
const MACHINES_MAX: usize = 1000;
/// The fields of rights, for errors.
const FIELDS: &str = "subscribe, publish, end, presence, member, history, quotas and admin";

impl Machines {
    /// Reads the machines of a file.
    ///
    /// # Errors
    /// A line is malformed, or there are too many.
    pub fn parse(text: &str, everybody: &Arc<Rights>) -> Result<Self, BadMachines> {
        let machines = Self::default();
        machines.replace(text, everybody)?;
        Ok(machines)
    }

    /// Replaces all machines by those of a file.
    ///
    /// # Errors
    /// A line is malformed, or there are too many. The machines stay as they were.
    pub fn replace(&self, text: &str, everybody: &Arc<Rights>) -> Result<(), BadMachines> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut all: Vec<Machine> = Vec::new();
        for (index, line) in lines {
            let machine = machine(line, index + 1, everybody)?;
            if all.iter().any(|other| other.hash == machine.hash) {
                return Err(BadMachines::Twice(index + 1));
            }
            all.push(machine);
            if all.len() > MACHINES_MAX {
                return Err(BadMachines::TooMany);
            }
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = all.into();
        Ok(())
    }

    /// The number of machines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what the token of a machine grants. Takes the same time wherever the token stands.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<Grant>> {
        let all = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        if all.is_empty() {
            return None;
        }
        let hash = digest(&SHA256, token.as_bytes());
        let mut found = None;
        for machine in all.iter() {
            if bool::from(machine.hash.ct_eq(hash.as_ref())) {
                found = Some(&machine.grant);
            }
        }
        found.cloned()
    }
}

fn machine(line: &str, number: usize, everybody: &Arc<Rights>) -> Result<Machine, BadMachines> {
    let (hash, rest) = word(line).ok_or(BadMachines::Line(number))?;
    let (subject, rights) = word(rest).ok_or(BadMachines::Line(number))?;
    let hash = hash_of(hash).ok_or(BadMachines::Hash(number))?;
    if subject.len() > SUBJECT_BYTES_MAX {
        return Err(BadMachines::Subject(number, subject.len()));
    }
    let bad = |text: String| BadMachines::Rights(number, text);
    // The parser's own words would quote a token that stands in the wrong place.
    let written: WrittenRights = serde_json::from_str(rights).map_err(|error| {
        let column = error.column();
        bad(match error.is_data() {
            true => format!(
                "the rights are {FIELDS} alone, each of its type (column {column} of the JSON)"
            ),
            false => format!("the rights are no JSON of {FIELDS} (column {column} of the JSON)"),
        })
    })?;
    let history = written.history.as_deref().map_or(Ok(HistoryExtent::All), str::parse);
    let grant = Grant {
        principal: Principal::new(subject, None, None),
        rights: written.rights().map_err(|error| bad(error.to_string()))?,
        everybody: Arc::clone(everybody),
        history: history.map_err(|error| bad(error.to_string()))?,
        quotas: written.quotas,
        member: written
            .member()
            .map_err(|_| bad(format!("member has more than {MEMBER_BYTES_MAX} bytes of JSON")))?,
        issued: None,
        is_admin: written.admin,
        key: None,
        token: None,
        carrier: Carrier::Header,
        lack: Reason::Topic,
    };
    Ok(Machine { hash, grant: Arc::new(grant) })
}

/// Splits a text into its first word and the rest; `None` if there is no rest.
fn word(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(char::is_whitespace)?;
    Some((first, rest.trim_start()))
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// The hash of a token as it stands in a file.
#[must_use]
pub fn machine_hash(token: &str) -> String {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Right;

    fn parse(text: &str) -> Result<Machines, BadMachines> {
        Machines::parse(text, &Arc::default())
    }

    #[test]
    fn a_machine_is_found_by_its_token() {
        let line = |token: &str, rights: &str| format!("{} robot {rights}\n", machine_hash(token));
        let text = format!(
            "# machines\n{}{}",
            line("t-1", r#"{"publish": ["a/**"]}"#),
            line("t-2", r#"{"subscribe": ["u/{sub}"], "admin": true}"#)
        );
        let machines = parse(&text).unwrap();
        let first = machines.find("t-1").unwrap();
        assert!(first.allows(Right::Publish, "a/b") && !first.allows(Right::Subscribe, "a/b"));
        let second = machines.find("t-2").unwrap();
        assert!(second.allows(Right::Subscribe, "u/robot") && second.is_admin());
        assert!(machines.find("t-3").is_none() && machines.find("").is_none());
        assert!(machines.replace("nonsense", &Arc::default()).is_err());
        assert_eq!(machines.len(), 2);
    }

    #[test]
    fn the_parts_of_a_line_stand_in_columns_and_their_number_is_bounded() {
        let line = |index: usize| {
            format!("{}   robot-{index}\t {{}}\r\n", machine_hash(&index.to_string()))
        };
        let lines = |count| (0..count).map(line).collect::<String>();
        let machines = parse(&lines(MACHINES_MAX)).unwrap();
        assert_eq!(machines.len(), MACHINES_MAX);
        assert_eq!(machines.find("7").unwrap().principal().subject(), Some("robot-7"));
        assert_eq!(parse(&lines(MACHINES_MAX + 1)).unwrap_err(), BadMachines::TooMany);
    }

    #[test]
    fn a_malformed_line_is_named_and_its_hash_is_not_quoted() {
        let hash = machine_hash("t");
        assert_eq!(parse("s3cret").unwrap_err(), BadMachines::Line(1));
        assert_eq!(parse("\ns3cret robot {}").unwrap_err(), BadMachines::Hash(2));
        for rights in ["{", r#"{"subscribe": ["a b"]}"#, r#"{"write": []}"#, r#"{"history": "x"}"#]
        {
            let error = parse(&format!("{hash} robot {rights}")).unwrap_err();
            assert!(matches!(&error, BadMachines::Rights(1, _)), "{error}");
            assert!(!error.to_string().contains(&hash), "{error}");
        }
        let misplaced = parse(&format!("{hash} robot \"s3cret\"")).unwrap_err().to_string();
        assert!(misplaced.contains("line 1") && !misplaced.contains("s3cret"), "{misplaced}");
        let long = format!("{hash} {} {{}}", "x".repeat(257));
        assert_eq!(parse(&long).unwrap_err(), BadMachines::Subject(1, 257));
        let twice = format!("{hash} a {{}}\n{hash} b {{}}");
        assert_eq!(parse(&twice).unwrap_err(), BadMachines::Twice(2));
    }
}
