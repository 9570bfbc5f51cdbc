//! The results as a report, and as tables of docs/load-balancers.md.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::bare::{AddressHeader, Plain};
use super::body::BodyFate;
use super::death::{NEXT, SeenEnd};
use super::life::Life;
use super::product::Form;
use super::trial::{LbFigures, Measured};
use crate::report::{Sheet, SheetRow};

/// An event of a fit load balancer takes less.
const DELAY_MAX_MS: f64 = 50.0;

/// A table of the page: the name in its marks, its columns, and the cells of a row.
struct Table {
    name: &'static str,
    form: Form,
    columns: &'static [&'static str],
    cells: fn(&LbFigures, usize) -> Vec<String>,
}

const STREAMS: &[&str] =
    &["heartbeat 15 s", "heartbeat 60 s", "event, median", "endless body", "streams that live"];
const ENDS: &[&str] = &[
    "killed gateway, HTTP/1.1",
    "HTTP/2",
    "connects after it",
    "client left, event a second",
    "client left, heartbeats",
    "`X-Forwarded-For`",
    "`Forwarded`",
    "`Host`",
];
const PLAIN: &[&str] = &[
    "HTTP to the gateway",
    "chunks",
    "and `X-Accel-Buffering: no`",
    "and `Incremental: ?1`",
    "no chunks",
];

const TABLES: [Table; 5] = [
    Table { name: "defaults, streams", form: Form::Default, columns: STREAMS, cells: streams },
    Table { name: "defaults, ends", form: Form::Default, columns: ENDS, cells: ends },
    Table { name: "defaults, headers", form: Form::Default, columns: PLAIN, cells: plain },
    Table { name: "recipes, streams", form: Form::Recipe, columns: STREAMS, cells: streams },
    Table { name: "recipes, ends", form: Form::Recipe, columns: ENDS, cells: ends },
];

fn streams(figures: &LbFigures, streams: usize) -> Vec<String> {
    let living = match figures.living {
        all if all == streams => "all".to_owned(),
        living => format!("**{living}**"),
    };
    let delay = match figures.delay_ms {
        None => "**none arrives**".to_owned(),
        Some(ms) if ms > DELAY_MAX_MS => format!("**{ms:.0} ms**"),
        Some(ms) => format!("{ms:.0} ms"),
    };
    vec![life(figures.heartbeat_15), life(figures.heartbeat_60), delay, body(figures.body), living]
}

fn ends(figures: &LbFigures, _: usize) -> Vec<String> {
    let LbFigures { death, plain, .. } = figures;
    vec![
        end(death.http1),
        end(death.http2),
        format!("{} of {NEXT}", death.next),
        left(figures.left_busy),
        left(figures.left_quiet),
        address(plain).to_owned(),
        if plain.passes_forwarded { "**the client's**" } else { "removed" }.to_owned(),
        if plain.is_host_kept { "kept" } else { "replaced" }.to_owned(),
    ]
}

fn plain(figures: &LbFigures, _: usize) -> Vec<String> {
    let word = |at_once: bool| if at_once { "at once" } else { "**at its end**" }.to_owned();
    let version = figures.plain.version.trim_start_matches("HTTP/").to_owned();
    std::iter::once(version).chain(figures.plain.at_once.map(word)).collect()
}

fn life(life: Life) -> String {
    match life {
        Life::Lived => "lives".to_owned(),
        Life::Cut(seconds) => format!("**cut after {seconds:.0} s**"),
        Life::Silent => "**nothing arrives**".to_owned(),
        Life::Refused(status) => format!("**{status}**"),
    }
}

fn body(body: BodyFate) -> String {
    match body {
        BodyFate::Lived => "lives".to_owned(),
        BodyFate::LateReceipts => "**receipts at its end**".to_owned(),
        BodyFate::Held => "**nothing arrives before its end**".to_owned(),
        BodyFate::Cut(seconds, None) => format!("**cut after {seconds:.0} s**"),
        BodyFate::Cut(seconds, Some(status)) => format!("**cut after {seconds:.0} s ({status})**"),
    }
}

fn end(end: SeenEnd) -> String {
    match end {
        SeenEnd::Broken => "broken",
        SeenEnd::Clean => "**a clean end**",
        SeenEnd::None => "**no end**",
        SeenEnd::NoStream => "–",
    }
    .to_owned()
}

fn left(after: Option<Duration>) -> String {
    match after {
        None => "**never**".to_owned(),
        Some(after) if after < Duration::from_secs(1) => "at once".to_owned(),
        Some(after) => format!("{:.0} s", after.as_secs_f64()),
    }
}

fn address(plain: &Plain) -> &'static str {
    match plain.forwarded_for {
        AddressHeader::None => "none",
        AddressHeader::Claim => "**the client's**",
        AddressHeader::Appended => "appended",
        AddressHeader::Replaced => "replaced",
    }
}

/// The broken promises of a recipe.
fn failures(measured: &Measured, streams: usize) -> Vec<String> {
    let figures = match &measured.figures {
        // The other lines are those of a log.
        Err(error) => return format!("{error:#}").lines().take(1).map(str::to_owned).collect(),
        Ok(_) if measured.form == Form::Default || !measured.product.is_fit => return Vec::new(),
        Ok(figures) => figures,
    };
    let promises = [
        (figures.heartbeat_15 == Life::Lived, "a stream with a heartbeat of 15 s does not live"),
        (figures.heartbeat_60 == Life::Lived, "a stream with a heartbeat of 60 s does not live"),
        (figures.delay_ms.is_some_and(|ms| ms < DELAY_MAX_MS), "events are late"),
        (figures.living == streams, "not all streams live"),
        (figures.death.http1 == SeenEnd::Broken, "a killed gateway is not seen"),
    ];
    promises.into_iter().filter(|(kept, _)| !kept).map(|(_, text)| text.to_owned()).collect()
}

/// The report.
pub(super) fn sheet(measured: &[Measured], count: usize) -> Sheet {
    let names = ["load balancer", "form"].into_iter().chain(STREAMS.iter().chain(ENDS).copied());
    let row = |measured: &Measured| {
        let cells = match &measured.figures {
            Ok(figures) => [streams(figures, count), ends(figures, count)].concat(),
            Err(_) => vec!["?".to_owned(); STREAMS.len() + ENDS.len()],
        };
        let form = measured.form.as_str().to_owned();
        SheetRow {
            about: format!("{} with its {form} configuration.", named(measured)),
            cells: [named(measured), form].into_iter().chain(cells).collect(),
            failures: failures(measured, count),
            notes: Vec::new(),
            plots: Vec::new(),
            marks: Vec::new(),
            raw: measured.figures.as_ref().map_or_else(|_| json!(null), |figures| json!(figures)),
        }
    };
    Sheet {
        title: "Load balancers".to_owned(),
        summary:
            "Load balancers in front of two gateways, with their defaults and with our recipes."
                .to_owned(),
        columns: names.map(str::to_owned).collect(),
        rows: measured.iter().map(row).collect(),
    }
}

fn named(measured: &Measured) -> String {
    format!("{} {}", measured.product.title, measured.version)
}

/// Writes the rows of what was measured into the tables of the page. Other rows stay.
pub(super) fn write(path: &Path, measured: &[Measured], streams: usize) -> Result<()> {
    let mut page = std::fs::read_to_string(path)?;
    for table in &TABLES {
        page = table.write(&page, measured, streams)?;
    }
    std::fs::write(path, page)?;
    Ok(())
}

impl Table {
    fn write(&self, page: &str, measured: &[Measured], streams: usize) -> Result<String> {
        let (begin, end) = (format!("<!-- {} -->\n", self.name), "<!-- end -->\n");
        let (head, rest) =
            page.split_once(&begin).with_context(|| format!("the page has no {begin:?}"))?;
        let (old, tail) = rest.split_once(end).with_context(|| format!("no end of {begin:?}"))?;
        let rows = super::product::ALL.iter().filter_map(|product| {
            let fresh =
                measured.iter().find(|m| m.product.title == product.title && m.form == self.form);
            match fresh.map(|measured| (measured, &measured.figures)) {
                Some((measured, Ok(figures))) => {
                    let cells = (self.cells)(figures, streams).join(" | ");
                    Some(format!("| {} | {cells} |\n", named(measured)))
                }
                _ => old_row(old, product.title).map(|row| format!("{row}\n")),
            }
        });
        let rows: String = rows.collect();
        let titles = self.columns.join(" | ");
        let rule = "---|".repeat(self.columns.len() + 1);
        Ok(format!("{head}{begin}\n| | {titles} |\n|{rule}\n{rows}\n{end}{tail}"))
    }
}

/// The row of a load balancer: its title is all before the last word of the first cell, which is the version.
fn old_row<'a>(table: &'a str, title: &str) -> Option<&'a str> {
    table.lines().find(|line| {
        let name = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
        name.rsplit_once(' ').is_some_and(|(known, _)| known == title)
    })
}

#[cfg(test)]
mod tests {
    use super::{Form, TABLES, Table, old_row, plain};

    const PAGE: &str = "before\n<!-- defaults, headers -->\n\n| | old |\n|---|---|\n| nginx 1.2 | a |\n\
                        | nginx (mainline) 1.3 | b |\n\n<!-- end -->\nafter\n";

    #[test]
    fn rows_of_load_balancers_that_did_not_run_stay() {
        let table = Table {
            name: "defaults, headers",
            form: Form::Default,
            columns: &["new"],
            cells: plain,
        };
        let page = table.write(PAGE, &[], 0).expect("written");
        assert_eq!(page, PAGE.replace("| old |", "| new |"));
        assert_eq!(old_row(PAGE, "nginx"), Some("| nginx 1.2 | a |"));
        assert_eq!(old_row(PAGE, "nginx (mainline)"), Some("| nginx (mainline) 1.3 | b |"));
    }

    #[test]
    fn a_page_without_a_place_is_refused() {
        let error = TABLES[0].write("nothing", &[], 0).expect_err("no place").to_string();
        assert!(error.contains("defaults, streams"), "{error}");
    }
}
