//! The events that a client asks for, log by log. Written after `docs/protocol.md`: the simulation tests the gateway's own
//! selection, so it cannot use it.

use event_log::{Event, LogName};

use super::world::SPACE;

/// The part of a subscription that lies in one log.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) log: LogName,
    /// Topics and patterns, each once.
    texts: Vec<String>,
}

impl Wanted {
    /// The parts of a subscription, in the order of the names of their logs, which is that of a cursor.
    pub(crate) fn all(query: &str) -> Vec<Self> {
        let parameters = query.split('&').filter_map(|parameter| parameter.strip_prefix("topic="));
        let mut texts: Vec<_> = parameters.map(|text| (log_of(text), text.to_owned())).collect();
        texts.sort();
        texts.dedup();
        let of_one_log = texts.chunk_by(|(one, _), (other, _)| one == other);
        let part = |part: &[(LogName, String)]| Self {
            log: part[0].0.clone(),
            texts: part.iter().map(|(_, text)| text.clone()).collect(),
        };
        of_one_log.map(part).collect()
    }

    /// Returns true if the client wants all events of the log.
    pub(crate) fn is_whole(&self) -> bool {
        self.texts.iter().any(|text| text == self.log.as_str())
    }

    /// The name of the part in a control event: the only topic or pattern, or else the log.
    pub(crate) fn name(&self) -> &str {
        match &self.texts[..] {
            [only] => only,
            _ => self.log.as_str(),
        }
    }

    /// Returns true if a topic or a pattern selects the event.
    pub(crate) fn has(&self, event: &Event) -> bool {
        event.topics().any(|topic| self.texts.iter().any(|text| matches(text, topic.as_str())))
    }
}

/// The log of a topic or of a pattern.
pub(crate) fn log_of(text: &str) -> LogName {
    let log = if text.starts_with(SPACE) { format!("{SPACE}**") } else { text.to_owned() };
    LogName::parse(&log).expect("the name of a log")
}

fn matches(text: &str, topic: &str) -> bool {
    let (mut segments, mut names) = (text.split('/'), topic.split('/'));
    loop {
        match (segments.next(), names.next()) {
            (None, None) | (Some("**"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(segment), Some(name)) if segment == name => {}
            _ => return false,
        }
    }
}

#[test]
fn a_part_has_what_its_topics_and_patterns_select() {
    let parts = Wanted::all("topic=s/b/*&topic=t0&topic=s/a&topic=s/a&types=a&from=-3");
    let names: Vec<_> = parts.iter().map(|part| (part.name(), part.is_whole())).collect();
    assert_eq!(names, [("s/**", false), ("t0", true)]);
    for (text, topic, is_match) in [
        ("s/*", "s/a", true),
        ("s/*", "s/b/1", false),
        ("s/**", "s/b/1", true),
        ("s/b/*", "s/b", false),
        ("s/b/*", "s/b/1", true),
        ("s/a", "s/a", true),
    ] {
        assert_eq!(matches(text, topic), is_match, "{text} {topic}");
    }
}
