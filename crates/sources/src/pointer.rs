//! JSON Pointers (RFC 6901), which find a part of a document and leave its text as it is.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A way to a part of a JSON document; the empty one leads to the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// It does not begin with a slash, or has a `~` that stands for nothing; with the name of the setting.
    pub(crate) fn parse(setting: &str, text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return match text {
                "" => Ok(Self(Vec::new())),
                _ => Err(format!("{setting} = {text:?}; a JSON Pointer begins with a slash")),
            };
        };
        if rest.replace("~0", "").replace("~1", "").contains('~') {
            return Err(format!("{setting} = {text:?}; ~ must be written as ~0, and / as ~1"));
        }
        let tokens = rest.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
        Ok(Self(tokens.collect()))
    }

    /// The part of a document, if there is one.
    pub(crate) fn find<'a>(&self, document: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(document, |value, token| {
            let text = value.get();
            if text.starts_with('[') {
                let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                return items.get(token.parse::<usize>().ok()?).copied();
            }
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            members.get(token).copied()
        })
    }
}

/// The text of a JSON string, or of a number or a truth value; `None` for anything else.
pub(crate) fn scalar(value: &RawValue) -> Option<String> {
    match value.get() {
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        text if text == "null" || text.starts_with(['[', '{']) => None,
        text => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_finds_a_part_with_its_text() {
        let text =
            r#"{"a":[{"n": 1.10},"x"],"":{"/~":12345678901234567890123},"a":[0,{"n": 1.10}]}"#;
        let document: &RawValue = serde_json::from_str(text).unwrap();
        let found = |pointer: &str| {
            Pointer::parse("key", pointer).unwrap().find(document).map(RawValue::get)
        };
        assert_eq!(found("/a/1/n"), Some("1.10"));
        assert_eq!(found("//~1~0"), Some("12345678901234567890123"));
        assert_eq!(found(""), Some(text));
        for none in ["/b", "/a/2", "/a/x", "/a/0/n", "/"] {
            assert_eq!(found(none).is_some(), none == "/", "{none}");
        }
        let error = |text| Pointer::parse("key", text).unwrap_err();
        assert_eq!(error("id"), "key = \"id\"; a JSON Pointer begins with a slash");
        assert_eq!(error("/a~2"), "key = \"/a~2\"; ~ must be written as ~0, and / as ~1");
    }

    #[test]
    fn scalars_have_a_text() {
        let of = |text: &str| scalar(serde_json::from_str(text).unwrap());
        assert_eq!(of("\"a\\u00e9\"").as_deref(), Some("aé"));
        assert_eq!(of("12345678901234567890").as_deref(), Some("12345678901234567890"));
        for none in ["null", "[1]", "{}"] {
            assert_eq!(of(none), None);
        }
    }
}
