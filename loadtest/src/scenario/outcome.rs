//! The outcome of a run.

use std::time::Duration;

use serde_json::json;

use crate::proof::audience::Ledger;
use crate::proof::checker::Verdict;
use crate::report::histogram::Quantiles;
use crate::report::timeline::{SAMPLE_EVERY, Sample, Timeline};
use crate::report::{Figure, Plot, Report, Tone, grouped, millis};

/// Samples that cover one second.
const SAMPLES_A_SECOND: usize = (1000 / SAMPLE_EVERY.as_millis()) as usize;

/// The name of a run, and the criteria besides the books.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) scenario: &'static str,
    /// A description of the run, in one sentence.
    pub(super) summary: String,
    /// The failures besides the books.
    pub(super) broken: Vec<String>,
    /// Figures of its own, with their title.
    pub(super) figures: Option<(&'static str, Vec<Figure>)>,
    /// Announced gaps are told and do not fail the run.
    pub(super) allows_gaps: bool,
    /// The longest time that a client may be without a connection, beyond its retry time.
    pub(super) interruption_max: Option<Duration>,
}

impl Outcome {
    /// A run that fails at any gap, and at no interruption.
    pub(super) fn strict(scenario: &'static str, summary: String) -> Self {
        Outcome {
            scenario,
            summary,
            broken: Vec::new(),
            figures: None,
            allows_gaps: false,
            interruption_max: None,
        }
    }

    /// Joins the findings of the checker, the processes and the publishers.
    pub(super) fn report(self, ledger: &Ledger, timeline: Timeline) -> Report {
        let Outcome { scenario, summary, broken, figures, allows_gaps, interruption_max } = self;
        let verdict = ledger.checker.verdict();
        let judged = Verdict { gaps: if allows_gaps { 0 } else { verdict.gaps }, ..verdict };
        let mut failures = judged.failures();
        failures.extend(broken);
        let longest = ledger.overrun.quantiles().max_ms;
        if let Some(max) = interruption_max.filter(|max| longest > max.as_secs_f64() * 1000.0) {
            let (longest, max) = (millis(longest), humantime::format_duration(max));
            failures.push(format!(
                "a client without a connection {longest} beyond its retry time, {max} are allowed"
            ));
        }
        if ledger.unacknowledged > 0 {
            failures.push(format!("{} events never acknowledged", ledger.unacknowledged));
        }
        failures.extend(ledger.oddities.in_words());
        let own = figures.into_iter().map(|(title, figures)| (title.to_owned(), figures));
        Report {
            scenario: scenario.to_owned(),
            summary,
            failures,
            verdict: decisive(&verdict, allows_gaps),
            groups: own.chain(groups(ledger, &verdict, &timeline)).collect(),
            plots: plots(&timeline.samples),
            raw: raw(ledger, &verdict, &timeline),
            marks: timeline.marks,
        }
    }
}

fn raw(ledger: &Ledger, verdict: &Verdict, timeline: &Timeline) -> serde_json::Value {
    json!({
        "verdict": verdict,
        "delivery_latency": ledger.latency.quantiles(),
        "delivery_latency_while_connected": ledger.live_latency.quantiles(),
        "time_without_connection": ledger.outage.quantiles(),
        "time_beyond_retry": ledger.overrun.quantiles(),
        "ready_outcomes": ledger.outcomes,
        "reconnect_reasons": ledger.reasons,
        "streams_silent": ledger.silent,
        "largest_share_of_reconnects_in_a_second": largest_share(&timeline.samples),
        "attempts_failed": ledger.failed,
        "answers_refused": ledger.refused,
        "publishes_retried": ledger.retried,
        "duplicate_receipts": ledger.duplicate_receipts,
        "unacknowledged": ledger.unacknowledged,
        "oddities": ledger.oddities,
        "samples": timeline.samples,
    })
}

fn decisive(verdict: &Verdict, allows_gaps: bool) -> Vec<Figure> {
    let gaps = "gaps announced";
    vec![
        Figure::plain("acknowledged", grouped(verdict.acknowledged)),
        Figure::plain("deliveries expected", grouped(verdict.expected)),
        Figure::plain("deliveries made", grouped(verdict.delivered)),
        Figure::zero("lost in silence", verdict.lost),
        Figure::zero("duplicated", verdict.duplicated),
        Figure::zero("out of order", verdict.out_of_order),
        if allows_gaps {
            Figure::plain(gaps, grouped(verdict.gaps))
        } else {
            Figure::zero(gaps, verdict.gaps)
        },
        Figure::zero("unfinished", verdict.unfinished),
    ]
}

fn groups(ledger: &Ledger, verdict: &Verdict, timeline: &Timeline) -> Vec<(String, Vec<Figure>)> {
    let counts = |prefix: &str, counts: &std::collections::BTreeMap<String, u64>| {
        let figure = |(word, count): (&String, &u64)| {
            Figure::plain(&format!("{prefix} {word}"), grouped(*count))
        };
        counts.iter().map(figure).collect::<Vec<_>>()
    };
    let outage = ledger.outage.quantiles();
    let mut connections = vec![Figure::plain("reconnects", grouped(outage.count))];
    connections.extend(quantiles("without a connection", outage));
    let overrun = ledger.overrun.quantiles();
    connections.extend(quantiles("of that beyond the retry time", overrun));
    connections.extend(counts("streams opened:", &ledger.outcomes));
    connections.extend(counts("told to reconnect:", &ledger.reasons));
    let share = 100.0 * largest_share(&timeline.samples);
    connections.push(Figure::plain("largest share of them in one second", format!("{share:.0} %")));
    connections.push(Figure::plain("streams that fell silent", grouped(ledger.silent)));
    connections.push(Figure::plain("attempts without an answer", grouped(ledger.failed)));
    connections.push(Figure::plain("answers fatal to a browser", grouped(ledger.refused)));
    let publishing = vec![
        Figure::zero("never acknowledged", ledger.unacknowledged),
        Figure::plain("events that took several attempts", grouped(ledger.retried)),
        Figure::plain("events stored by an earlier attempt", grouped(ledger.duplicate_receipts)),
    ];
    let more = vec![
        Figure::zero("corrupted", verdict.corrupted),
        Figure::zero("contradicting acknowledgements", verdict.contradictions),
        Figure::zero("events still to come at the end", verdict.behind),
        Figure::plain("missed by announced gaps", grouped(verdict.missed_announced)),
        Figure::plain("truly missed at them", grouped(verdict.missed_truly)),
        Figure::zero("oddities", ledger.oddities.count()),
    ];
    let mut latency = quantiles("while connected", ledger.live_latency.quantiles());
    latency.extend(quantiles("all, outages included", ledger.latency.quantiles()));
    [
        ("Delivery latency", latency),
        ("Publishing", publishing),
        ("Connections", connections),
        ("More checks", more),
    ]
    .map(|(title, figures)| (title.to_owned(), figures))
    .into()
}

fn quantiles(name: &str, quantiles: Quantiles) -> Vec<Figure> {
    [("p50", quantiles.p50_ms), ("p99", quantiles.p99_ms), ("max", quantiles.max_ms)]
        .map(|(which, ms)| Figure::plain(&format!("{name}, {which}"), millis(ms)))
        .into()
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
        plot("Reconnects a second", Tone::Pain, |s| s.reconnects),
        plot("Connected clients", Tone::Flow, |s| s.connected as f64),
        plot("Longest interruption, in seconds", Tone::Pain, |s| s.interruption),
    ]
}

/// The largest part of all reconnects that came within one second.
fn largest_share(samples: &[Sample]) -> f64 {
    let mut counts = Vec::with_capacity(samples.len());
    let mut before = 0.0;
    for sample in samples {
        counts.push(sample.reconnects * (sample.at - before));
        before = sample.at;
    }
    let all: f64 = counts.iter().sum();
    let in_a_second = counts.windows(SAMPLES_A_SECOND).map(|window| window.iter().sum::<f64>());
    if all > 0.0 { in_a_second.fold(0.0, f64::max) / all } else { 0.0 }
}
