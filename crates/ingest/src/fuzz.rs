//! Properties of this crate's parsers, as functions of any bytes, for the package `fuzz`. A function
//! panics if its property does not hold.

use std::collections::BTreeMap;

use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use event_log::{Append, Topic};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::attributes::Attributes;
use crate::decode::{Decode, Item};
use crate::error::{Error, MESSAGE_BYTES_MAX};
use crate::head::RequestHead;
use crate::media::{self, Media};
use crate::ndjson::NdjsonDecoder;
use crate::sse::{Parser, SseDecoder};
use crate::{cloudevents, json};

/// The largest data of an event here, in bytes: small, so that the fuzzer finds the limit.
const DATA_BYTES_MAX: usize = 64;

/// The longest JSON escape of one byte.
const ESCAPED_BYTES: usize = 6;
/// The longest line of JSON with such data, in bytes: six for each byte, and 4 KiB for the rest.
const JSON_LINE_BYTES_MAX: usize = ESCAPED_BYTES * DATA_BYTES_MAX + 4096;
/// The longest line of server-sent events, in bytes: that of a type.
const SSE_LINE_BYTES_MAX: usize = 128 + 16;

/// Decodes lines of JSON. Any pieces of a body give the same events as the whole body.
///
/// The first byte says where the body is cut.
pub fn ndjson(bytes: &[u8]) {
    let decoder = || NdjsonDecoder::new(head(Media::Lines, None), DATA_BYTES_MAX);
    any_pieces_are_the_same(bytes, decoder, JSON_LINE_BYTES_MAX);
}

/// Decodes server-sent events. Any pieces of a body give the same events as the whole body, and the
/// parser of clients finds the same events.
///
/// The first byte says where the body is cut.
pub fn sse(bytes: &[u8]) {
    let decoder = || {
        let head = head(Media::Sse, Some("t"));
        SseDecoder::new(topic("t"), head, DATA_BYTES_MAX)
    };
    any_pieces_are_the_same(bytes, decoder, SSE_LINE_BYTES_MAX + DATA_BYTES_MAX);

    let Some((_, body)) = bytes.split_first() else { return };
    let mut parser = Parser::new(body.len());
    parser.push(Bytes::copy_from_slice(body));
    let ours: Vec<_> = std::iter::from_fn(|| parser.take()).collect();
    let mut theirs = Vec::new();
    let mut client = sse::Parser::default();
    client.feed(body, &mut |event| theirs.push(event));
    assert_eq!(parser.finish().is_some(), client.finish().is_some(), "both find the same end");
    assert_eq!(ours.len(), theirs.len(), "clients find as many events");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        // A replacement character is longer than the byte that it replaces, and may pass the limit.
        if let Ok(data) = &ours.data {
            assert_eq!(data, &theirs.data);
        }
        if let Ok(kind) = &ours.kind {
            let kind = kind.as_ref().map_or("message", |kind| kind.as_str());
            assert_eq!(kind, theirs.event_type());
        }
    }
}

/// Decodes a CloudEvent, whose data is the same JSON with fewer bytes.
pub fn cloudevent(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for query in [None, Some("t")] {
        let decoded = cloudevents::one(text, &head(Media::CloudEvent, query), DATA_BYTES_MAX * 8);
        is_within_limits(&decoded, DATA_BYTES_MAX * 8);
        if let Ok(append) = decoded {
            // A number may be too large for a value; its text is kept.
            let value = |text: &str| serde_json::from_str::<Value>(text).ok();
            assert_eq!(value(&append.event.data), value(text));
            assert!(append.event.data.len() <= text.len() && append.key.is_some());
        }
    }
}

/// Decodes a CloudEvent in binary mode: lines of headers, `name:value`, then an empty line and the data. The
/// envelope has every attribute and every byte of the data, and is the same event in structured mode.
pub fn cloudevent_binary(bytes: &[u8]) {
    let mut request = Request::builder();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        request = request.header(&line[..colon], &line[colon + 1..]);
    }
    let Ok(request) = request.body(()) else { return };
    let attributes = match Attributes::of_data(request.headers()) {
        Ok(attributes) => attributes,
        Err(error) => return is_short(&error),
    };
    let max = 2 * bytes.len() * ESCAPED_BYTES + DATA_BYTES_MAX;
    let names = RequestHead { attributes, ..head(Media::BinaryCloudEvent, Some("t")) };
    let decoded = cloudevents::binary(rest.to_vec(), &names, max);
    is_within_limits(&decoded, max);
    let Ok(append) = decoded else { return };
    let envelope: BTreeMap<String, &RawValue> =
        serde_json::from_str(&append.event.data).expect("an envelope is a JSON object");
    let text = |name: &str| serde_json::from_str::<String>(envelope[name].get()).expect("a string");
    for (name, value) in names.attributes.iter() {
        assert_eq!(text(name), value, "{name}");
    }
    let content_type = names.attributes.content_type();
    let is_json = content_type.is_none_or(|of| media::is_json(&media::essence(of)));
    if envelope.contains_key("data_base64") {
        assert_eq!(BASE64.decode(text("data_base64")).as_deref(), Ok(rest));
    } else if !envelope.contains_key("data") {
        assert!(rest.is_empty());
    } else if is_json {
        let json = str::from_utf8(rest).expect("JSON is UTF-8");
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        assert_eq!(*json::compact(json), *envelope["data"].get());
    } else {
        assert_eq!(text("data").as_bytes(), rest);
    }
    let structured = RequestHead { media: Media::CloudEvent, ..names };
    let again = cloudevents::one(&append.event.data, &structured, max);
    assert_eq!(shown(&again), shown(&Ok(append)));
}

/// Decodes a batch of CloudEvents, each as if it were alone.
pub fn cloudevents(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let head = head(Media::CloudEvents, None);
    let batch = cloudevents::batch(text, &head, DATA_BYTES_MAX * 8);
    let Ok(batch) = batch else { return };
    let alone: Vec<&RawValue> = serde_json::from_str(text).expect("a batch is a JSON array");
    assert_eq!(batch.len(), alone.len());
    for (decoded, alone) in batch.iter().zip(alone) {
        is_within_limits(decoded, DATA_BYTES_MAX * 8);
        let alone = cloudevents::one(alone.get(), &head, DATA_BYTES_MAX * 8);
        assert_eq!(shown(decoded), shown(&alone));
    }
}

/// Parses the query of the first line with the headers of the other lines, `name:value`.
pub fn request(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut request = Request::builder().uri(lines.next().unwrap_or_default());
    for line in lines {
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            request = request.header(&line[..colon], &line[colon + 1..]);
        }
    }
    let Ok(request) = request.body(()) else { return };
    match RequestHead::parse(&request.into_parts().0) {
        Ok(head) => {
            let names_topics = matches!(
                head.media,
                Media::Lines | Media::CloudEvent | Media::BinaryCloudEvent | Media::CloudEvents
            );
            assert!(head.topic.is_some() || names_topics, "{head:?} has no topic");
        }
        Err(error) => is_short(&error),
    }
}

/// Compares a body in pieces with the whole one. Between two pieces a decoder holds at most twice
/// `held_max` bytes, because a buffer doubles.
fn any_pieces_are_the_same<D: Decode>(bytes: &[u8], decoder: impl Fn() -> D, held_max: usize) {
    let Some((&first, body)) = bytes.split_first() else { return };
    let whole = items(decoder(), [body], held_max);
    whole.iter().for_each(|item| is_within_limits(&item.event, DATA_BYTES_MAX));
    let size = 1 + usize::from(first) % 7;
    let (start, rest) = body.split_at(body.len().min(usize::from(first)));
    for pieces in
        [items(decoder(), [start, rest], held_max), items(decoder(), body.chunks(size), held_max)]
    {
        let shown = |items: &[Item]| -> Vec<_> {
            items.iter().map(|item| (item.line, shown(&item.event))).collect()
        };
        assert_eq!(shown(&pieces), shown(&whole));
    }
}

fn items<'a>(
    mut decoder: impl Decode,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    held_max: usize,
) -> Vec<Item> {
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        items.extend(std::iter::from_fn(|| decoder.take()));
        assert!(decoder.bytes() <= 2 * held_max, "{} bytes are held", decoder.bytes());
    }
    items.extend(decoder.finish());
    items
}

fn is_within_limits(decoded: &Result<Append, Error>, max: usize) {
    match decoded {
        Ok(append) => assert!(append.event.data.len() <= max, "{append:?}"),
        Err(error) => is_short(error),
    }
}

fn is_short(error: &Error) {
    let max = MESSAGE_BYTES_MAX + '\u{2026}'.len_utf8();
    assert!(error.to_string().len() <= max, "{error}");
}

fn shown(decoded: &Result<Append, Error>) -> String {
    format!("{decoded:?}")
}

fn head(media: Media, query: Option<&str>) -> RequestHead {
    RequestHead {
        media,
        topic: query.map(topic),
        kind: None,
        end: false,
        on_break: None,
        key: None,
        trace: None,
        attributes: Attributes::default(),
        expects_event: false,
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a name of one letter")
}
