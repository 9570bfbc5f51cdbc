//! The changes of transactions as items.
//!
//! The server sends a transaction after its commit, and whole, also when it was sent before. So the place of a change is the place of the
//! commit in the server's log and the ordinal of the change in the transaction; the place of a row itself is that of other rows
//! too. A place with the ordinal 0 stands before all changes of a commit at it.
//!
//! So one number serves three ends: a copy that begins at the commit of its last item gets that transaction again, and a slot
//! that has confirmed this number keeps it.

use std::collections::HashMap;

use crate::place::Place;
use crate::postgres::batch::Batch;
use crate::postgres::lsn::Lsn;
use crate::postgres::outbox::{KnownTable, Outbox, PREFIX, Refusal};
use crate::postgres::pgoutput::{BadMessage, OutputMessage};
use crate::postgres::wal::Sent;
use crate::source::{Failure, Item};

/// The state of the stream of changes.
#[derive(Debug)]
pub(crate) struct Changes {
    outbox: Outbox,
    rules: Rules,
    /// The tables that the server has named, by number.
    tables: HashMap<u32, KnownTable>,
    transaction: Option<Transaction>,
    /// The place of the last item. What is not after it was copied before.
    last: Place,
    pub(crate) batch: Batch,
}

/// The rules about changes that are no new row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Logical messages are events.
    pub(crate) messages: bool,
    /// A deleted row is an error.
    pub(crate) refuse_deletes: bool,
    /// The longest change, in bytes.
    pub(crate) change_max: usize,
}

/// A transaction that is being sent.
#[derive(Debug)]
struct Transaction {
    commit: Lsn,
    /// The changes that were sent of it.
    changes: u64,
}

/// Most tables that are remembered: each has been in the publication.
const TABLES_MAX: usize = 10_000;

impl Changes {
    /// Begins after a place; a gap is told there.
    pub(crate) fn new(outbox: Outbox, rules: Rules, start: Place, gap: Option<String>) -> Self {
        let mut batch = Batch::default();
        match gap {
            Some(reason) => batch.push(Item::Gap { missed: None, reason, place: start.clone() }),
            // The identity of the server is stored before its first event.
            None => batch.pass(start.clone()),
        }
        Self { outbox, rules, tables: HashMap::new(), transaction: None, last: start, batch }
    }

    /// Takes in what the server has sent.
    ///
    /// # Errors
    /// It is no message of pgoutput.
    pub(crate) fn take(&mut self, sent: &Sent) -> Result<(), Failure> {
        match sent {
            Sent::Change { bytes, too_long } => {
                let taken = OutputMessage::parse(bytes)
                    .and_then(|message| self.message(message, *too_long));
                taken.map_err(|error| Failure::Refused(error.to_string()))
            }
            Sent::Alive(all_before) => {
                // In a transaction the sign stands before its commit, of which items may be out.
                if self.transaction.is_none() {
                    self.pass(*all_before);
                }
                Ok(())
            }
        }
    }

    fn message(
        &mut self,
        message: OutputMessage<'_>,
        too_long: Option<usize>,
    ) -> Result<(), BadMessage> {
        match message {
            OutputMessage::Begin { commit } => {
                self.transaction = Some(Transaction { commit, changes: 0 });
            }
            OutputMessage::Commit { end } => {
                self.transaction = None;
                self.pass(end);
            }
            OutputMessage::Relation(relation) => {
                if self.tables.len() >= TABLES_MAX {
                    self.tables.clear();
                }
                self.tables.insert(relation.number, self.outbox.table(&relation));
            }
            OutputMessage::Insert { relation, row } => {
                let Some(place) = self.next() else { return Ok(()) };
                let made = match (self.tables.get(&relation), too_long) {
                    (_, Some(bytes)) => Err(self.too_long("a row", row.as_bytes(), bytes)),
                    (Some(table), None) => self.outbox.row(table, row)?,
                    (None, None) => {
                        let reason = format!("a row of table {relation}, which was not named");
                        Err(Refusal::new(row.as_bytes(), reason))
                    }
                };
                self.push(place, made);
            }
            OutputMessage::Update { relation } => self.refuse("a row was changed", &[relation]),
            OutputMessage::Delete { relation } if self.rules.refuse_deletes => {
                self.refuse("a row was deleted", &[relation]);
            }
            OutputMessage::Delete { .. } => drop(self.next()),
            OutputMessage::Truncate { relations } => {
                self.refuse("all rows were deleted", &relations)
            }
            OutputMessage::Logical { is_transactional, lsn, prefix, content } => {
                let place = if is_transactional { self.next() } else { self.at(lsn, 1) };
                let is_ours = self.rules.messages && prefix == PREFIX.as_bytes();
                let Some(place) = place.filter(|_| is_ours) else { return Ok(()) };
                let made = match too_long {
                    Some(bytes) => Err(self.too_long("a message", content.as_bytes(), bytes)),
                    None if !is_transactional => {
                        let reason = "a message that is not transactional; \
                                      pg_logical_emit_message(true, …) makes one that is";
                        Err(Refusal::new(content.as_bytes(), reason.to_owned()))
                    }
                    None => self.outbox.message(content)?,
                };
                self.push(place, made);
            }
            OutputMessage::Other => {}
        }
        Ok(())
    }

    fn too_long(&self, what: &str, head: &[u8], bytes: usize) -> Refusal {
        let limit = self.rules.change_max;
        Refusal::new(
            head,
            format!("{what} has {bytes} bytes with all its columns; the limit is {limit}"),
        )
    }

    /// The place of the next change of the transaction; `None` if it was copied before.
    fn next(&mut self) -> Option<Place> {
        let transaction = self.transaction.as_mut()?;
        transaction.changes += 1;
        let Transaction { commit, changes } = *transaction;
        self.at(commit, changes)
    }

    fn at(&self, lsn: Lsn, minor: u64) -> Option<Place> {
        let Place { era, text, .. } = &self.last;
        let is_new = [*era, lsn.0, minor] > self.last.order();
        is_new.then(|| Place { era: *era, major: lsn.0, minor, text: text.clone() })
    }

    fn refuse(&mut self, what: &str, relations: &[u32]) {
        let Some(place) = self.next() else { return };
        let name = |number| self.tables.get(number).map_or("unknown", |table| &*table.name);
        let names: Vec<_> = relations.iter().map(name).collect();
        let names = names.join(", ");
        let reason = format!("{what} in {names}; an outbox has new rows only (publish = 'insert')");
        self.push(place, Err(Refusal { excerpt: names, reason }));
    }

    fn push(
        &mut self,
        place: Place,
        made: Result<(event_log::Topic, event_log::NewEvent), Refusal>,
    ) {
        self.last.clone_from(&place);
        self.batch.push(match made {
            Ok((topic, event)) => Item::Event { topic, event, place },
            Err(Refusal { excerpt, reason }) => Item::Bad { excerpt, reason, place },
        });
    }

    fn pass(&mut self, all_before: Lsn) {
        if let Some(place) = self.at(all_before, 0) {
            self.last.clone_from(&place);
            self.batch.pass(place);
        }
    }
}
