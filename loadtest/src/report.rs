//! The report of a run: a page with plots, a JSON file and a table on the terminal.

mod comparison;
mod goal;
pub mod histogram;
mod page;
mod plot;
pub mod progress;
mod sheet;
pub mod timeline;

use std::path::Path;

use anyhow::{Context, Result};
pub use comparison::{Cell, Comparison, Line, Quantity, line, median, ratio};
pub use goal::Goal;
pub use plot::{Plot, Tone};
use serde::Serialize;
pub use sheet::{Sheet, SheetRow};

use crate::report::timeline::Mark;

/// One number of a report.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The quantity.
    pub name: String,
    /// The number, as it is shown.
    pub value: String,
    /// True if the number is as it has to be; `None` when nothing is demanded of it.
    pub is_good: Option<bool>,
}

impl Figure {
    /// A number of which nothing is demanded.
    pub fn plain(name: &str, value: impl Into<String>) -> Self {
        Figure { name: name.to_owned(), value: value.into(), is_good: None }
    }

    /// A count that has to be zero.
    pub fn zero(name: &str, count: u64) -> Self {
        Figure { name: name.to_owned(), value: grouped(count), is_good: Some(count == 0) }
    }
}

/// Everything that is told about a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// A description of the run, in one sentence.
    pub summary: String,
    /// The failures; a run without any passed.
    pub failures: Vec<String>,
    /// The counts that decide.
    pub verdict: Vec<Figure>,
    /// Other figures, in groups with a title.
    pub groups: Vec<(String, Vec<Figure>)>,
    /// The faults and other acts, with their times.
    pub marks: Vec<Mark>,
    /// Over time.
    pub plots: Vec<Plot>,
    /// The raw results, for programs.
    pub raw: serde_json::Value,
}

impl Report {
    /// Returns true for a run without failures.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Writes `report.html` and `report.json` into the directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        write_all(directory, [("report.json", json), ("report.html", page::render(self))])
    }

    /// The figures as lines for a terminal.
    pub fn table(&self) -> String {
        let groups = self.groups.iter().map(|(_, figures)| figures);
        let figures = || std::iter::once(&self.verdict).chain(groups.clone());
        let names = figures().flatten().map(|f| f.name.chars().count());
        let values = figures().flatten().map(|f| f.value.chars().count());
        let (name_width, value_width) = (names.max().unwrap_or(0), values.max().unwrap_or(0));
        let mut table = String::new();
        for group in figures() {
            table.push('\n');
            for Figure { name, value, is_good } in group {
                let sign = match is_good {
                    Some(true) => "  ok",
                    Some(false) => "  FAILED",
                    None => "",
                };
                table.push_str(&format!("  {name:name_width$}  {value:>value_width$}{sign}\n"));
            }
        }
        table
    }
}

fn write_all<const N: usize>(directory: &Path, files: [(&str, String); N]) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// `1234567` as `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds with as many digits as matter: `0.42 ms`, `7.3 ms`, `180 ms`, `1.24 s`.
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::{grouped, millis};

    #[test]
    fn numbers_are_readable() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (count, text) in cases {
            assert_eq!(grouped(count), text);
        }
        let cases = [(0.416, "0.42 ms"), (7.31, "7.3 ms"), (180.2, "180 ms"), (1240.0, "1.24 s")];
        for (ms, text) in cases {
            assert_eq!(millis(ms), text);
        }
    }
}
