//! The payload of an event: a text that proves its own identity.

use std::fmt::Write as _;
use std::time::Duration;

/// One event: `{"seq":7,"sent":1234567,"topic":"t-0001","pad":"…","sum":"0123abcd"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// The event's number in its topic as its publisher counts; starts at 1.
    pub seq: u32,
    /// When the publisher first sent it, since the beginning of the run.
    pub sent: Duration,
    /// The topic it was published to.
    pub topic: &'a str,
}

const SUM: &str = "\",\"sum\":\"";
const SUM_LENGTH: usize = SUM.len() + 8 + 2;

impl<'a> Payload<'a> {
    /// The JSON text, padded to `length` bytes.
    pub fn encode(&self, length: usize) -> String {
        let mut text = String::with_capacity(length.max(96));
        let (seq, sent, topic) = (self.seq, self.sent.as_micros(), self.topic);
        write!(text, r#"{{"seq":{seq},"sent":{sent},"topic":"{topic}","pad":""#)
            .expect("a String takes everything");
        let padding = length.saturating_sub(text.len() + SUM_LENGTH);
        let letters = (b'a'..=b'z').map(char::from).cycle();
        text.extend(letters.skip(seq as usize % 26).take(padding));
        let sum = checksum(text.as_bytes());
        write!(text, "{SUM}{sum:08x}\"}}").expect("a String takes everything");
        text
    }

    /// Reads a text back; `None` when a byte of it is not as it was. Allocates nothing.
    pub fn decode(text: &'a str) -> Option<Payload<'a>> {
        let (covered, sum) = text.split_at_checked(text.len().checked_sub(SUM_LENGTH)?)?;
        let sum = sum.strip_prefix(SUM)?.strip_suffix("\"}")?;
        if u32::from_str_radix(sum, 16).ok()? != checksum(covered.as_bytes()) {
            return None;
        }
        let (seq, rest) = covered.strip_prefix(r#"{"seq":"#)?.split_once(',')?;
        let (sent, rest) = rest.strip_prefix(r#""sent":"#)?.split_once(',')?;
        let (topic, _) = rest.strip_prefix(r#""topic":""#)?.split_once('"')?;
        Some(Payload {
            seq: seq.parse().ok()?,
            sent: Duration::from_micros(sent.parse().ok()?),
            topic,
        })
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Payload;

    const PAYLOAD: Payload<'static> =
        Payload { seq: 31, sent: Duration::from_micros(1_234_567), topic: "t-0007" };

    #[test]
    fn payload_survives_the_round_trip() {
        let text = PAYLOAD.encode(200);
        assert_eq!(text.len(), 200);
        assert_eq!(Payload::decode(&text), Some(PAYLOAD));
        serde_json::from_str::<serde_json::Value>(&text).expect("it is JSON");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let text = PAYLOAD.encode(120);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).expect("still ASCII");
            assert_eq!(Payload::decode(&changed), None, "byte {at}");
        }
        assert_eq!(Payload::decode(&text[1..]), None);
        assert_eq!(Payload::decode(""), None);
    }
}
