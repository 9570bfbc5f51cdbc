//! A parser of the event stream format (WHATWG HTML, section 9.2) for clients: `tailwater tail`, the relay and the
//! load driver.
//!
//! Has no limits unless it is asked for one, because a client reads from a server that it chose; the relay bounds an event itself. Ingest reads untrusted streams
//! and has a parser with limits; a test shows that both agree. Writes nothing: the gateway writes the
//! format by rules of its own.

mod parser;

pub use parser::{Event, Parser};
