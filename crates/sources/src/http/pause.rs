//! A pause that a server asks for before the next request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::source::Failure;

/// The moment before which a source is not asked again. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pause(Arc<Mutex<Option<Instant>>>);

/// The longest pause that a server can ask for.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// The longest wait within one call: an opening must end while its relay still leads.
const WAIT_MAX: Duration = Duration::from_secs(3);

impl Pause {
    /// Sets the pause, up to [`PAUSE_MAX`] from now.
    pub(crate) fn ask(&self, wait: Duration) {
        let until = Instant::now() + wait.min(PAUSE_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Waits for the end of the pause.
    ///
    /// # Errors
    /// The end is more than [`WAIT_MAX`] away. The copier tries again.
    pub(crate) async fn over(&self) -> Result<(), Failure> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = until else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        sleep_until(until.min(Instant::now() + WAIT_MAX)).await;
        if left > WAIT_MAX {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
            return Err(Failure::Away(format!("the server has asked to come back in {left}")));
        }
        Ok(())
    }
}
