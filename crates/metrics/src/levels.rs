//! Which levels are logged: a filter that can be changed while the process runs.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, ParseError};
use tracing_subscriber::reload;

/// The filter of the logs. Cheap to clone; clones are one filter.
#[derive(Debug, Clone)]
pub struct Levels {
    filter: reload::Handle<EnvFilter, Registry>,
    text: Arc<Mutex<String>>,
}

/// The text is no filter.
#[derive(Debug, thiserror::Error)]
pub enum BadLevels {
    /// A word by itself is meant as a level.
    #[error(
        "log levels {levels:?}: {word:?} is no level; there are off, error, warn, info, debug and trace, and TARGET=LEVEL"
    )]
    Word {
        /// What was given.
        levels: String,
        /// The word.
        word: String,
    },
    /// Something else is wrong.
    #[error("log levels {levels:?}: {fault}")]
    Directive {
        /// What was given.
        levels: String,
        /// What is wrong with it; not a source, because it tells its own by itself.
        fault: ParseError,
    },
}

impl Levels {
    /// A filter for logs, and what changes it.
    pub(crate) fn new(text: &str) -> Result<(Self, reload::Layer<EnvFilter, Registry>), BadLevels> {
        let (layer, filter) = reload::Layer::new(parse(text)?);
        Ok((Self { filter, text: Arc::new(Mutex::new(text.to_owned())) }, layer))
    }

    /// What is logged now, as it was given.
    #[must_use]
    pub fn get(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs these levels from now on.
    ///
    /// # Errors
    /// The text is no filter; what was logged goes on.
    pub fn set(&self, text: &str) -> Result<(), BadLevels> {
        let filter = parse(text)?;
        let mut current = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the change, which may silence it.
        tracing::info!(from = *current, to = text, "log levels changed");
        // It fails where the logs are gone, and with them whoever could be told.
        let _changed = self.filter.reload(filter);
        text.clone_into(&mut current);
        Ok(())
    }
}

/// Takes `debug`, or `gateway=debug,info`. A word that is no level would mean a target, and silence all
/// others: somebody's typing error, so it is refused.
pub(crate) fn parse(text: &str) -> Result<EnvFilter, BadLevels> {
    let levels = text.to_owned();
    // Nothing at all would parse, as error.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let is_plain = |word: &str| !word.contains(['=', '[']);
    match text.split(',').find(|word| is_plain(word) && !is_level(word.trim())) {
        Some(word) => Err(BadLevels::Word { levels, word: word.to_owned() }),
        None => EnvFilter::try_new(text).map_err(|fault| BadLevels::Directive { levels, fault }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_targets_with_levels() {
        for good in ["info", "off", "gateway=debug,info", "tailwater::connection=off, warn"] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for (bad, named) in [
            ("", "\"\" is no level"),
            ("inof", "\"inof\" is no level"),
            ("gateway,info", "\"gateway\" is no level"),
            ("gateway=loud", "log levels \"gateway=loud\""),
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(message.contains(named), "{message}");
        }
    }
}
