//! What the run came to.

use serde_json::json;

use super::{NAME, Options};
use crate::audience::Ledger;
use crate::checker::Verdict;
use crate::histogram::Quantiles;
use crate::report::{Figure, Plot, Report, Tone, grouped, millis};
use crate::timeline::{Sample, Timeline};

/// Joins what the checker, the processes and the publishers have to say.
pub(super) fn report(
    options: &Options,
    ledger: &Ledger,
    timeline: Timeline,
    broken: Vec<String>,
) -> Report {
    let verdict = ledger.checker.verdict();
    let mut failures = verdict.failures();
    failures.extend(broken);
    if ledger.unacknowledged > 0 {
        failures.push(format!("{} events never acknowledged", ledger.unacknowledged));
    }
    failures.extend(ledger.oddities.in_words());
    let raw = json!({
        "verdict": verdict,
        "delivery_latency": ledger.latency.quantiles(),
        "delivery_latency_while_connected": ledger.live_latency.quantiles(),
        "time_without_connection": ledger.outage.quantiles(),
        "time_beyond_retry": ledger.overrun.quantiles(),
        "ready_outcomes": ledger.outcomes,
        "reconnect_reasons": ledger.reasons,
        "attempts_failed": ledger.failed,
        "answers_refused": ledger.refused,
        "publishes_retried": ledger.retried,
        "duplicate_receipts": ledger.duplicate_receipts,
        "unacknowledged": ledger.unacknowledged,
        "oddities": ledger.oddities,
        "samples": timeline.samples,
    });
    Report {
        scenario: NAME.to_owned(),
        summary: options.summary(),
        failures,
        verdict: decisive(&verdict),
        groups: groups(ledger, &verdict),
        plots: plots(&timeline.samples),
        marks: timeline.marks,
        raw,
    }
}

fn decisive(verdict: &Verdict) -> Vec<Figure> {
    vec![
        Figure::plain("acknowledged", grouped(verdict.acknowledged)),
        Figure::plain("deliveries expected", grouped(verdict.expected)),
        Figure::plain("deliveries made", grouped(verdict.delivered)),
        Figure::zero("lost", verdict.lost),
        Figure::zero("duplicated", verdict.duplicated),
        Figure::zero("out of order", verdict.out_of_order),
        Figure::zero("gaps announced", verdict.gaps),
        Figure::zero("unfinished", verdict.unfinished),
    ]
}

fn groups(ledger: &Ledger, verdict: &Verdict) -> Vec<(String, Vec<Figure>)> {
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
    connections.push(Figure::plain("attempts without an answer", grouped(ledger.failed)));
    connections.push(Figure::plain("answers fatal to a browser", grouped(ledger.refused)));
    let publishing = vec![
        Figure::zero("never acknowledged", ledger.unacknowledged),
        Figure::plain("events that took several attempts", grouped(ledger.retried)),
        Figure::plain("of these stored by an earlier one", grouped(ledger.duplicate_receipts)),
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
        plot("Clients without a connection", Tone::Pain, |s| s.without as f64),
    ]
}
