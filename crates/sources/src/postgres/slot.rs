//! The slot and the publication as the server has them, and the place at which a copy goes on.
//!
//! The server says nothing when a slot cannot give what a copy lacks: it goes on with what it has. So each opening compares
//! who the server is, what the slot has forgotten and what is published with the place of the copy.

use postgres_protocol::escape::escape_literal;

use crate::place::Place;
use crate::postgres::connection::{PostgresClient, Row};
use crate::postgres::lsn::Lsn;
use crate::source::Failure;

/// The slot and the publication that the configuration names.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) slot: String,
    pub(crate) publication: String,
    /// The tables of the outbox, as SQL names them.
    pub(crate) tables: Vec<String>,
}

/// A slot at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The slot has forgotten the transactions before.
    pub(crate) confirmed: Lsn,
    /// The bytes of the server's log that it keeps for the slot.
    pub(crate) retained: u64,
    /// The bytes that the server has written since `confirmed`.
    pub(crate) unconfirmed: u64,
}

/// A server at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The number that a server gets when its data directory is made; its copies have it too.
    system: String,
    /// The number that grows when a copy is promoted.
    timeline: u32,
    /// The end of its log.
    end: Lsn,
    /// The timelines before this one, and the places at which they ended.
    history: Vec<(u32, Lsn)>,
}

/// The place at which a copy goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// The place: everything up to it is passed over.
    pub(crate) place: Place,
    /// The reason if events may be missing before it.
    pub(crate) gap: Option<String>,
}

impl Names {
    /// Reads the slot, and checks that it and the publication are fit.
    ///
    /// # Errors
    /// The connection was lost, or an operator has to mend something.
    pub(crate) async fn check(&self, connection: &mut PostgresClient) -> Result<Slot, Failure> {
        let Self { slot, publication, .. } = self;
        let sql = format!(
            "SELECT plugin = 'pgoutput', database = current_database(), two_phase, wal_status, confirmed_flush_lsn, \
             pg_wal_lsn_diff(now, restart_lsn)::bigint, pg_wal_lsn_diff(now, confirmed_flush_lsn)::bigint \
             FROM pg_replication_slots, (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
             ELSE pg_current_wal_lsn() END AS now) AS server WHERE slot_name = {}",
            escape_literal(slot)
        );
        let rows = connection.query(&sql).await?;
        let refused = |reason: String| Err(Failure::Refused(format!("slot {slot} {reason}")));
        let make = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
        let Some(row) = rows.first() else {
            return refused(format!(
                "does not exist. The publication is to be made first, then the slot: {make}"
            ));
        };
        let is = |column: usize| text(row, column) == Some("t");
        if !is(0) {
            return refused("has another plugin than pgoutput".to_owned());
        }
        if !is(1) {
            return refused("belongs to another database".to_owned());
        }
        if is(2) {
            return refused("decodes two-phase commits; make it without".to_owned());
        }
        if text(row, 3) == Some("lost") {
            return refused(format!(
                "is lost: the server has dropped what the slot had not delivered (max_slot_wal_keep_size). Drop it \
                 and make it again: {make}"
            ));
        }
        let bytes = |column| text(row, column).and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
        let Some(confirmed) = text(row, 4).and_then(Lsn::parse) else {
            return Err(Failure::Away(format!("slot {slot} is being made")));
        };
        let insert = escape_literal(publication);
        let sql = format!("SELECT pubinsert FROM pg_publication WHERE pubname = {insert}");
        match connection.query(&sql).await?.first().and_then(|row| text(row, 0)) {
            Some("t") => {}
            Some(_) => {
                let reason = format!("publication {publication} does not publish inserts");
                return Err(Failure::Refused(reason));
            }
            None => {
                return Err(Failure::Refused(format!(
                    "publication {publication} does not exist. A slot does not know a publication that is younger: \
                     make the publication, drop slot {slot} and make it again: {make}"
                )));
            }
        }
        Ok(Slot { confirmed, retained: bytes(5), unconfirmed: bytes(6) })
    }

    /// Finds the tables of the outbox, as schema and name, and checks that they and no others are published.
    ///
    /// # Errors
    /// The connection was lost, or an operator has to mend something.
    pub(crate) async fn tables(
        &self,
        connection: &mut PostgresClient,
    ) -> Result<Vec<(String, String)>, Failure> {
        let Self { publication, tables, .. } = self;
        let wanted: Vec<_> = tables.iter().map(|table| escape_literal(table)).collect();
        let sql = format!(
            "SELECT wanted.name, n.nspname, c.relname, p.tablename IS NOT NULL, p.schemaname || '.' || p.tablename \
             FROM unnest(ARRAY[{}]::text[]) AS wanted(name) \
             LEFT JOIN pg_class c ON c.oid = to_regclass(wanted.name) \
             LEFT JOIN pg_namespace n ON n.oid = c.relnamespace \
             FULL JOIN (SELECT * FROM pg_publication_tables WHERE pubname = {}) AS p \
             ON p.schemaname = n.nspname AND p.tablename = c.relname ORDER BY wanted.name NULLS LAST LIMIT 1000",
            wanted.join(", "),
            escape_literal(publication)
        );
        let mut found = Vec::new();
        for row in connection.query(&sql).await? {
            let reason = match (text(&row, 0), text(&row, 1), text(&row, 2), text(&row, 3)) {
                (Some(_), Some(schema), Some(table), Some("t")) => {
                    found.push((schema.to_owned(), table.to_owned()));
                    continue;
                }
                (Some(name), None, _, _) => {
                    format!("table {name} does not exist, or this user may not see it")
                }
                (Some(name), ..) => format!(
                    "table {name} is not in publication {publication}: its rows are not copied, those of the \
                     meantime neither when it is added"
                ),
                (None, ..) => format!(
                    "publication {publication} has table {}, which is not among tables",
                    text(&row, 4).unwrap_or_default()
                ),
            };
            return Err(Failure::Refused(reason));
        }
        Ok(found)
    }
}

fn text(row: &Row, column: usize) -> Option<&str> {
    row.get(column)?.as_deref()
}

impl Identity {
    /// Asks a server; the connection must be one for replication.
    ///
    /// # Errors
    /// The connection was lost, or the server refuses.
    pub(crate) async fn ask(connection: &mut PostgresClient) -> Result<Self, Failure> {
        let strange = || Failure::Away("the server does not say what it is".to_owned());
        let rows = connection.query("IDENTIFY_SYSTEM").await?;
        let row = rows.first().ok_or_else(strange)?;
        let system = text(row, 0).ok_or_else(strange)?.to_owned();
        let timeline = text(row, 1).and_then(|number| number.parse().ok()).ok_or_else(strange)?;
        let end = text(row, 2).and_then(Lsn::parse).ok_or_else(strange)?;
        let mut history = Vec::new();
        if timeline > 1 {
            let rows = connection.query(&format!("TIMELINE_HISTORY {timeline}")).await?;
            let lines = rows.first().and_then(|row| text(row, 1)).ok_or_else(strange)?;
            history.extend(lines.lines().filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.parse().ok()?, Lsn::parse(words.next()?)?))
            }));
        }
        Ok(Self { system, timeline, end, history })
    }

    /// The text of a place at this server.
    fn text(&self) -> String {
        format!("{}/{}", self.system, self.timeline)
    }

    /// Finds the place at which a copy goes on, which had come to a place.
    ///
    /// # Errors
    /// The server is older than one that the copy was made of.
    pub(crate) fn start(&self, slot: Slot, after: Option<&Place>) -> Result<Start, Failure> {
        let at = |era, lsn: Lsn, gap| {
            let place = Place { era, major: lsn.0, minor: 0, text: self.text() };
            Ok(Start { place, gap })
        };
        let confirmed = slot.confirmed;
        let Some(after) = after else { return at(0, confirmed, None) };
        let copied = Lsn(after.major);
        let anew = |lsn, reason: String| at(after.era + 1, lsn, Some(reason));
        let known = after
            .text
            .split_once('/')
            .and_then(|(system, timeline)| Some((system, timeline.parse::<u32>().ok()?)));
        let Some((system, timeline)) = known else {
            return anew(
                confirmed,
                format!("the copy was not made of Postgres, but of {:?}", after.text),
            );
        };
        if system != self.system {
            let reason =
                format!("the copy was made of server {system}, and this is {}", self.system);
            return anew(confirmed, reason);
        }
        if timeline > self.timeline {
            return Err(Failure::Refused(format!(
                "this server is on timeline {}, and the copy was made of its successor on timeline {timeline}",
                self.timeline
            )));
        }
        if timeline == self.timeline {
            if copied > self.end {
                let end = self.end;
                let reason = format!(
                    "the copy had come to {copied}, and the log of this server ends at {end}: it was restored"
                );
                return anew(confirmed, reason);
            }
        } else {
            match self.history.iter().find(|(parent, _)| *parent == timeline) {
                Some(&(_, end)) if copied > end => {
                    let reason = format!(
                        "the copy had come to {copied} of timeline {timeline}, of which this server has only what is \
                         before {end}"
                    );
                    return anew(end, reason);
                }
                Some(_) => {}
                None => {
                    let reason =
                        format!("timeline {timeline} is none of those before {}", self.timeline);
                    return anew(confirmed, reason);
                }
            }
        }
        if confirmed > copied {
            let reason = format!(
                "the slot has forgotten what is between {copied} and {confirmed}: it was made anew, or another reader \
                 used it"
            );
            return at(after.era, confirmed, Some(reason));
        }
        let place = Place { text: self.text(), ..after.clone() };
        Ok(Start { place, gap: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot { confirmed: Lsn(100), retained: 0, unconfirmed: 0 };

    fn identity(timeline: u32, end: u64, history: &[(u32, u64)]) -> Identity {
        let history = history.iter().map(|&(timeline, end)| (timeline, Lsn(end))).collect();
        Identity { system: "77".to_owned(), timeline, end: Lsn(end), history }
    }

    fn place(era: u64, major: u64, minor: u64, text: &str) -> Place {
        Place { era, major, minor, text: text.to_owned() }
    }

    fn start(identity: &Identity, after: Option<&Place>) -> (Place, bool) {
        let Start { place, gap } = identity.start(SLOT, after).unwrap();
        (place, gap.is_some())
    }

    #[test]
    fn a_copy_goes_on_where_it_was() {
        let server = identity(1, 500, &[]);
        assert_eq!(start(&server, None), (place(0, 100, 0, "77/1"), false));
        let after = place(3, 200, 7, "77/1");
        assert_eq!(start(&server, Some(&after)), (after, false));
        let after = place(3, 100, 0, "77/1");
        assert_eq!(start(&server, Some(&after)), (after, false));
    }

    #[test]
    fn what_is_lost_is_said() {
        let server = identity(1, 500, &[]);
        let forgotten = place(3, 99, 7, "77/1");
        assert_eq!(start(&server, Some(&forgotten)), (place(3, 100, 0, "77/1"), true));
        let other = place(3, 400, 7, "78/1");
        assert_eq!(start(&server, Some(&other)), (place(4, 100, 0, "77/1"), true));
        let restored = place(3, 501, 7, "77/1");
        assert_eq!(start(&server, Some(&restored)), (place(4, 100, 0, "77/1"), true));
        let strange = place(3, 200, 0, "cursor 5");
        assert_eq!(start(&server, Some(&strange)), (place(4, 100, 0, "77/1"), true));
    }

    #[test]
    fn a_promoted_copy_goes_on_if_it_has_everything() {
        let promoted = identity(3, 900, &[(1, 300), (2, 600)]);
        let after = place(0, 300, 2, "77/1");
        assert_eq!(start(&promoted, Some(&after)), (place(0, 300, 2, "77/3"), false));
        let ahead = place(0, 301, 2, "77/1");
        assert_eq!(start(&promoted, Some(&ahead)), (place(1, 300, 0, "77/3"), true));
        let ahead = place(0, 601, 2, "77/2");
        assert_eq!(start(&promoted, Some(&ahead)), (place(1, 600, 0, "77/3"), true));
        let elsewhere = identity(4, 900, &[(1, 300), (3, 600)]);
        let after = place(0, 400, 0, "77/2");
        assert_eq!(start(&elsewhere, Some(&after)), (place(1, 100, 0, "77/4"), true));
        let Err(Failure::Refused(reason)) = promoted.start(SLOT, Some(&place(0, 1, 0, "77/4")))
        else {
            panic!()
        };
        assert!(reason.contains("successor on timeline 4"), "{reason}");
    }
}
