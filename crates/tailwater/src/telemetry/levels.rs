//! The levels of the log, which can be changed while the process runs.
//!
//! Targets and levels only: filters by span or field would need a regular-expression engine.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::{Registry, reload};

/// The filter as a part of the subscriber.
pub(super) type LevelsLayer = reload::Layer<Targets, Registry>;

/// The log levels of this process. Cheap to clone; all clones share the same levels.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    filter: reload::Handle<Targets, Registry>,
    text: Arc<Mutex<String>>,
}

/// The text does not parse as log levels.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadLevels {
    #[error(
        "log levels {levels:?}: {word:?} is not a level; use off, error, warn, info, debug, trace or \
         TARGET=LEVEL"
    )]
    Word { levels: String, word: String },
    /// The fault is not a `source`, because its own text is part of this message.
    #[error("log levels {levels:?}: {fault}")]
    Directive { levels: String, fault: ParseError },
}

impl Levels {
    /// Returns the levels and the filter that applies them.
    pub(super) fn new(text: &str) -> Result<(Self, LevelsLayer), BadLevels> {
        let (layer, filter) = reload::Layer::new(parse(text)?);
        Ok((Self { filter, text: Arc::new(Mutex::new(text.to_owned())) }, layer))
    }

    /// Returns the current levels as they were given.
    pub(crate) fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the levels. If the text does not parse, they stay as they are.
    pub(crate) fn set(&self, text: &str) -> Result<(), BadLevels> {
        let filter = parse(text)?;
        let mut current = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        // Logged before the change, because the new levels may silence it.
        tracing::info!(from = *current, to = text, "log levels changed");
        // Fails only if the subscriber is gone, and then there is no log to report to.
        let _changed = self.filter.reload(filter);
        text.clone_into(&mut current);
        Ok(())
    }
}

/// The client of Kafka, which repeats a warning several times a second when a broker has forgotten its fetch session.
/// Failures that matter reach the copier. Its warnings are logged where a level names it.
const REPEATING: &str = "krafka";

/// Parses `debug`, or `gateway=debug,info`.
///
/// `tracing` reads a word that is not a level as a target, and would silence every other target. Such
/// a word is a typing error, so it is refused.
pub(super) fn parse(text: &str) -> Result<Targets, BadLevels> {
    // The empty word would parse, as `error`.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let words = || text.split(',').map(str::trim);
    // `Targets` would take a filter by span as a part of the target's name.
    let is_good = |word: &str| !word.contains('[') && (word.contains('=') || is_level(word));
    if let Some(word) = words().find(|word| !is_good(word)) {
        return Err(BadLevels::Word { levels: text.to_owned(), word: word.to_owned() });
    }
    let trimmed: Vec<_> = words().collect();
    let levels: Targets = trimmed
        .join(",")
        .parse()
        .map_err(|fault| BadLevels::Directive { levels: text.to_owned(), fault })?;
    if words().any(|word| word.starts_with(REPEATING)) {
        return Ok(levels);
    }
    let general = levels.default_level().unwrap_or(LevelFilter::OFF);
    Ok(levels.with_target(REPEATING, general.min(LevelFilter::ERROR)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_apply_to_their_targets_and_to_all_others() {
        let levels = parse("gateway=debug, tailwater::connection=off, warn").unwrap();
        assert!(levels.would_enable("gateway::handler", &Level::DEBUG));
        assert!(!levels.would_enable("tailwater::connection", &Level::ERROR));
        assert!(levels.would_enable("ingest", &Level::WARN));
        assert!(!levels.would_enable("ingest", &Level::INFO));
        assert!(!parse("off").unwrap().would_enable("gateway", &Level::ERROR));
    }

    #[test]
    fn a_library_that_repeats_itself_is_heard_when_it_is_named() {
        for (text, level, is_heard) in [
            ("info", Level::WARN, false),
            ("debug", Level::ERROR, true),
            ("off", Level::ERROR, false),
            ("krafka=warn,info", Level::WARN, true),
        ] {
            let levels = parse(text).unwrap();
            assert_eq!(levels.would_enable("krafka::consumer", &level), is_heard, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_a_filter_is_refused_by_name() {
        for (bad, named) in [
            ("", "\"\" is not a level"),
            ("inof", "\"inof\" is not a level"),
            ("gateway,info", "\"gateway\" is not a level"),
            ("gateway[publish]=debug", "\"gateway[publish]=debug\" is not a level"),
            ("gateway=loud", "log levels \"gateway=loud\""),
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
