//! A status line while a run runs: overwritten on a terminal, repeated now and then elsewhere.

use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The pause between two lines on stdout where a line cannot be overwritten.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The same on stderr, which is there to be followed. A little less than a second, so that a
/// caller that comes once a second is never skipped.
const FOLLOWED_EVERY: Duration = Duration::from_millis(900);

const ERASE: &str = "\r\x1b[2K";

/// Prints the state of a run.
#[derive(Debug)]
pub struct Progress {
    out: Out,
    is_terminal: bool,
    plain_every: Duration,
    last_plain: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy, Debug)]
enum Out {
    Stdout,
    Stderr,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// On stdout; every 5 s where it is no terminal.
    pub fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let (out, plain_every) = (Out::Stdout, PLAIN_EVERY);
        Progress { out, is_terminal, plain_every, last_plain: Mutex::new(None) }
    }

    /// On stderr; every second where it is no terminal.
    pub fn on_stderr() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let (out, plain_every) = (Out::Stderr, FOLLOWED_EVERY);
        Progress { out, is_terminal, plain_every, last_plain: Mutex::new(None) }
    }

    /// A line that stays.
    pub fn say(&self, text: &str) {
        let erase = if self.is_terminal { ERASE } else { "" };
        self.print(&format!("{erase}{text}\n"));
    }

    /// Prints the table of the run, and the path of its page.
    pub fn report(&self, table: &str, directory: &Path) {
        self.result(table);
        self.result(&format!("report: {}", directory.join("report.html").display()));
    }

    /// Prints a result; on stdout, wherever the status goes.
    fn result(&self, text: &str) {
        if self.is_terminal {
            self.print(ERASE);
        }
        print(Out::Stdout, &format!("{text}\n"));
    }

    /// The state at this moment; replaced by the next one. Skipped if it comes too soon.
    pub fn status(&self, text: &str) {
        if self.is_terminal {
            return self.print(&format!("{ERASE}{text}"));
        }
        let mut last = self.last_plain.lock().expect("nobody panics while printing");
        if last.is_none_or(|at| at.elapsed() >= self.plain_every) {
            *last = Some(Instant::now());
            self.print(&format!("{text}\n"));
        }
    }

    fn print(&self, text: &str) {
        print(self.out, text);
    }
}

/// A reader of the output may be gone, which is no reason to stop.
fn print(out: Out, text: &str) {
    let mut out: Box<dyn std::io::Write> = match out {
        Out::Stdout => Box::new(std::io::stdout().lock()),
        Out::Stderr => Box::new(std::io::stderr().lock()),
    };
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// A bar of 20 cells for a share from 0 to 1.
pub fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * 20.0).round() as usize;
    format!("[{}{}]", "=".repeat(full), " ".repeat(20 - full))
}
