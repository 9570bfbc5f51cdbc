//! Messages, and the items that they become.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use event_log::{NewEvent, Topic};
use mqtt_proto::v5::{ErrorV5, Header, PublishProperties};
use mqtt_proto::{Pid, QoS};
use serde_json::Value;

use super::window::{KEYS_MAX, MessageKey};
use crate::template::Template;

/// The rules by which messages become events.
#[derive(Debug)]
pub(super) struct Shape {
    /// The JSON Pointer to a message's key.
    pub(super) key: Option<String>,
    pub(super) topic: Template,
    /// The largest event, in bytes.
    pub(super) bytes_max: usize,
}

/// Most bytes of messages that a session holds.
const HELD_MAX: usize = 64 << 20;
/// Bytes of a packet beside its payload that are held: a topic has up to 64 KiB.
const HEAD_MAX: usize = 128 << 10;
/// The longest beginning of a message that is shown, in bytes.
const EXCERPT_MAX: usize = 4096;

/// A message as it came.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) topic: String,
    /// The payload, or the beginning of one that is larger than an event may be.
    payload: Bytes,
    /// The bytes of the whole payload.
    size: usize,
    /// The identifier to acknowledge it by: that of QoS 1.
    pub(super) pid: Option<Pid>,
    /// True if it was kept for new subscribers.
    pub(super) is_retained: bool,
}

impl Arrival {
    /// Reads a PUBLISH from its header and the first bytes of its body. The codec's own decoder needs the whole packet, and
    /// refuses a payload that is wrongly declared as UTF-8: the topic and the identifier would be lost with it.
    ///
    /// # Errors
    /// The packet is malformed.
    pub(super) fn parse(header: Header, mut body: Bytes) -> Result<Self, String> {
        let total = header.remaining_len as usize - body.len();
        let short = || "a PUBLISH is too short".to_owned();
        let bytes = usize::from(body.try_get_u16().map_err(|_| short())?);
        if body.len() < bytes {
            return Err(short());
        }
        let topic = String::from_utf8(body.split_to(bytes).into());
        let topic = topic.map_err(|_| "the topic of a PUBLISH is not UTF-8".to_owned())?;
        let pid = match header.qos {
            QoS::Level0 => None,
            QoS::Level1 | QoS::Level2 => {
                let pid = body.try_get_u16().map_err(|_| short())?;
                Some(Pid::try_from(pid).map_err(|error| error.to_string())?)
            }
        };
        let mut offset = 0;
        PublishProperties::decode(&body, &mut offset, header.typ)
            .map_err(|error: ErrorV5| format!("a PUBLISH cannot be read: {error}"))?;
        body.advance(offset.min(body.len()));
        let size = total + body.len();
        Ok(Self { topic, payload: body, size, pid, is_retained: header.retain })
    }
}

/// A message that can be an event.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) topic: Topic,
    pub(super) event: NewEvent,
    pub(super) key: Option<MessageKey>,
}

impl Shape {
    /// Most messages that are in flight: as many as a place has keys, and fewer of large ones.
    pub(super) fn in_flight_max(&self) -> u16 {
        let fit = (HELD_MAX / self.bytes_max).clamp(1, KEYS_MAX);
        u16::try_from(fit).expect("KEYS_MAX is below 2^16")
    }

    /// Most bytes of a packet's body that are held.
    pub(super) const fn packet_max(&self) -> usize {
        self.bytes_max + HEAD_MAX
    }

    /// Makes the event of a message.
    ///
    /// # Errors
    /// The reason why it cannot be an event.
    pub(super) fn convert(&self, message: &Arrival) -> Result<Converted, String> {
        if message.size > self.bytes_max {
            let (bytes, max) = (message.size, self.bytes_max);
            return Err(format!("a message has {bytes} bytes; event-bytes-max is {max}"));
        }
        let data = std::str::from_utf8(&message.payload)
            .map_err(|error| format!("the payload is not UTF-8: {error}"))?;
        let key = self.key.as_deref().map(|pointer| key(data, pointer)).transpose()?;
        let key = key.map(|key| MessageKey::new(&message.topic, &key));
        let topic = self
            .topic
            .render(|_topic| Some(Cow::Borrowed(&*message.topic)))
            .map_err(|error| format!("topic {:?} of MQTT: {error}", message.topic))?;
        Ok(Converted { topic, event: NewEvent { data: data.into(), ..NewEvent::default() }, key })
    }
}

impl Arrival {
    /// The beginning of the message, for people.
    pub(super) fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.payload[..self.payload.len().min(EXCERPT_MAX)]).into_owned()
    }
}

fn key(data: &str, pointer: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(data).map_err(|error| {
        format!("there is no key at {pointer:?}: the payload is no JSON: {error}")
    })?;
    match value.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) => Ok(number.to_string()),
        Some(_) => Err(format!("the key at {pointer:?} is neither a text nor a number")),
        None => Err(format!("there is no key at {pointer:?}")),
    }
}

#[cfg(test)]
mod tests {
    use mqtt_proto::v5::{Packet, Publish};
    use mqtt_proto::{QosPid, TopicName};

    use super::*;

    fn shape(topic: &str, key: Option<&str>) -> Shape {
        let topic = Template::parse(topic, &["topic"]).unwrap();
        Shape { key: key.map(ToOwned::to_owned), topic, bytes_max: 100 }
    }

    fn message(topic: &str, payload: &[u8]) -> Arrival {
        let (topic, payload) = (topic.to_owned(), Bytes::copy_from_slice(payload));
        Arrival { topic, size: payload.len(), payload, pid: None, is_retained: false }
    }

    #[test]
    fn messages_become_events_or_are_refused_with_the_reason() {
        let refused = |topic: &str, payload: &[u8], key: Option<&str>| {
            shape("m/{topic}", key).convert(&message(topic, payload)).unwrap_err()
        };
        let copy = shape("m/{topic}", Some("/id")).convert(&message("a/b", b"{\"id\":7}")).unwrap();
        assert_eq!((copy.topic.as_str(), &*copy.event.data), ("m/a/b", "{\"id\":7}"));
        assert_eq!(copy.key, Some(MessageKey::new("a/b", "7")));
        assert!(
            refused("a b", b"x", None)
                .contains("topic \"a b\" of MQTT: a topic's name must not contain ' '")
        );
        assert!(refused("a", b"\xff", None).contains("not UTF-8"));
        assert!(refused("a", &[b'x'; 101], None).contains("has 101 bytes; event-bytes-max is 100"));
        assert!(
            refused("a", b"x", Some("/id")).contains("no key at \"/id\": the payload is no JSON")
        );
        assert_eq!(refused("a", b"{}", Some("/id")), "there is no key at \"/id\"");
        assert!(refused("a", b"{\"id\":{}}", Some("/id")).contains("neither a text nor a number"));
    }

    #[test]
    fn few_large_messages_are_in_flight_or_many_small_ones() {
        let of = |bytes_max| Shape { bytes_max, ..shape("t", None) }.in_flight_max();
        assert_eq!([of(1), of(256 << 10), of(1 << 20), of(64 << 20)], [256, 256, 64, 1]);
    }

    #[test]
    fn the_head_of_a_message_is_read_though_its_payload_is_cut_or_wrongly_declared() {
        let topic = TopicName::try_from("a/b").unwrap();
        let pid = Pid::try_from(7).unwrap();
        let payload = Bytes::from(b"\xff".repeat(300));
        let mut publish = Publish::new(QosPid::Level1(pid), topic, payload);
        publish.properties.payload_is_utf8 = Some(true);
        publish.retain = true;
        let packet = Packet::from(publish).encode().unwrap();
        let header = Header::decode(packet.as_ref()).unwrap();
        let head = packet.as_ref().len() - header.remaining_len as usize;
        for held in [header.remaining_len as usize, 20] {
            let body = Bytes::copy_from_slice(&packet.as_ref()[head..head + held]);
            let message = Arrival::parse(header, body).unwrap();
            assert_eq!((&*message.topic, message.size, message.pid), ("a/b", 300, Some(pid)));
            assert!(message.is_retained);
        }
        for held in [0, 1, 4, 6, 7] {
            let body = Bytes::copy_from_slice(&packet.as_ref()[head..head + held]);
            Arrival::parse(header, body).unwrap_err();
        }
    }
}
