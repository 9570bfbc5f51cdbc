//! Topics that are made of a record's fields.

use std::borrow::Cow;

use event_log::{BadTopic, Topic};

/// A topic's name with fields in braces, as in `orders/{key}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadTemplate {
    #[error("a brace is not closed")]
    Open,
    #[error("{{{0}}} is no field of this source; it has {known}", known = shown(.1))]
    Unknown(String, &'static [&'static str]),
    #[error(transparent)]
    Topic(#[from] BadTopic),
}

fn shown(fields: &[&str]) -> String {
    if fields.is_empty() {
        return "none".to_owned();
    }
    fields.iter().map(|field| format!("{{{field}}}")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Reads a template, which may have these fields.
    ///
    /// # Errors
    /// A brace is not closed, a field is unknown, or the text without fields is no topic.
    pub(crate) fn parse(
        mut text: &str,
        fields: &'static [&'static str],
    ) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        while let Some((before, rest)) = text.split_once('{') {
            let (field, rest) = rest.split_once('}').ok_or(BadTemplate::Open)?;
            if !fields.contains(&field) {
                return Err(BadTemplate::Unknown(field.to_owned(), fields));
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Field(field.to_owned()));
            text = rest;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let template = Self(pieces);
        template.render(|_| Some(Cow::Borrowed("x")))?;
        Ok(template)
    }

    /// The topic, if it has no fields.
    pub(crate) fn fixed(&self) -> Option<Topic> {
        match &*self.0 {
            [Piece::Text(text)] => Topic::new(text).ok(),
            _ => None,
        }
    }

    /// Puts the fields of a record into the template. A field that the record lacks is empty.
    ///
    /// # Errors
    /// The result is no topic.
    pub(crate) fn render<'a>(
        &self,
        field: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> Result<Topic, BadTopic> {
        let pieces = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Cow::Borrowed(text.as_str()),
            Piece::Field(name) => field(name).unwrap_or_default(),
        });
        Topic::new(&pieces.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["key", "topic"];

    #[test]
    fn fields_are_put_in() {
        let template = Template::parse("a/{topic}/{key}", FIELDS).unwrap();
        let values = |field: &str| (field == "topic").then_some(Cow::Borrowed("t"));
        assert_eq!(template.render(values).unwrap().as_str(), "a/t/");
        assert_eq!(template.fixed(), None);
        let fixed = Template::parse("orders", FIELDS).unwrap();
        assert_eq!(fixed.fixed().unwrap().as_str(), "orders");
        let bad = Template::parse("{key}", FIELDS).unwrap().render(|_| Some("a b".into()));
        assert_eq!(bad, Err(BadTopic::BadChar(' ')));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text, fields| Template::parse(text, fields).unwrap_err().to_string();
        assert_eq!(error("{id}", FIELDS), "{id} is no field of this source; it has {key}, {topic}");
        assert_eq!(error("{id}", &[]), "{id} is no field of this source; it has none");
        assert_eq!(error("a{key", FIELDS), "a brace is not closed");
        assert!(error("a b", FIELDS).contains("must not contain ' '"));
        assert!(error("", FIELDS).contains("must not be empty"));
    }
}
