//! Tickets for pages: `POST /v1/tickets`, and those that a stream carries for the stream after it.

use std::time::Duration;

use access::{Access, Form, Grant};

/// The time until the first use of a ticket.
const FIRST_USE: Duration = Duration::from_mins(1);

/// Returns a ticket for the stream after one that a ticket opened. It can be opened until a minute after `time`.
pub(crate) fn renew(
    access: &Access,
    grant: &Grant,
    topics: &[&str],
    time: Duration,
) -> Option<String> {
    let ticket = access.tickets()?.issue(grant, topics, Form::Ticket, Some(time + FIRST_USE));
    ticket.ok().map(|ticket| ticket.text)
}
