//! The agreement of all nodes on the spaces of a store.
//!
//! The spaces decide the log of a topic, so a node with others would write where nobody reads. The first node with
//! spaces leaves them in the store, and every node compares.

use std::time::Duration;

use event_log::{BadSpace, Spaces};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::Failure;
use crate::pace::OnceAMinute;

/// The state of the agreement, as a node knows it.
#[derive(Debug)]
pub(crate) struct Agreement {
    state: watch::Sender<State>,
    warned: OnceAMinute,
}

#[derive(Debug)]
enum State {
    /// The store could not be asked yet, for this reason if one is known.
    Unknown(Option<Failure>),
    Agreed,
    /// The store has other spaces.
    Broken(Failure),
}

impl Default for Agreement {
    fn default() -> Self {
        Self { state: watch::channel(State::Unknown(None)).0, warned: OnceAMinute::default() }
    }
}

impl Agreement {
    /// Refuses to go on while the store has other spaces than this node. Waits for the first look at the store, at most
    /// so long.
    pub(crate) async fn check(&self, most: Duration) -> Result<(), Failure> {
        if let State::Agreed = &*self.state.borrow() {
            return Ok(());
        }
        let mut state = self.state.subscribe();
        let known =
            timeout(most, state.wait_for(|state| !matches!(state, State::Unknown(_)))).await;
        drop(known);
        match &*self.state.borrow() {
            State::Agreed => Ok(()),
            State::Broken(failure) | State::Unknown(Some(failure)) => Err(failure.clone()),
            State::Unknown(None) => Err(Failure::Late(most)),
        }
    }

    /// Returns true once the store could be asked.
    pub(crate) fn is_known(&self) -> bool {
        !matches!(&*self.state.borrow(), State::Unknown(_))
    }

    /// Takes the result of a look at the store. A look that failed changes nothing that is known.
    pub(crate) fn note(&self, found: &Result<(), Failure>) {
        let state = match found {
            Ok(()) => State::Agreed,
            Err(failure @ Failure::Spaces { .. }) => {
                if self.warned.is_due() {
                    tracing::error!(%failure, "this node serves nothing");
                }
                State::Broken(failure.clone())
            }
            Err(_) if self.is_known() => return,
            Err(failure) => State::Unknown(Some(failure.clone())),
        };
        self.state.send_replace(state);
    }
}

/// Begins the text in the store.
const SPACES: &str = "spaces ";

/// The spaces as a text for the store.
pub(crate) fn text(spaces: &Spaces) -> String {
    format!("{SPACES}{}", spaces.prefixes().collect::<Vec<_>>().join(" "))
}

/// Reads such a text.
pub(crate) fn parse(text: &str) -> Result<Spaces, BadSpace> {
    Spaces::new(text.trim_start_matches(SPACES).split(' ').filter(|prefix| !prefix.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_read_back_from_the_store() {
        for prefixes in [&["orders/", "a/b/"][..], &[]] {
            let spaces = Spaces::new(prefixes.iter().copied()).unwrap();
            assert_eq!(parse(&text(&spaces)), Ok(spaces));
        }
        assert!(parse("spaces orders").is_err());
    }
}
