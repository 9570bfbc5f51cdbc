//! The cursor that a client brings. Some clients bring several, and one of them counts.

use crate::metrics::Resume;

/// The cursors of a request.
#[derive(Debug, Default)]
pub(super) struct Brought {
    header: Option<String>,
    /// The last cursor of the query.
    query: Option<String>,
    /// Set while that cursor consists of positions that name their topics.
    is_named: bool,
}

impl Brought {
    /// Begins with the value of `Last-Event-ID`. Browsers send an id's bytes as they came, so they may be any:
    /// bytes that are not UTF-8 become a cursor that cannot be understood.
    pub(super) fn new(header: Option<&[u8]>) -> Self {
        let header = header.filter(|value| !value.is_empty());
        let header = header.map(|value| String::from_utf8_lossy(value).into_owned());
        Self { header, ..Self::default() }
    }

    /// Takes a cursor of the query. The last counts, because a client that cannot send the header appends a newer
    /// one to a URL that has one. Positions that name their topics are one cursor together.
    pub(super) fn add(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        let is_named = value.contains('@');
        match &mut self.query {
            Some(before) if is_named && self.is_named => {
                before.push(',');
                before.push_str(value);
            }
            query => *query = Some(value.to_owned()),
        }
        self.is_named = is_named;
    }

    /// The cursor that counts: the header's, because some clients repeat a stale query on every reconnect, or
    /// else the query's.
    pub(super) fn cursor(self) -> (Option<String>, Resume) {
        match (self.header, self.query) {
            (Some(header), _) => (Some(header), Resume::Header),
            (None, Some(query)) => (Some(query), Resume::Query),
            (None, None) => (None, Resume::None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(header: Option<&str>, query: &[&str]) -> Option<String> {
        let mut brought = Brought::new(header.map(str::as_bytes));
        query.iter().for_each(|value| brought.add(value));
        brought.cursor().0
    }

    #[test]
    fn the_header_counts_or_else_the_last_of_the_query() {
        assert_eq!(cursor(Some("5-1"), &["6-2"]).as_deref(), Some("5-1"));
        assert_eq!(cursor(Some(""), &["6-2", "7-3"]).as_deref(), Some("7-3"));
        assert_eq!(cursor(None, &["6-2", ""]).as_deref(), Some("6-2"));
        assert_eq!(cursor(None, &[""]), None);
    }

    #[test]
    fn positions_with_names_are_one_cursor() {
        assert_eq!(cursor(None, &["a@5-1", "b@6-2"]).as_deref(), Some("a@5-1,b@6-2"));
        assert_eq!(cursor(None, &["a@5-1", "b@6-2", "2.AAAA"]).as_deref(), Some("2.AAAA"));
        assert_eq!(cursor(None, &["2.AAAA", "a@5-1", "b@6-2"]).as_deref(), Some("a@5-1,b@6-2"));
    }
}
