//! The topics and patterns that a subscription asks for.

use event_log::{Part, Pattern, Spaces, Topic};

use crate::error::BadRequest;

/// Topics and patterns, as they come.
#[derive(Debug, Default)]
pub(crate) struct Selectors {
    topics: Vec<Topic>,
    patterns: Vec<Pattern>,
}

impl Selectors {
    /// Adds the text of a topic or of a pattern, which has a wildcard.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), BadRequest> {
        match text.contains('*') {
            true => self.patterns.push(Pattern::new(text)?),
            false => self.topics.push(Topic::new(text)?),
        }
        Ok(())
    }

    /// The parts of the subscription in logs: at least one, with at most `max` topics and patterns.
    pub(crate) fn parts(mut self, max: usize, spaces: &Spaces) -> Result<Vec<Part>, BadRequest> {
        self.topics.sort();
        self.topics.dedup();
        self.patterns.sort();
        self.patterns.dedup();
        match self.topics.len() + self.patterns.len() {
            0 => Err(BadRequest::NoTopic),
            count if count > max => Err(BadRequest::TooManyTopics { count, max }),
            _ => Ok(spaces.parts(self.topics, self.patterns)?),
        }
    }
}
