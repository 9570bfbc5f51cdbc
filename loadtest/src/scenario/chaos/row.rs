//! A trial as a row of the report.

use serde_json::json;

use super::catalogue::Promise;
use super::trial::ChaosTrial;
use crate::lab::{Books, Durability, Lab};
use crate::proof::history::Judgement;
use crate::report::timeline::Sample;
use crate::report::{Plot, SheetRow, Tone, grouped, millis};

pub(super) const COLUMNS: [&str; 17] = [
    "scenario",
    "server",
    "log",
    "acknowledged",
    "delivered",
    "lost in silence",
    "duplicated",
    "announced missing",
    "really missing",
    "seen and taken back",
    "streams dropped by us",
    "longest interruption",
    "longest wait for an acknowledged event",
    "delivered in the space",
    "lost in silence or duplicated there",
    "announced missing there",
    "really missing there",
];

pub(super) fn row(trial: &ChaosTrial<'_>, lab: &Lab) -> SheetRow {
    let books = lab.crowd.books();
    let judgement = books.history.judge();
    let room = books.room.judge();
    let timeline = lab.timeline();
    let interruption = books.longest_silence.as_secs_f64() * 1000.0;
    let wait = books.longest_wait.as_secs_f64() * 1000.0;
    let numbers = [
        judgement.acknowledged,
        judgement.delivered,
        judgement.lost,
        judgement.duplicated,
        judgement.told(),
        judgement.really_missing(),
        judgement.taken_back,
        books.dropped,
    ];
    let mut cells = head(trial);
    cells.extend(numbers.map(grouped));
    cells.extend([millis(interruption), millis(wait)]);
    let there = [room.delivered, room.lost + room.duplicated, room.told(), room.really_missing()];
    cells.extend(there.map(grouped));
    let mut notes = lab.notes.clone();
    notes.extend(remarks(&judgement, &books));
    notes.extend(bounds(&room));
    SheetRow {
        about: trial.scenario.about.to_owned(),
        failures: failures(trial, lab, (&judgement, &room), &books),
        cells,
        notes,
        plots: plots(&timeline.samples),
        marks: timeline.marks.clone(),
        raw: json!({
            "judgement": judgement,
            "judgement_of_space": room,
            "gaps": books.gaps,
            "ready_outcomes": books.outcomes,
            "sent_away": books.sent_away,
            "time_without_connection": books.outage.quantiles(),
            "longest_interruption_ms": interruption,
            "longest_wait_ms": wait,
            "streams_dropped": books.dropped,
            "streams_broken_by_fault": books.broken_by_fault,
            "attempts_failed": books.failed,
            "answers_refused": books.refused,
            "publishes_retried": books.retried,
            "duplicate_receipts": books.duplicate_receipts,
            "unacknowledged": books.unacknowledged,
            "samples": timeline.samples,
        }),
    }
}

/// The row of a trial that broke off.
pub(super) fn could_not_run(trial: &ChaosTrial<'_>, error: &anyhow::Error) -> SheetRow {
    let mut cells = head(trial);
    cells.resize(COLUMNS.len(), "-".to_owned());
    SheetRow {
        about: trial.scenario.about.to_owned(),
        failures: vec![format!("could not run: {error:#}")],
        cells,
        notes: Vec::new(),
        plots: Vec::new(),
        marks: Vec::new(),
        raw: serde_json::Value::Null,
    }
}

fn head(trial: &ChaosTrial<'_>) -> Vec<String> {
    let (scenario, server) = (trial.scenario.name, trial.server.version.clone());
    let mut log =
        format!("{}, {}", trial.scenario.topology.as_str(), trial.scenario.durability.as_str());
    if trial.reads_replicas {
        log.push_str(", read from replicas");
    }
    vec![scenario.to_owned(), server, log]
}

fn failures(
    trial: &ChaosTrial<'_>,
    lab: &Lab,
    (judgement, room): (&Judgement, &Judgement),
    books: &Books,
) -> Vec<String> {
    let mut failures = judgement.failures();
    let in_space = |failure| format!("in the space: {failure}");
    failures.extend(room.failures().into_iter().map(in_space));
    if room.delivered == 0 {
        failures.push("nothing was delivered in the space".to_owned());
    }
    match trial.scenario.promise {
        Promise::Lossless => {
            failures.extend(judgement.losses());
            failures.extend(room.losses().into_iter().map(in_space));
        }
        Promise::Announced if judgement.gaps == 0 => {
            failures.push("no subscriber was told".to_owned())
        }
        Promise::Kept if judgement.unreadable + room.unreadable > 0 => {
            let unreadable = grouped(judgement.unreadable + room.unreadable);
            failures.push(format!("{unreadable} acknowledged events that the log has lost"));
        }
        Promise::Announced | Promise::Kept | Promise::Told => {}
    }
    let scenario = trial.scenario;
    let is_replicated = scenario.durability != Durability::Memory || scenario.replicas > 1;
    let is_committed = trial.reads_replicas && is_replicated;
    let counts = [
        (
            (judgement.taken_back + room.taken_back) * u64::from(is_committed),
            "deliveries taken back",
        ),
        (books.dropped, "streams dropped"),
        (books.refused, "answers fatal to a browser"),
        (books.unacknowledged, "events never acknowledged"),
    ];
    let counted = counts.iter().filter(|(count, _)| *count > 0);
    failures.extend(counted.map(|(count, what)| format!("{} {what}", grouped(*count))));
    failures.extend(books.oddities.in_words());
    failures.extend(lab.broken.iter().cloned());
    failures
}

/// A remark on the upper bounds that selections were told.
fn bounds(room: &Judgement) -> Option<String> {
    let (missing, most) = (grouped(room.bounded), grouped(room.bounds));
    (room.bounds > 0)
        .then(|| format!("selections miss {missing} events, of at most {most} that they were told"))
}

/// Remarks beside the table.
fn remarks(judgement: &Judgement, books: &Books) -> Vec<String> {
    let mut remarks = Vec::new();
    if judgement.gaps > 0 {
        let gaps: Vec<String> =
            books.gaps.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        remarks.push(format!("gaps told: {}", gaps.join(", ")));
    }
    if judgement.unreadable > 0 {
        let unreadable = grouped(judgement.unreadable);
        remarks.push(format!("{unreadable} acknowledged events are not in the log any more"));
    }
    if judgement.again > 0 {
        let again = grouped(judgement.again);
        remarks.push(format!(
            "{again} deliveries came again after a rewind: sent anew by a publisher without a receipt"
        ));
    }
    if !books.sent_away.is_empty() {
        let reasons: Vec<String> =
            books.sent_away.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        remarks.push(format!("told to come back later: {}", reasons.join(", ")));
    }
    remarks
}

fn plots(samples: &[Sample]) -> Vec<Plot> {
    let plot = |title: &str, tone: Tone, value: fn(&Sample) -> f64| Plot {
        title: title.to_owned(),
        tone,
        points: samples.iter().map(|sample| (sample.at, value(sample))).collect(),
    };
    vec![
        plot("Deliveries a second", Tone::Flow, |s| s.deliveries),
        plot("Events acknowledged a second", Tone::Flow, |s| s.published),
        plot("Subscribers without a connection", Tone::Pain, |s| s.without as f64),
    ]
}
