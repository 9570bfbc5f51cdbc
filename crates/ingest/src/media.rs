//! The form of a request's body, as its headers announce it.

use axum::http::{HeaderMap, header};

use crate::attributes::Attributes;
use crate::error::{Code, Error};

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// The data of one event: any content type that is not one of the others, or no content type.
    Data,
    /// A stream of events, with one JSON object per line.
    Lines,
    /// A stream of server-sent events.
    Sse,
    /// One CloudEvent, as JSON.
    CloudEvent,
    /// The data of one CloudEvent, whose attributes are headers.
    BinaryCloudEvent,
    /// An array of CloudEvents.
    CloudEvents,
}

/// The content types that are not data, and the form of their bodies. `docs/protocol.md` has the same table.
const TYPES: [(&str, Media); 4] = [
    ("application/stream+json", Media::Lines),
    ("text/event-stream", Media::Sse),
    ("application/cloudevents+json", Media::CloudEvent),
    ("application/cloudevents-batch+json", Media::CloudEvents),
];
/// The subtypes of `application` and `text` whose bodies are lines of JSON, without `x-` before them. None is
/// registered, so each library has its own.
const LINES: [&str; 5] = ["ndjson", "jsonl", "jsonlines", "json-lines", "ldjson"];

impl Media {
    /// Returns the form of the body that these headers announce.
    ///
    /// # Errors
    /// The body is compressed, or in a form that ingest cannot read and that would lose its meaning as the data
    /// of one event.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(unsupported(format!(
                "content-encoding {encoding:?} is not supported; send the body uncompressed"
            )));
        }
        let essence = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(essence)
            .unwrap_or_default();
        let listed = TYPES.iter().find(|(name, _)| *name == essence).map(|(_, media)| *media);
        if let Some(media @ (Self::CloudEvent | Self::CloudEvents)) = listed {
            return Ok(media);
        }
        if essence.starts_with("application/cloudevents") {
            return Err(unsupported(format!(
                "content type {essence:?} is not supported; send CloudEvents as \
                 application/cloudevents+json or application/cloudevents-batch+json, or in binary mode"
            )));
        }
        // The content type is then that of the data, whatever it is.
        if Attributes::are_in(headers) {
            return Ok(Self::BinaryCloudEvent);
        }
        match listed {
            Some(media) => Ok(media),
            None if is_lines(&essence) => Ok(Self::Lines),
            None if subtype(&essence) == "json-seq" => Err(unsupported(format!(
                "content type {essence:?} is not supported; send one JSON object a line as \
                 application/x-ndjson"
            ))),
            None => Ok(Self::Data),
        }
    }
}

/// Returns a content type without its parameters, in lower case.
pub(crate) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns true if a body of this content type is JSON (CloudEvents, JSON format, section 3.1.1).
pub(crate) fn is_json(essence: &str) -> bool {
    essence.contains('/') && subtype(essence) == "json"
}

/// `application/vnd.example+jsonl` is lines, too.
fn is_lines(essence: &str) -> bool {
    let is_text = essence.starts_with("application/") || essence.starts_with("text/");
    let name = subtype(essence);
    is_text && LINES.contains(&name.strip_prefix("x-").unwrap_or(name))
}

/// Returns the subtype, or its suffix if it has one.
fn subtype(essence: &str) -> &str {
    essence.rsplit(['/', '+']).next().unwrap_or_default()
}

fn unsupported(message: impl Into<String>) -> Error {
    Error::new(Code::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Result<Media, Code> {
        let headers =
            HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())]);
        Media::of(&headers).map_err(|error| error.code())
    }

    #[test]
    fn parameters_and_case_of_a_content_type_are_ignored() {
        assert_eq!(of("content-type", "Application/X-NDJSON; charset=utf-8"), Ok(Media::Lines));
        assert_eq!(of("content-type", "text/event-stream;charset=UTF-8"), Ok(Media::Sse));
        assert_eq!(of("content-type", "application/cloudevents+json"), Ok(Media::CloudEvent));
        assert_eq!(
            of("content-type", "application/cloudevents-batch+json"),
            Ok(Media::CloudEvents)
        );
    }

    #[test]
    fn every_name_of_lines_of_json_is_lines() {
        for value in [
            "application/ndjson",
            "application/x-ndjson",
            "application/jsonl",
            "application/x-jsonl",
            "application/jsonlines",
            "application/x-jsonlines",
            "application/json-lines",
            "application/x-json-lines",
            "application/x-ldjson",
            "application/stream+json",
            "application/stream+json;charset=UTF-8",
            "application/vnd.example+jsonl",
            "application/vnd.example+x-ndjson; compatible-with=8",
            "text/x-ndjson",
            "text/jsonl",
        ] {
            assert_eq!(of("content-type", value), Ok(Media::Lines), "{value}");
        }
    }

    #[test]
    fn any_other_content_type_is_data() {
        for value in [
            "application/x-www-form-urlencoded",
            "application/json",
            "application/vnd.example+json",
            "application/problem+json; charset=utf-8",
            "image/ndjson",
            "text/plain",
            "nonsense",
            "ndjson",
            "",
        ] {
            assert_eq!(of("content-type", value), Ok(Media::Data), "{value}");
        }
        assert_eq!(Media::of(&HeaderMap::new()), Ok(Media::Data));
    }

    #[test]
    fn attributes_of_a_cloud_event_make_any_other_content_type_that_of_its_data() {
        let of = |content_type: &'static str| {
            let headers = [("ce-id", "1"), ("content-type", content_type)].map(|(name, value)| {
                (header::HeaderName::from_static(name), header::HeaderValue::from_static(value))
            });
            Media::of(&HeaderMap::from_iter(headers)).map_err(|error| error.code())
        };
        for value in ["application/json", "application/x-ndjson", "text/event-stream", "image/png"]
        {
            assert_eq!(of(value), Ok(Media::BinaryCloudEvent), "{value}");
        }
        assert_eq!(of("application/cloudevents+json"), Ok(Media::CloudEvent));
        assert_eq!(of("application/cloudevents-batch+json"), Ok(Media::CloudEvents));
        assert_eq!(of("application/cloudevents+avro"), Err(Code::UnsupportedMediaType));
    }

    #[test]
    fn a_body_that_would_lose_information_as_data_is_refused() {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-type", "application/cloudevents+protobuf"),
            ("content-type", "application/json-seq"),
            ("content-type", "application/geo+json-seq"),
        ] {
            assert_eq!(of(name, value), Err(Code::UnsupportedMediaType), "{name}: {value}");
        }
        assert_eq!(of("content-encoding", "Identity"), Ok(Media::Data));
    }
}
