//! The matrix as a report and as a table of the documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::fault::ClusterFault;
use super::manifest::VariantKind;
use super::score::Score;
use super::trial::Candidate;
use crate::report::{Sheet, SheetRow};

/// The lines of `docs/interop.md` between which the table stands.
const BEGIN: &str = "<!-- matrix -->\n";
const END: &str = "<!-- end of matrix -->\n";

/// The scores of a candidate, one for each fault.
#[derive(Debug)]
pub(super) struct MatrixRow<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) scores: Vec<(ClusterFault, Score)>,
}

/// The versions of the clients' packages, as `interop/setup` found them.
pub(super) type Versions = BTreeMap<String, String>;

/// Reads the file that `interop/setup` writes.
pub(super) fn read_versions(clients: &Path) -> Result<Versions> {
    let path = clients.join("versions.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: run interop/setup", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("bad {}", path.display()))
}

impl MatrixRow<'_> {
    fn peak(&self) -> usize {
        self.scores.iter().map(|(_, score)| score.peak).max().unwrap_or(0)
    }

    fn failures(&self) -> Vec<String> {
        let (client, kind) = (self.candidate.client, self.candidate.kind);
        let failed = self
            .scores
            .iter()
            .filter(|(fault, score)| !score.is_perfect() && client.is_promised(kind, *fault));
        failed.map(|(fault, score)| format!("{}: {}", fault.as_str(), score.in_full())).collect()
    }
}

/// The report.
pub(super) fn sheet(rows: &[MatrixRow<'_>], faults: &[ClusterFault], versions: &Versions) -> Sheet {
    let names = faults.iter().map(|fault| fault.as_str());
    let columns = ["client", "settings"].into_iter().chain(names).chain(["requests/s"]);
    let sheet_row = |row: &MatrixRow<'_>| {
        let client = row.candidate.client;
        let kind = row.candidate.kind.as_str().to_owned();
        let cells = row.scores.iter().map(|(_, score)| score.words());
        let name = named(row, versions);
        let notes =
            row.scores.iter().map(|(f, score)| format!("{}: {}", f.as_str(), score.in_full()));
        let raw = row.scores.iter().map(|(f, score)| (f.as_str().to_owned(), json!(score)));
        SheetRow {
            about: format!("{} with {kind} settings.", client.name),
            cells: [name, kind].into_iter().chain(cells).chain([row.peak().to_string()]).collect(),
            failures: row.failures(),
            notes: notes.collect(),
            plots: Vec::new(),
            marks: Vec::new(),
            raw: raw.collect::<serde_json::Map<_, _>>().into(),
        }
    };
    Sheet {
        title: "Clients".to_owned(),
        summary:
            "Clients of other projects, behind HAProxy and three gateways on Redis, under faults."
                .to_owned(),
        columns: columns.map(str::to_owned).collect(),
        rows: rows.iter().map(sheet_row).collect(),
    }
}

fn named(row: &MatrixRow<'_>, versions: &Versions) -> String {
    let client = row.candidate.client;
    let version = versions.get(&client.package).map_or("?", String::as_str);
    format!("{} {version}", client.name)
}

/// Puts the table between its two lines of the page.
pub(super) fn write_page(
    path: &Path,
    rows: &[MatrixRow<'_>],
    faults: &[ClusterFault],
    versions: &Versions,
) -> Result<()> {
    let page = std::fs::read_to_string(path)?;
    let (head, rest) = page.split_once(BEGIN).context("the page has no place for the matrix")?;
    let (_, tail) = rest.split_once(END).context("the place of the matrix has no end")?;
    let table = table(rows, faults, versions);
    std::fs::write(path, format!("{head}{BEGIN}\n{table}\n{END}{tail}"))?;
    Ok(())
}

fn table(rows: &[MatrixRow<'_>], faults: &[ClusterFault], versions: &Versions) -> String {
    let names = faults.iter().map(|fault| fault.as_str()).collect::<Vec<_>>().join(" | ");
    let mut table = format!("| Client | Settings | {names} | Requests/s |\n|---|---|");
    table.push_str(&"---|".repeat(faults.len() + 1));
    table.push('\n');
    for row in rows {
        let page = format!("clients/{}.md", row.candidate.client.page);
        let (name, settings) = match row.candidate.kind {
            VariantKind::Natural => (named(row, versions), "natural".to_owned()),
            VariantKind::Advised => (String::new(), format!("[advised]({page})")),
        };
        write!(table, "| {name} | {settings} |").expect("a String takes everything");
        for (_, score) in &row.scores {
            let words = score.words();
            let cell = if score.is_perfect() { words } else { format!("[{words}]({page})") };
            write!(table, " {cell} |").expect("a String takes everything");
        }
        writeln!(table, " {} |", row.peak()).expect("a String takes everything");
    }
    table
}
