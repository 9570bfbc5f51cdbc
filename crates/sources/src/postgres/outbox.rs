//! The outbox: tables, and messages in the log, whose rows are events.

use std::borrow::Cow;
use std::cell::Cell;

use event_log::{EventType, NewEvent, Topic};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::postgres::pgoutput::{BadMessage, ColumnValue, ContentBytes, Relation, RowBytes};
use crate::template::Template;

/// The rules for making events.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    pub(crate) topic: Template,
    pub(crate) columns: Columns,
    /// The tables, as schema and name.
    pub(crate) tables: Vec<(String, String)>,
}

/// The names of an outbox's columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Columns {
    id: Option<String>,
    topic: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    data: Option<String>,
    key: Option<String>,
}

/// A table that the server has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownTable {
    pub(crate) name: String,
    layout: Result<Layout, String>,
}

/// The numbers of an outbox's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    id: Option<usize>,
    topic: Option<usize>,
    kind: Option<usize>,
    data: usize,
    key: Option<usize>,
}

/// A row or a message that is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its beginning, for people.
    pub(crate) excerpt: String,
    /// The reason, with the value and the limit.
    pub(crate) reason: String,
}

/// The prefix of the logical messages that are events.
pub(crate) const PREFIX: &str = "tailwater";
/// The fields that a topic's template may have.
pub(crate) const FIELDS: &[&str] = &["topic", "table", "key"];
/// The longest beginning of a refused record, in bytes.
const EXCERPT_MAX: usize = 4096;

/// The content of a logical message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Refusal {
    pub(crate) fn new(bytes: &[u8], reason: String) -> Self {
        let excerpt = &bytes[..bytes.len().min(EXCERPT_MAX)];
        // The bytes of a row have lengths between its texts.
        let is_binary = |c: char| c.is_control() && !c.is_whitespace();
        Self { excerpt: String::from_utf8_lossy(excerpt).replace(is_binary, " "), reason }
    }
}

impl Columns {
    fn layout(&self, relation: &Relation) -> Result<Layout, String> {
        let at = |name: &str| relation.columns.iter().position(|column| column == name);
        let find = |named: &Option<String>, default: &str| match named {
            None => Ok(at(default)),
            Some(name) => match at(name) {
                None => Err(format!("table {} has no column {name}", relation.name)),
                found => Ok(found),
            },
        };
        let data = find(&self.data, "data")?;
        Ok(Layout {
            id: find(&self.id, "id")?,
            topic: find(&self.topic, "topic")?,
            kind: find(&self.kind, "type")?,
            data: data.ok_or_else(|| format!("table {} has no column data", relation.name))?,
            key: find(&self.key, "key")?,
        })
    }
}

impl Outbox {
    /// Learns a table.
    pub(crate) fn table(&self, relation: &Relation) -> KnownTable {
        let Relation { schema, name, .. } = relation;
        let is_outbox = self.tables.iter().any(|(s, n)| (s, n) == (schema, name));
        let layout = if is_outbox {
            self.columns.layout(relation)
        } else {
            let name = format!("{schema}.{name}");
            Err(format!("table {name} is in the publication, but not among tables"))
        };
        KnownTable { name: name.clone(), layout }
    }

    /// Makes an event of a row.
    ///
    /// # Errors
    /// The row is no event, or the bytes are no row.
    pub(crate) fn row(
        &self,
        table: &KnownTable,
        row: RowBytes<'_>,
    ) -> Result<Result<(Topic, NewEvent), Refusal>, BadMessage> {
        let values = row.parse()?;
        let refused = |reason| Refusal::new(row.as_bytes(), reason);
        let layout = table.layout.as_ref().map_err(|reason| refused(reason.clone()));
        let made = layout.and_then(|layout| {
            let of = |index: Option<usize>| index.and_then(|index| values.get(index));
            let data = match of(Some(layout.data)) {
                Some(ColumnValue::Text(data)) => *data,
                _ => row.as_bytes(),
            };
            self.event_of_row(table, layout, of).map_err(|reason| {
                let id = match of(layout.id) {
                    Some(ColumnValue::Text(id)) => String::from_utf8_lossy(id),
                    _ => Cow::Borrowed("without an id"),
                };
                Refusal::new(data, format!("row {id} of {}: {reason}", table.name))
            })
        });
        Ok(made)
    }

    fn event_of_row<'a>(
        &self,
        table: &'a KnownTable,
        layout: &Layout,
        of: impl Fn(Option<usize>) -> Option<&'a ColumnValue<'a>>,
    ) -> Result<(Topic, NewEvent), String> {
        let text = |index, name| match of(index) {
            None | Some(ColumnValue::Null) => Ok(None),
            Some(ColumnValue::Text(bytes)) => {
                let text = std::str::from_utf8(bytes);
                text.map(Some).map_err(|_| format!("its {name} is not UTF-8"))
            }
            Some(ColumnValue::Unchanged | ColumnValue::Binary) => {
                Err(format!("its {name} is not sent as text"))
            }
        };
        let data = text(Some(layout.data), "data")?.ok_or("its data is NULL")?;
        let (topic, key) = (text(layout.topic, "topic")?, text(layout.key, "key")?);
        let topic = self.topic(|field| match field {
            "topic" => topic,
            "key" => key,
            _ => Some(&table.name),
        })?;
        Ok((topic, event(text(layout.kind, "type")?, data)?))
    }

    /// Makes an event of the content of a logical message.
    ///
    /// # Errors
    /// The content is no event, or the bytes are no content.
    pub(crate) fn message(
        &self,
        content: ContentBytes<'_>,
    ) -> Result<Result<(Topic, NewEvent), Refusal>, BadMessage> {
        let content = content.parse()?;
        let made = self.event_of_message(content);
        Ok(made.map_err(|reason| Refusal::new(content, format!("a message: {reason}"))))
    }

    fn event_of_message(&self, content: &[u8]) -> Result<(Topic, NewEvent), String> {
        let content: Content<'_> = serde_json::from_slice(content)
            .map_err(|error| format!("it is not {{\"topic\": …, \"data\": …}}: {error}"))?;
        let topic = self.topic(|field| match field {
            "topic" => content.topic.as_deref(),
            "key" => content.key.as_deref(),
            _ => None,
        })?;
        let raw = content.data.get();
        // A text is the data itself, anything else is data as JSON.
        let text = serde_json::from_str::<Cow<'_, str>>(raw);
        let data = text.unwrap_or(Cow::Borrowed(raw));
        Ok((topic, event(content.kind.as_deref(), &data)?))
    }

    fn topic<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> Result<Topic, String> {
        let missing = Cell::new(None);
        let topic = self.topic.render(|name| {
            let found = field(name);
            if found.is_none() {
                missing.set(FIELDS.iter().find(|field| **field == name));
            }
            found.map(Cow::Borrowed)
        });
        match missing.get() {
            Some(name) => Err(format!("it has no {name}")),
            None => topic.map_err(|error| error.to_string()),
        }
    }
}

fn event(kind: Option<&str>, data: &str) -> Result<NewEvent, String> {
    let kind = kind.map(EventType::new).transpose().map_err(|error| error.to_string())?;
    Ok(NewEvent { kind, data: data.into(), ..NewEvent::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::pgoutput::OutputMessage;

    fn outbox(topic: &str, columns: Columns) -> Outbox {
        let tables = vec![("public".to_owned(), "outbox".to_owned())];
        Outbox { topic: Template::parse(topic, FIELDS).unwrap(), columns, tables }
    }

    fn relation(name: &str, columns: &[&str]) -> Relation {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Relation { number: 5, schema: "public".to_owned(), name: name.to_owned(), columns }
    }

    /// The topic, type and data of a row, or the reason against it.
    fn row(
        outbox: &Outbox,
        relation: &Relation,
        values: &[Option<&str>],
    ) -> Result<(String, Option<String>, String), String> {
        let mut bytes = b"I\0\0\0\x05N".to_vec();
        bytes.extend((values.len() as u16).to_be_bytes());
        for value in values {
            match value {
                None => bytes.push(b'n'),
                Some(text) => {
                    bytes.push(b't');
                    bytes.extend((text.len() as u32).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        let Ok(OutputMessage::Insert { row, .. }) = OutputMessage::parse(&bytes) else { panic!() };
        shown(outbox.row(&outbox.table(relation), row).unwrap())
    }

    fn message(outbox: &Outbox, content: &str) -> Result<(String, Option<String>, String), String> {
        let mut bytes = b"M\x01\0\0\0\0\0\0\0\0tailwater\0".to_vec();
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend(content.as_bytes());
        let Ok(OutputMessage::Logical { content, .. }) = OutputMessage::parse(&bytes) else {
            panic!()
        };
        shown(outbox.message(content).unwrap())
    }

    fn shown(
        made: Result<(Topic, NewEvent), Refusal>,
    ) -> Result<(String, Option<String>, String), String> {
        let made = made.map_err(|refusal| refusal.reason);
        made.map(|(topic, event)| {
            let kind = event.kind.map(|kind| kind.as_str().to_owned());
            (topic.as_str().to_owned(), kind, event.data.into())
        })
    }

    #[test]
    fn a_row_is_an_event() {
        let some = |topic: &str, kind: Option<&str>, data: &str| {
            Ok((topic.to_owned(), kind.map(str::to_owned), data.to_owned()))
        };
        let own = outbox("{topic}", Columns::default());
        let table = relation("outbox", &["id", "topic", "type", "data", "more"]);
        let values = [Some("1"), Some("a"), Some("made"), Some("{}"), None];
        assert_eq!(row(&own, &table, &values), some("a", Some("made"), "{}"));
        let values = [Some("1"), Some("a"), None, Some(""), Some("x")];
        assert_eq!(row(&own, &table, &values), some("a", None, ""));
        let toml = "data = 'payload'\nkey = 'aggregate'\nid = 'n'\ntype = 'kind'";
        let named = outbox("{table}/{key}", toml::from_str(toml).unwrap());
        let other = relation("outbox", &["n", "aggregate", "kind", "payload"]);
        let values = [Some("7"), Some("k"), Some("t"), Some("d")];
        assert_eq!(row(&named, &other, &values), some("outbox/k", Some("t"), "d"));

        for (outbox, relation, values, reason) in [
            (&named, &table, &values[..], "table outbox has no column payload"),
            (&own, &relation("outbox", &["id"]), &values[..1], "table outbox has no column data"),
            (
                &own,
                &relation("other", &["data"]),
                &values[..1],
                "table public.other is in the publication, but not among tables",
            ),
            (
                &own,
                &table,
                &[Some("1"), Some("a"), None, None],
                "row 1 of outbox: its data is NULL",
            ),
            (&own, &table, &[Some("1"), None, None, Some("")], "row 1 of outbox: it has no topic"),
            (
                &named,
                &other,
                &[None, None, None, Some("")],
                "row without an id of outbox: it has no key",
            ),
        ] {
            assert_eq!(row(outbox, relation, values), Err(reason.to_owned()));
        }
        let values = [Some("1"), Some("a b"), None, Some("")];
        assert!(row(&own, &table, &values).unwrap_err().contains("must not contain ' '"));
        let values = [Some("1"), Some("a"), Some("a b"), Some("")];
        assert!(row(&own, &table, &values).unwrap_err().contains("must not contain ' '"));
    }

    #[test]
    fn a_message_is_an_event() {
        let own = outbox("{topic}", Columns::default());
        let some = |data: &str| Ok(("a".to_owned(), None, data.to_owned()));
        assert_eq!(message(&own, r#"{"topic": "a", "data": "x\ny"}"#), some("x\ny"));
        assert_eq!(
            message(&own, r#"{"topic": "a", "data": {"b": [1, 2]}}"#),
            some(r#"{"b": [1, 2]}"#)
        );
        let typed = message(&own, r#"{"topic": "a", "type": "t", "key": "k", "data": 1}"#);
        assert_eq!(typed, Ok(("a".to_owned(), Some("t".to_owned()), "1".to_owned())));
        for (content, reason) in [
            ("", "EOF while parsing"),
            ("[]", "it is not {\"topic\""),
            (r#"{"data": 1}"#, "it has no topic"),
            (r#"{"topic": "a"}"#, "missing field `data`"),
            (r#"{"topic": "a", "data": 1, "Type": "t"}"#, "unknown field `Type`"),
        ] {
            let error = message(&own, content).unwrap_err();
            assert!(error.contains(reason), "{content}: {error}");
        }
        let by_table = outbox("{table}", Columns::default());
        assert_eq!(
            message(&by_table, r#"{"data": 1}"#),
            Err("a message: it has no table".to_owned())
        );
    }
}
