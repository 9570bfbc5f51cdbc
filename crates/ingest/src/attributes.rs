//! The attributes of a CloudEvent that stand in the headers of its request (CloudEvents, HTTP protocol binding
//! 1.0.2, section 3.1): `ce-id` is the attribute `id`. Every value is text here, because a header does not say
//! if it is a number.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;

use crate::error::{Code, Error};

/// The attributes by their names, decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(BTreeMap<String, String>);

const PREFIX: &str = "ce-";
/// The headers of the attributes that every CloudEvent has.
const REQUIRED: [&str; 4] = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
/// The attribute that is the content type of the data.
const CONTENT_TYPE: &str = "datacontenttype";

impl Attributes {
    /// Returns true if the headers have any attribute that every CloudEvent has. Other names that begin with
    /// `ce-` may have another meaning.
    pub(crate) fn are_in(headers: &HeaderMap) -> bool {
        REQUIRED.iter().any(|name| headers.contains_key(*name))
    }

    /// Reads the attributes in the headers.
    ///
    /// # Errors
    /// A header names no attribute, stands there twice, or has a value that is no text.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let mut attributes = BTreeMap::new();
        for (header, value) in headers {
            let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
            let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            if name.is_empty() || !name.bytes().all(is_name) || name == "data" {
                return Err(bad(format!(
                    "the header {header} names no attribute of a CloudEvent; a name has only a-z and 0-9, and is not data"
                )));
            }
            let text =
                decode(value).map_err(|cause| bad(format!("the header {header} {cause}")))?;
            if attributes.insert(name.to_owned(), text).is_some() {
                return Err(bad(format!("the header {header} is given twice")));
            }
        }
        Ok(Self(attributes))
    }

    /// Reads the attributes of an event in binary mode, whose body is its data.
    ///
    /// # Errors
    /// As for [`Attributes::read`], or a header is missing, or the content type of the data stands in another
    /// header than `Content-Type`.
    pub(crate) fn of_data(headers: &HeaderMap) -> Result<Self, Error> {
        let mut attributes = Self::read(headers)?;
        if let Some(missing) = REQUIRED.iter().find(|name| !headers.contains_key(**name)) {
            let all = REQUIRED.join(", ");
            return Err(bad(format!(
                "the header {missing} is missing; a CloudEvent in binary mode has {all}"
            )));
        }
        if attributes.0.contains_key(CONTENT_TYPE) {
            return Err(bad(
                "the header ce-datacontenttype is given; in binary mode Content-Type says what the data is",
            ));
        }
        if let Some(value) = headers.get(header::CONTENT_TYPE) {
            let value = value.to_str().map_err(|_| bad("Content-Type is not visible ASCII"))?;
            attributes.0.insert(CONTENT_TYPE.to_owned(), value.to_owned());
        }
        Ok(attributes)
    }

    /// Returns the content type of the data, if it is known.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.0.get(CONTENT_TYPE).map(String::as_str)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names and values, in the order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Decodes the value of a header (section 3.1.3.2). The words complete the sentence "the header NAME ...".
///
/// Several SDKs encode nothing: a `%` that begins no escape is a `%`, and bytes outside ASCII are UTF-8.
fn decode(value: &HeaderValue) -> Result<String, String> {
    let value = unquoted(value.as_bytes());
    let text = String::from_utf8(percent_decode(&value).collect()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("is not UTF-8 at byte {at}; send its UTF-8 bytes percent-encoded")
    })?;
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("has the control character {c:?}")),
        None => Ok(text),
    }
}

/// Takes the double quotes off a value that is a quoted string (RFC 9110, section 5.6.4), and the backslashes in
/// it. Any other value is as it is.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return value.to_vec();
    };
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(escaped)) => {
                text.push(*escaped);
                rest.next();
            }
            // The quote ends the string before the end of the value, or the last one is escaped.
            (b'"', _) | (b'\\', None) => return value.to_vec(),
            (byte, _) => text.push(*byte),
        }
    }
    text
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadBody, message)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    const BINARY: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/shop"), ("ce-type", "paid")];
    /// The characters that the standard encodes.
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

    fn headers(of: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn value(value: &str) -> String {
        let attributes = Attributes::read(&headers(&[("Ce-Subject", value)])).unwrap();
        attributes.0["subject"].clone()
    }

    fn refusal(more: &[(&str, &str)], without: &str) -> String {
        let mut headers = headers(&[&BINARY[..], more].concat());
        headers.remove(without);
        Attributes::of_data(&headers).unwrap_err().to_string()
    }

    #[test]
    fn a_value_is_unquoted_and_then_percent_decoded_once() {
        for (header, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro \u{20ac} \u{1f600}"),
            ("%e2%82%ac", "\u{20ac}"),
            ("%41%2541", "A%41"),
            ("\"a b\"", "a b"),
            (r#""a \"b\" \\ %41""#, r#"a "b" \ A"#),
            ("\"\"", ""),
            // Senders that encode nothing.
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("a \"b\" c", "a \"b\" c"),
            ("\"a\" and \"b\"", "\"a\" and \"b\""),
            (r#""a\""#, r#""a\""#),
            ("\"", "\""),
            ("+", "+"),
            ("", ""),
        ] {
            assert_eq!(value(header), text, "{header}");
        }
    }

    #[test]
    fn the_content_type_of_the_data_is_that_of_the_body() {
        let headers = headers(&[&BINARY[..], &[("content-type", "text/xml; charset=x")]].concat());
        let attributes = Attributes::of_data(&headers).unwrap();
        assert_eq!(attributes.content_type(), Some("text/xml; charset=x"));
        assert_eq!(attributes.0.len(), 5);
    }

    #[test]
    fn every_refusal_names_its_cause() {
        insta::assert_snapshot!(
            [
                refusal(&[], "ce-specversion"),
                refusal(&[], "ce-id"),
                refusal(&[], "ce-source"),
                refusal(&[], "ce-type"),
                refusal(&[("ce-id", "2")], ""),
                refusal(&[("ce-my_extension", "x")], ""),
                refusal(&[("ce-", "x")], ""),
                refusal(&[("ce-data", "x")], ""),
                refusal(&[("ce-datacontenttype", "text/plain")], ""),
                refusal(&[("ce-subject", "%C0%A0")], ""),
                refusal(&[("ce-subject", "a%00")], ""),
                refusal(&[("content-type", "caf\u{e9}")], ""),
            ]
            .join("\n")
        );
    }

    proptest! {
        #[test]
        fn any_text_without_control_characters_comes_back(text in "\\PC{0,20}") {
            prop_assume!(!text.chars().any(char::is_control));
            prop_assert_eq!(value(&utf8_percent_encode(&text, ENCODED).to_string()), text);
        }

        #[test]
        fn any_header_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _read = decode(&value);
            }
        }
    }
}
