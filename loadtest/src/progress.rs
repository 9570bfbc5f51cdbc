//! A status line while a run runs: overwritten on a terminal, repeated every 5 s elsewhere.

use std::io::{IsTerminal, Write as _};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How often a line is printed where it cannot be overwritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

const ERASE: &str = "\r\x1b[2K";

/// Prints what is going on to stdout.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    last_plain: Mutex<Option<Instant>>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// Looks at what stdout is.
    pub fn new() -> Self {
        Progress { is_terminal: std::io::stdout().is_terminal(), last_plain: Mutex::new(None) }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        let erase = if self.is_terminal { ERASE } else { "" };
        print(&format!("{erase}{text}\n"));
    }

    /// The state at this moment; replaced by the next one. Skipped if it comes too soon.
    pub fn status(&self, text: &str) {
        if self.is_terminal {
            return print(&format!("{ERASE}{text}"));
        }
        let mut last = self.last_plain.lock().expect("nobody panics while printing");
        if last.is_none_or(|at| at.elapsed() >= PLAIN_EVERY) {
            *last = Some(Instant::now());
            print(&format!("{text}\n"));
        }
    }
}

/// Whoever reads our output may be gone; that is no reason to stop.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// A bar of 20 cells for a share from 0 to 1.
pub fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * 20.0).round() as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(20 - full))
}
