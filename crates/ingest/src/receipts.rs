//! The receipts of a batch.

use serde_json::json;

use crate::appender::Answer;
use crate::error::Error;

/// The receipts of a batch, one per line.
pub(crate) struct Receipts {
    pub(crate) lines: Vec<u8>,
    /// The error that stops the stream, if no event of the batch was stored.
    pub(crate) failure: Option<Error>,
}

impl Receipts {
    /// The receipts of events that began at these lines.
    pub(crate) fn new(lines: &[u64], answers: &[Answer], failure: Option<Error>) -> Self {
        let mut text = Vec::new();
        for (line, answer) in lines.iter().zip(answers) {
            match answer {
                Ok(ack) => serde_json::to_writer(&mut text, ack),
                Err(error) => serde_json::to_writer(
                    &mut text,
                    &json!({ "error": error.body(), "line": line }),
                ),
            }
            .expect("a receipt is JSON, and a vector takes it");
            text.push(b'\n');
        }
        Self { lines: text, failure }
    }
}
