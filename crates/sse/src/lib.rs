//! The event stream format (WHATWG HTML, section 9.2) for those who read it: `tailwater tail`,
//! streaming bodies on ingest, and the load driver. The gateway, which writes it, has its own rules.

mod parser;

pub use parser::{Event, Parser};
