//! The names of answers: topics that nobody can guess.

use aws_lc_rs::rand;
use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event_log::Topic;

/// The beginning of the topics of answers.
pub const PREFIX: &str = "relay/";
/// Random bytes in a name: nobody finds one of them by trying.
const RANDOM_BYTES: usize = 16;

/// A new topic.
pub(crate) fn new_topic() -> Topic {
    let topic = Topic::new(&format!("{PREFIX}{}", random()));
    topic.expect("base64url has no other characters than a topic")
}

/// A name that nobody else has.
///
/// # Panics
/// The operating system gives no random bytes.
pub(crate) fn random() -> String {
    let mut random = [0; RANDOM_BYTES];
    rand::fill(&mut random).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(random)
}

/// The path where an answer can be read again, on any gateway.
pub(crate) fn location(topic: &Topic) -> String {
    format!("/v1/events?topic={topic}&{MANNER}&from=earliest")
}

/// The manner of a stream for clients of LLM APIs: no events but those of the upstream, and no clean end but the
/// end of the answer.
pub(crate) const MANNER: &str = "control=off&close=abort";

/// A name as the value of a header.
pub(crate) fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a topic has only visible characters")
}
