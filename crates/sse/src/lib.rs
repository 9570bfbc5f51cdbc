//! The event stream format (WHATWG HTML, section 9.2) for clients: `tailwater tail` and the load
//! driver. A client reads a server that it chose, so nothing here is bounded; ingest, which reads
//! streams from anybody, has a parser with limits, tested to agree with this one. The gateway, which
//! writes the format, has rules of its own.

mod parser;

pub use parser::{Event, Parser};
