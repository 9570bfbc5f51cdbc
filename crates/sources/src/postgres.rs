//! Postgres: an outbox table, or messages in the log, by logical replication.
//!
//! An application writes events in the transactions that they belong to. The server decodes its own log with the plugin
//! pgoutput and sends each transaction after its commit, in the order of the commits. A slot at the server keeps what is not copied.
//!
//! The place of the copy is stored beside the events; what the server remembers of confirmations counts for nothing but the
//! disk space that it frees, because after a crash it forgets them. Makes neither slot nor publication, and changes nothing
//! at the server.

mod batch;
mod changes;
mod connection;
mod lsn;
mod outbox;
mod pgoutput;
mod reading;
mod server;
mod slot;
#[cfg(test)]
mod tests;
mod wal;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use crate::copying::Copying;
use crate::kind::{Kind, Settings};
use crate::place::Place;
use crate::postgres::changes::{Changes, Rules};
use crate::postgres::connection::{PostgresClient, Purpose};
use crate::postgres::lsn::Lsn;
use crate::postgres::outbox::{Columns, FIELDS, Outbox};
use crate::postgres::reading::PostgresReading;
use crate::postgres::server::{Server, Tls};
use crate::postgres::slot::{Identity, Names, Start};
use crate::postgres::wal::Wal;
use crate::source::{Failure, Reading, Source};

/// The table `postgres` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PostgresSettings {
    url: String,
    password_file: Option<PathBuf>,
    #[serde(default)]
    tls: Tls,
    ca_file: Option<PathBuf>,
    slot: String,
    publication: String,
    #[serde(default = "outbox")]
    tables: Vec<String>,
    #[serde(default)]
    columns: Columns,
    #[serde(default)]
    messages: bool,
    #[serde(default)]
    deletes: Deletes,
}

/// The rule about rows that are deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Deletes {
    /// An outbox is emptied in the end.
    #[default]
    Ignore,
    /// They are errors.
    Refuse,
}

fn outbox() -> Vec<String> {
    vec!["outbox".to_owned()]
}

/// The longest name of a slot or a publication, in bytes; a limit of Postgres.
const NAME_MAX: usize = 63;
/// Most tables of a source.
const TABLES_MAX: usize = 100;
/// Room in a change beside twice the largest event: other columns, and the escapes of JSON, in bytes.
const CHANGE_MORE: usize = 1 << 20;

/// A slot of a server.
#[derive(Debug, Clone)]
struct Postgres {
    server: Arc<Server>,
    names: Arc<Names>,
    outbox: Outbox,
    rules: Rules,
}

fn check_name(setting: &str, name: &str, is_allowed: impl Fn(char) -> bool) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_allowed) {
        return Err(format!(
            "{setting} = {name:?}: it has 1 to {NAME_MAX} letters (of a slot: small ones), digits and _"
        ));
    }
    Ok(())
}

impl Settings for PostgresSettings {
    fn fields(&self) -> &'static [&'static str] {
        FIELDS
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        check_name("slot", &self.slot, is_small)?;
        let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
        check_name("publication", &self.publication, is_letter)?;
        if self.tables.len() > TABLES_MAX {
            return Err(format!(
                "there are {} tables; the limit is {TABLES_MAX}",
                self.tables.len()
            ));
        }
        if self.tables.is_empty() && !self.messages {
            return Err("tables = []: it needs messages = true".to_owned());
        }
        // Errors must not show the URL: it may have a password.
        let server = Server::parse(&self.url).map_err(|reason| format!("url: {reason}"))?;
        let (tls, password_file, ca_file) = (self.tls, self.password_file, self.ca_file);
        if tls == Tls::Off && ca_file.is_some() {
            return Err("ca-file needs tls = \"require\" or \"prefer\"".to_owned());
        }
        let (topic, columns) = (copying.topic.clone(), self.columns);
        Ok(Arc::new(Postgres {
            server: Arc::new(Server { tls, password_file, ca_file, ..server }),
            names: Arc::new(Names {
                slot: self.slot,
                publication: self.publication,
                tables: self.tables,
            }),
            outbox: Outbox { topic, columns, tables: Vec::new() },
            rules: Rules {
                messages: self.messages,
                refuse_deletes: self.deletes == Deletes::Refuse,
                change_max: 2 * copying.event_bytes_max + CHANGE_MORE,
            },
        }))
    }
}

#[async_trait]
impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Source for Postgres {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        let Self { server, names, outbox, rules } = &*self;
        let mut connection = PostgresClient::open(server, Purpose::Replication).await?;
        let identity = Identity::ask(&mut connection).await?;
        let slot = names.check(&mut connection).await?;
        let tables = names.tables(&mut connection).await?;
        let Start { place, gap } = identity.start(slot, after)?;
        // Logical messages are always asked for: the ordinals of a transaction must not depend on settings.
        let sql = format!(
            "START_REPLICATION SLOT \"{}\" LOGICAL {} (proto_version '1', publication_names '\"{}\"', messages 'true')",
            names.slot,
            Lsn(place.major),
            names.publication
        );
        let wal = Wal::start(connection, &sql, rules.change_max).await?;
        let outbox = Outbox { tables, ..outbox.clone() };
        let changes = Changes::new(outbox, *rules, place.clone(), gap);
        let both = (Arc::clone(server), Arc::clone(names));
        Ok(Box::new(PostgresReading::new(wal, changes, place, slot, both)))
    }
}
