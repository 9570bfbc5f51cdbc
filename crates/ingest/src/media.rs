//! The form of a request's body, as its headers announce it.

use axum::http::{HeaderMap, header};

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
    /// One CloudEvent.
    CloudEvent,
    /// An array of CloudEvents.
    CloudEvents,
}

impl Media {
    /// Returns the form of the body that these headers announce.
    ///
    /// # Errors
    /// The body is compressed, or is a form of CloudEvents other than structured JSON. As plain data such a
    /// CloudEvent would lose its attributes.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Error> {
        if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(unsupported(format!(
                "content-encoding {encoding:?} is not supported; send the body uncompressed"
            )));
        }
        if headers.contains_key("ce-specversion") {
            return Err(unsupported(
                "CloudEvents in binary mode (ce- headers) are not supported; send \
                 application/cloudevents+json",
            ));
        }
        let essence = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase());
        match essence.as_deref().unwrap_or_default() {
            "application/x-ndjson" => Ok(Self::Lines),
            "text/event-stream" => Ok(Self::Sse),
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            other if other.starts_with("application/cloudevents") => Err(unsupported(format!(
                "content type {other:?} is not supported; send CloudEvents as \
                 application/cloudevents+json or application/cloudevents-batch+json"
            ))),
            _ => Ok(Self::Data),
        }
    }
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
    fn any_other_content_type_is_data() {
        for value in ["application/x-www-form-urlencoded", "text/plain", "nonsense", ""] {
            assert_eq!(of("content-type", value), Ok(Media::Data), "{value}");
        }
        assert_eq!(Media::of(&HeaderMap::new()), Ok(Media::Data));
    }

    #[test]
    fn a_body_that_would_lose_information_as_data_is_refused() {
        for (name, value) in [
            ("content-encoding", "gzip"),
            ("content-type", "application/cloudevents+protobuf"),
            ("ce-specversion", "1.0"),
        ] {
            assert_eq!(of(name, value), Err(Code::UnsupportedMediaType), "{name}: {value}");
        }
        assert_eq!(of("content-encoding", "Identity"), Ok(Media::Data));
    }
}
