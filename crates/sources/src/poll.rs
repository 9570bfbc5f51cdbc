//! A JSON document that is asked for again and again, and whose new items are events.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event_log::{NewEvent, Topic};
use reqwest::header::{
    ACCEPT, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use crate::copying::Copying;
use crate::http::{self, Feed, HttpSession, Pause, Remote};
use crate::kind::{Kind, Settings};
use crate::place::Place;
use crate::pointer::Pointer;
use crate::print::{Print, Prints};
use crate::source::{Failure, Item, Reading, Source};

/// The table `poll` of a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PollSettings {
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, http::HeaderText>,
    ca_file: Option<PathBuf>,
    #[serde(default = "http::silence_max")]
    silence_max: String,
    #[serde(default = "every")]
    every: String,
    /// The way to the items in the document.
    items: Option<String>,
    /// The way to the key in an item.
    key: Option<String>,
    #[serde(default)]
    newest_first: bool,
}

fn every() -> String {
    "10s".to_owned()
}

/// A document at a URL.
#[derive(Debug, Clone)]
struct Poll {
    remote: Remote,
    topic: Topic,
    every: Duration,
    items: Option<Pointer>,
    key: Option<Pointer>,
    newest_first: bool,
    pause: Pause,
}

/// The bounds of `every`.
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(24)];
/// Most items of a document: a place holds 8 bytes for each.
const ITEMS_MAX: usize = 400;
/// The longest value of a header that is sent back, in bytes as JSON.
const CONDITION_BYTES_MAX: usize = 256;
/// The largest document, in bytes.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

impl Settings for PollSettings {
    /// A document has one order, so it has one topic.
    fn fields(&self) -> &'static [&'static str] {
        &[]
    }

    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String> {
        let remote = Remote::new(&self.url, self.headers, self.ca_file, &self.silence_max)?;
        let pointer =
            |name, text: Option<String>| text.map(|text| Pointer::parse(name, &text)).transpose();
        Ok(Arc::new(Poll {
            remote,
            topic: copying.topic.fixed().ok_or("topic has fields; a document has one topic")?,
            every: http::duration("every", &self.every, EVERY)?,
            items: pointer("items", self.items)?,
            key: pointer("key", self.key)?,
            newest_first: self.newest_first,
            pause: Pause::default(),
        }))
    }
}

impl Kind for Poll {
    fn name(&self) -> &'static str {
        "poll"
    }

    fn source(&self, _part: Option<u32>) -> Box<dyn Source> {
        Box::new(Self { pause: Pause::default(), ..self.clone() })
    }
}

#[async_trait]
impl Source for Poll {
    async fn open(&mut self, after: Option<&Place>) -> Result<Box<dyn Reading>, Failure> {
        self.pause.over().await?;
        let session = self.remote.connect().await?;
        let (source, mut known) = (self.clone(), Known::up_to(after));
        Feed::start(|out| async move {
            loop {
                let silence_max = source.remote.silence_max;
                let asked = timeout(silence_max, source.ask(&session, &known)).await;
                let late = || Failure::Away("the document does not come to its end".to_owned());
                let read = match asked.map_err(|_| late()).flatten() {
                    Ok(None) => Ok(Vec::new()),
                    Ok(Some(document)) => source.read(&document, &mut known),
                    Err(failure) => Err(failure),
                };
                match read {
                    Ok(items) => {
                        out.connected().await;
                        out.put(items).await;
                    }
                    Err(failure) => return failure,
                }
                sleep(source.every).await;
            }
        })
        .await
    }
}

/// A document with the conditions for the next request.
struct Document {
    text: Vec<u8>,
    etag: String,
    modified: String,
}

/// The items that are known, and the number of all events so far.
#[derive(Debug, Clone, Default)]
struct Known {
    copied: u64,
    /// Documents since the last event.
    passed: u64,
    kept: Kept,
    /// The conditions of the last document, which need not be that of the last event.
    etag: String,
    modified: String,
}

/// The text of a place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Of the document that has the last event, if there is no event after it in this document.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    etag: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    modified: String,
    /// The keys of the items of this document, up to the last event.
    #[serde(default, skip_serializing_if = "Prints::is_empty")]
    keys: Prints,
}

impl Known {
    fn up_to(place: Option<&Place>) -> Self {
        let Some(place) = place else { return Self::default() };
        let kept: Kept = serde_json::from_str(&place.text).unwrap_or_default();
        let (etag, modified) = (kept.etag.clone(), kept.modified.clone());
        Self { copied: place.major, passed: place.minor, kept, etag, modified }
    }

    fn place(&self) -> Place {
        let text = serde_json::to_string(&self.kept).expect("texts are JSON");
        Place { era: 0, major: self.copied, minor: self.passed, text }
    }
}

/// An item of a document.
struct Found<'a> {
    key: Print,
    value: &'a RawValue,
    fault: Option<String>,
}

impl Poll {
    /// Asks for the document; `None` if it has not changed.
    async fn ask(&self, session: &HttpSession, known: &Known) -> Result<Option<Document>, Failure> {
        let mut own =
            HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        for (name, value) in [(IF_NONE_MATCH, &known.etag), (IF_MODIFIED_SINCE, &known.modified)] {
            if !value.is_empty()
                && let Ok(value) = HeaderValue::from_bytes(value.as_bytes())
            {
                own.insert(name, value);
            }
        }
        let mut response = session.get(&own, None, &self.pause).await?;
        if matches!(response.status(), StatusCode::NOT_MODIFIED | StatusCode::NO_CONTENT) {
            return Ok(None);
        }
        let (etag, modified) = (condition(&response, ETAG), condition(&response, LAST_MODIFIED));
        let mut text = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| session.failure(error))? {
            if text.len() + piece.len() > DOCUMENT_BYTES_MAX {
                let limit = DOCUMENT_BYTES_MAX;
                return Err(Failure::Refused(format!("the document has more than {limit} bytes")));
            }
            text.extend_from_slice(&piece);
        }
        Ok(Some(Document { text, etag, modified }))
    }

    /// The items that are new in a document, in their order.
    fn read(&self, document: &Document, known: &mut Known) -> Result<Vec<Item>, Failure> {
        let parsed = serde_json::from_slice(&document.text);
        let parsed = parsed.map_err(|error| Failure::Away(format!("the document: {error}")))?;
        let mut found = self.found(parsed)?;
        if self.newest_first {
            found.reverse();
        }
        let mut keys = HashSet::new();
        found.retain(|item| keys.insert(item.key));
        if found.len() > ITEMS_MAX {
            let count = found.len();
            let text = format!("the document has {count} items; the limit is {ITEMS_MAX}");
            return Err(Failure::Refused(text));
        }
        let before: HashSet<_> = known.kept.keys.iter().collect();
        found.retain(|item| !before.contains(&item.key));
        (known.etag, known.modified) = (document.etag.clone(), document.modified.clone());
        if found.is_empty() {
            known.passed += 1;
            return Ok(vec![Item::Passed(known.place())]);
        }
        // An item that has gone from the document needs no memory any more.
        known.kept.keys = known.kept.keys.iter().filter(|key| keys.contains(key)).collect();
        let count = found.len();
        let items = found.into_iter().zip(1..).map(|(item, n)| {
            known.copied += 1;
            known.passed = 0;
            known.kept.keys.add(item.key, ITEMS_MAX as u64);
            // Only after its last event a document needs not be read again.
            let is_last = n == count;
            known.kept.etag = if is_last { document.etag.clone() } else { String::new() };
            known.kept.modified = if is_last { document.modified.clone() } else { String::new() };
            let (place, data) = (known.place(), item.value.get());
            match item.fault {
                None => {
                    let event = NewEvent { data: data.into(), ..NewEvent::default() };
                    Item::Event { topic: self.topic.clone(), event, place }
                }
                Some(reason) => Item::Bad { excerpt: data.to_owned(), reason, place },
            }
        });
        Ok(items.collect())
    }

    fn found<'a>(&self, document: &'a RawValue) -> Result<Vec<Found<'a>>, Failure> {
        let items = match &self.items {
            None => vec![document],
            Some(pointer) => {
                let array = pointer.find(document).map(RawValue::get);
                let items = array.and_then(|array| serde_json::from_str(array).ok());
                let none = "items leads to no array in the document".to_owned();
                items.ok_or(Failure::Refused(none))?
            }
        };
        let found = items.into_iter().map(|value| {
            let key = self.key.as_ref().map(|pointer| pointer.find(value));
            let fault = matches!(key, Some(None)).then(|| "an item has no key".to_owned());
            // The order of members and white space count for nothing.
            let text = key.flatten().unwrap_or(value).get();
            let plain: Result<serde_json::Value, _> = serde_json::from_str(text);
            let plain = plain.map_or_else(|_| text.to_owned(), |value| value.to_string());
            Found { key: Print::of(&[&plain]), value, fault }
        });
        Ok(found.collect())
    }
}

/// The value of a header that goes back with the next request. A long one does not.
fn condition(response: &Response, name: HeaderName) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    let value = value.filter(|value| {
        value.len() + value.matches(['"', '\\', '\t']).count() <= CONDITION_BYTES_MAX
    });
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
