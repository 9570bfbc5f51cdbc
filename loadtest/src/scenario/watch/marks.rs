//! The acts of others on the cluster, from a file that they write.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::Stage;
use crate::report::timeline::{Mark, MarkKind};

/// A first word that is a number of at least so many digits is a time in milliseconds since 1970.
const TIME_DIGITS: usize = 12;

/// A file of which a growing number of lines is known.
pub(super) struct Marks {
    path: PathBuf,
    began: SystemTime,
    known: usize,
}

impl Marks {
    /// The file, made if there is none. Its present lines belong to an earlier run.
    pub(super) fn open(path: &Path) -> Result<Marks> {
        let opened = std::fs::File::options().create(true).append(true).open(path);
        opened.with_context(|| format!("cannot open {}", path.display()))?;
        let mut marks = Marks { path: path.to_owned(), began: SystemTime::now(), known: 0 };
        marks.known = complete_lines(&marks.read()?).count();
        Ok(marks)
    }

    /// Puts the new lines onto the timeline.
    pub(super) fn carry_over(&mut self, stage: &Stage) -> Result<()> {
        let text = self.read()?;
        for line in complete_lines(&text).skip(self.known) {
            self.known += 1;
            if line.is_empty() {
                continue;
            }
            let (time, label) = parse(line);
            let Some(time) = time else {
                stage.mark(MarkKind::Fault, label);
                continue;
            };
            let at = time.duration_since(self.began).unwrap_or_default().as_secs_f64();
            stage.progress.say(&format!("{at:>7.1} s  {label}"));
            let mark = Mark { at, label: label.to_owned(), kind: MarkKind::Fault };
            let mut timeline = stage.timeline();
            timeline.marks.push(mark);
            timeline.marks.sort_by(|one, other| one.at.total_cmp(&other.at));
        }
        Ok(())
    }

    fn read(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.path);
        text.with_context(|| format!("cannot read {}", self.path.display()))
    }
}

/// Without a last one that is still being written.
fn complete_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::trim)
}

/// The time, if the line begins with one, and the text.
fn parse(line: &str) -> (Option<SystemTime>, &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    match first.parse().ok().filter(|_| first.len() >= TIME_DIGITS) {
        Some(ms) => (SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)), rest.trim()),
        None => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{complete_lines, parse};

    #[test]
    fn line_is_a_time_and_a_text_or_just_a_text() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(parse("1700000000123 kill gw-2"), (Some(time), "kill gw-2"));
        assert_eq!(parse("kill gw-2"), (None, "kill gw-2"));
        assert_eq!(parse("3 pods"), (None, "3 pods"));
    }

    #[test]
    fn half_written_line_waits() {
        assert_eq!(complete_lines("a\nb b\n170").collect::<Vec<_>>(), ["a", "b b"]);
    }
}
