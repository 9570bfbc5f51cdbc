//! Several servers side by side: a table that Markdown takes, and bars for each quantity.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use super::page::{STYLE, escaped, tile};
use super::{Figure, Goal, goal, write_all};

/// The measurements of several servers.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The scenario's name.
    pub scenario: String,
    /// A description of the run, in a few sentences.
    pub summary: String,
    /// The failures; a run without any passed.
    pub failures: Vec<String>,
    /// The figures that matter most.
    pub verdict: Vec<Figure>,
    /// The goals that the run could measure. None of them decides the exit code.
    pub goals: Vec<Goal>,
    /// The servers.
    pub columns: Vec<String>,
    /// A line a quantity.
    pub lines: Vec<Line>,
    /// The raw results, for programs.
    pub raw: serde_json::Value,
}

/// One quantity of all servers.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The name of the quantity, with its unit.
    pub name: String,
    /// Decimals.
    pub digits: usize,
    /// A cell a column; `None` where it was not measured.
    pub cells: Vec<Option<Cell>>,
}

/// One quantity of one server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cell {
    /// The median of all rounds.
    pub value: f64,
    /// The median of its ratios to the first server's in the same round.
    pub ratio: Option<f64>,
}

/// A quantity of a round: its name with its unit, its decimals, and its field.
pub type Quantity<M> = (&'static str, usize, fn(&M) -> Option<f64>);

impl Comparison {
    /// Compares the rounds of each column, in which so many events were lost and repeated: there
    /// may be none.
    pub fn of<M: Serialize>(
        scenario: &str,
        summary: String,
        rounds: &[(String, &[M])],
        quantities: &[Quantity<M>],
        (lost, repeated): (u64, u64),
    ) -> Self {
        let failure = format!("{lost} events lost, {repeated} repeated");
        let columns: Vec<&[M]> = rounds.iter().map(|(_, all)| *all).collect();
        let line = |(name, digits, read): &Quantity<M>| line(name, *digits, &columns, read);
        let raw: Vec<_> =
            rounds.iter().map(|(name, all)| json!({ "column": name, "rounds": all })).collect();
        Self {
            scenario: scenario.to_owned(),
            summary,
            failures: (lost + repeated > 0).then_some(failure).into_iter().collect(),
            verdict: vec![Figure::zero("lost", lost), Figure::zero("repeated", repeated)],
            goals: Vec::new(),
            columns: rounds.iter().map(|(name, _)| name.clone()).collect(),
            lines: quantities.iter().filter_map(line).collect(),
            raw: json!(raw),
        }
    }

    /// Writes `report.html`, `report.json` and `report.md` into the directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let markdown = format!("{}\n\n{}\n{}", self.summary, self.table(), self.figures());
        let json = serde_json::to_string_pretty(self)?;
        let files = [("report.html", self.page()), ("report.json", json), ("report.md", markdown)];
        write_all(directory, files)
    }

    /// The table, for a terminal and for Markdown. The longer side goes down: a row for each server
    /// if there are more servers than quantities.
    pub fn table(&self) -> String {
        let head = std::iter::once(String::new()).chain(self.columns.iter().cloned()).collect();
        let lines = self.lines.iter().map(|line| {
            let cells = line.cells.iter().map(|cell| line.text(cell.as_ref()));
            std::iter::once(line.name.clone()).chain(cells).collect()
        });
        let mut rows: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
        if self.columns.len() > self.lines.len() {
            rows = transposed(&rows);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..rows[0].len()).filter_map(width).collect();
        let mut table = String::new();
        for (index, row) in rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match column {
                    0 => push(&mut table, format_args!("| {cell:width$} |")),
                    _ => push(&mut table, format_args!(" {cell:>width$} |")),
                }
            }
            table.push('\n');
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let edge = if column == 0 { "|" } else { "" };
                    let sign = if column == 0 { "-" } else { ":" };
                    push(&mut table, format_args!("{edge}{}{sign}|", "-".repeat(width + 1)));
                }
                table.push('\n');
            }
        }
        table
    }

    /// The figures that matter most and the goals, as tables.
    pub fn figures(&self) -> String {
        let mut text = "| | |\n|---|---:|\n".to_owned();
        for figure in &self.verdict {
            let word = match figure.is_good {
                Some(true) => ", ok",
                Some(false) => ", **not ok**",
                None => "",
            };
            push(&mut text, format_args!("| {} | {}{word} |\n", figure.name, figure.value));
        }
        if !self.goals.is_empty() {
            text.push('\n');
            text.push_str(&goal::table(&self.goals));
        }
        text
    }

    fn page(&self) -> String {
        let is_good = self.failures.is_empty();
        let (class, word) = if is_good { ("pass", "Passed") } else { ("fail", "Failed") };
        let (scenario, summary) = (escaped(&self.scenario), escaped(&self.summary));
        let item = |text: &String| format!("<li>{}</li>", escaped(text));
        let failures: String = self.failures.iter().map(item).collect();
        let tiles: String = self.verdict.iter().map(tile).collect();
        let goals = goal::section(&self.goals);
        let head: String =
            self.columns.iter().map(|name| format!("<th>{}</th>", escaped(name))).collect();
        let rows: String = self.lines.iter().map(Line::row).collect();
        let bars: String = self.lines.iter().map(|line| line.bars(&self.columns)).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>{scenario}: {word}</title><style>{STYLE}</style></head><body><main>\
             <header><p class=\"brand\">Tailwater load test</p>\
             <h1>{scenario} <span class=\"pill {class}\">{word}</span></h1>\
             <p class=\"summary\">{summary}</p><ul class=\"failures\">{failures}</ul></header>\
             <section class=\"tiles\">{tiles}</section>{goals}\
             <section class=\"card sheet\"><table><thead><tr><th></th>{head}</tr></thead>\
             <tbody>{rows}</tbody></table></section>\
             <section class=\"charts\">{bars}</section></main></body></html>\n"
        )
    }
}

impl Line {
    fn text(&self, cell: Option<&Cell>) -> String {
        let digits = self.digits;
        match cell {
            None => "–".to_owned(),
            Some(Cell { value, ratio: None }) => format!("{value:.digits$}"),
            Some(Cell { value, ratio: Some(ratio) }) => format!("{value:.digits$} ({ratio:.2})"),
        }
    }

    fn row(&self) -> String {
        let cell = |cell: &Option<Cell>| format!("<td>{}</td>", self.text(cell.as_ref()));
        let cells: String = self.cells.iter().map(cell).collect();
        format!("<tr><th>{}</th>{cells}</tr>", escaped(&self.name))
    }

    fn bars(&self, columns: &[String]) -> String {
        let most = self.cells.iter().flatten().map(|cell| cell.value).fold(0.0, f64::max);
        let bar = |(name, cell): (&String, &Option<Cell>)| {
            let value = cell.as_ref()?.value;
            let share = if most > 0.0 { (value / most * 100.0).max(0.0) } else { 0.0 };
            let (name, text) = (escaped(name), self.text(cell.as_ref()));
            Some(format!(
                "<div class=\"bar\"><span>{name}</span>\
                 <div><i style=\"width:{share:.1}%\"></i></div><b>{text}</b></div>"
            ))
        };
        let bars: String = columns.iter().zip(&self.cells).filter_map(bar).collect();
        format!("<div class=\"card\"><h2>{}</h2>{bars}</div>", escaped(&self.name))
    }
}

/// A quantity of each column's rounds: medians, and ratios to the first column's. `None` if no
/// column has it.
pub fn line<M>(
    name: &str,
    digits: usize,
    columns: &[&[M]],
    read: impl Fn(&M) -> Option<f64>,
) -> Option<Line> {
    let base = columns.first().copied().unwrap_or_default();
    let cell = |rounds: &&[M]| {
        let value = median(rounds.iter().filter_map(&read).collect())?;
        Some(Cell { value, ratio: ratio(rounds, base, &read) })
    };
    let cells: Vec<_> = columns.iter().map(cell).collect();
    let is_measured = cells.iter().any(Option::is_some);
    is_measured.then(|| Line { name: name.to_owned(), digits, cells })
}

/// The median of the ratios within each round.
pub fn ratio<M>(rounds: &[M], base: &[M], read: impl Fn(&M) -> Option<f64>) -> Option<f64> {
    let ratio = |(own, base): (&M, &M)| {
        let base = read(base).filter(|base| *base > 0.0)?;
        Some(read(own)? / base)
    };
    median(rounds.iter().zip(base).filter_map(ratio).collect())
}

/// The middle one, the lower of two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// The columns as rows.
fn transposed(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns).map(|column| rows.iter().map(|row| row[column].clone()).collect()).collect()
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::{Cell, Comparison, Line};

    #[test]
    fn table_is_markdown_with_aligned_columns() {
        let comparison = comparison();
        let table = "\
|       | floor |    tailwater |
|-------|------:|-------------:|
| us    |   5.0 |            – |
| bytes |    77 | 1160 (15.03) |
";
        assert_eq!(comparison.table(), table);
    }

    #[test]
    fn more_servers_than_quantities_are_rows() {
        let mut comparison = comparison();
        comparison.lines.pop();
        let table = "\
|           |  us |
|-----------|----:|
| floor     | 5.0 |
| tailwater |   – |
";
        assert_eq!(comparison.table(), table);
    }

    fn comparison() -> Comparison {
        let cell = |value, ratio| Some(Cell { value, ratio });
        Comparison {
            scenario: "bench".to_owned(),
            summary: String::new(),
            failures: Vec::new(),
            verdict: Vec::new(),
            goals: Vec::new(),
            columns: vec!["floor".to_owned(), "tailwater".to_owned()],
            lines: vec![
                Line { name: "us".to_owned(), digits: 1, cells: vec![cell(5.0, None), None] },
                Line {
                    name: "bytes".to_owned(),
                    digits: 0,
                    cells: vec![cell(77.2, None), cell(1160.0, Some(15.03))],
                },
            ],
            raw: serde_json::Value::Null,
        }
    }
}
