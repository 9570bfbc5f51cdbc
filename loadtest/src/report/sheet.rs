//! Many trials on one sheet: a table, and a section with plots for each.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::page::{STYLE, escaped, plots};
use super::plot::Plot;
use super::write_all;
use crate::report::timeline::Mark;

/// The results of many trials.
#[derive(Clone, Debug, Serialize)]
pub struct Sheet {
    /// A description of all trials.
    pub title: String,
    /// In a sentence.
    pub summary: String,
    /// The names of the columns; the first one names the trial.
    pub columns: Vec<String>,
    /// A row a trial.
    pub rows: Vec<SheetRow>,
}

/// One trial.
#[derive(Clone, Debug, Serialize)]
pub struct SheetRow {
    /// A description of the trial, in a sentence.
    pub about: String,
    /// One for each column.
    pub cells: Vec<String>,
    /// The failures; a trial without any passed.
    pub failures: Vec<String>,
    /// Remarks beside the table.
    pub notes: Vec<String>,
    /// Over time.
    pub plots: Vec<Plot>,
    /// The faults and other acts, with their times.
    pub marks: Vec<Mark>,
    /// The raw results, for programs.
    pub raw: serde_json::Value,
}

impl Sheet {
    /// All failures, each with the name of its trial.
    pub fn failures(&self) -> Vec<String> {
        let named = |row: &SheetRow| {
            let name = row.cells[..2.min(row.cells.len())].join(" on ");
            (!row.failures.is_empty()).then(|| format!("{name}: {}", row.failures.join(", ")))
        };
        self.rows.iter().filter_map(named).collect()
    }

    /// Writes `report.html` and `report.json` into the directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        write_all(directory, [("report.json", json), ("report.html", self.page())])
    }

    /// The table as lines for a terminal, and for Markdown.
    pub fn table(&self) -> String {
        let columns = self.columns.iter().enumerate().map(|(index, column)| {
            let cells = self.rows.iter().map(|row| row.cells[index].chars().count());
            cells.chain([column.chars().count()]).max().unwrap_or(0)
        });
        let widths: Vec<usize> = columns.collect();
        let line = |cells: &[String], sign: &str| {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            format!("| {} | {sign} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let mut table = line(&self.columns, "      ");
        table.push_str(&line(&rule, "------"));
        for row in &self.rows {
            table.push_str(&line(
                &row.cells,
                if row.failures.is_empty() { "ok    " } else { "FAILED" },
            ));
        }
        table
    }

    fn page(&self) -> String {
        let failed = self.rows.iter().filter(|row| !row.failures.is_empty()).count();
        let (class, word) = match failed {
            0 => ("pass", "Passed".to_owned()),
            failed => ("fail", format!("{failed} of {} failed", self.rows.len())),
        };
        let (title, summary) = (escaped(&self.title), escaped(&self.summary));
        let columns: String =
            self.columns.iter().map(|c| format!("<th>{}</th>", escaped(c))).collect();
        let rows: String =
            self.rows.iter().enumerate().map(|(index, row)| row.line(index)).collect();
        let sections: String =
            self.rows.iter().enumerate().map(|(i, row)| row.section(i)).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <title>{title}: {word}</title><style>{STYLE}</style></head><body><main>\
             <header><p class=\"brand\">Tailwater load test</p>\
             <h1>{title} <span class=\"pill {class}\">{word}</span></h1>\
             <p class=\"summary\">{summary}</p></header>\
             <section class=\"card sheet\"><table><thead><tr>{columns}</tr></thead>\
             <tbody>{rows}</tbody></table></section>{sections}</main></body></html>\n"
        )
    }
}

impl SheetRow {
    fn line(&self, index: usize) -> String {
        let class = if self.failures.is_empty() { "" } else { " class=\"bad\"" };
        let mut cells = self.cells.iter().map(|cell| escaped(cell));
        let name = cells.next().unwrap_or_default();
        let cells: String = cells.map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr{class}><th><a href=\"#trial-{index}\">{name}</a></th>{cells}</tr>")
    }

    fn section(&self, index: usize) -> String {
        let (class, word) =
            if self.failures.is_empty() { ("pass", "Passed") } else { ("fail", "Failed") };
        let name = escaped(&self.cells[..2.min(self.cells.len())].join(" on "));
        let about = escaped(&self.about);
        let item = |text: &String| format!("<li>{}</li>", escaped(text));
        let failures: String = self.failures.iter().map(item).collect();
        let notes: String = self.notes.iter().map(item).collect();
        let telling: Vec<Plot> =
            self.plots.iter().filter(|plot| plot.is_telling()).cloned().collect();
        let plots = plots(&telling, &self.marks);
        let open = if self.failures.is_empty() { "" } else { " open" };
        format!(
            "<details class=\"card trial\" id=\"trial-{index}\"{open}><summary>\
             <h2>{name} <span class=\"pill {class}\">{word}</span></h2>\
             <p class=\"summary\">{about}</p></summary>\
             <ul class=\"failures\">{failures}</ul><ul class=\"notes\">{notes}</ul>{plots}</details>"
        )
    }
}
