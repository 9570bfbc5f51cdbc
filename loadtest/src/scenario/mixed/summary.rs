//! The deliveries of the readers and the resources of the servers, as a report.

use serde_json::json;

use crate::cost::mix::{Course, Mix};
use crate::report::{Figure, Plot, Report, Tone, grouped, millis};

/// Connections to Redis, which are made when they are needed and then kept.
const POOLED_MAX: u64 = 64;

/// The report of a run, to which a scenario may add.
pub(in crate::scenario) fn report(name: &str, mix: &Mix, course: &Course) -> Report {
    let tally = &course.tally;
    let leaked = course.files[1].saturating_sub(course.files[0] + POOLED_MAX);
    let verdict = vec![
        Figure::zero("lost", tally.lost),
        Figure::zero("repeated or out of order", tally.repeated),
        Figure::zero("streams closed by the gateway", tally.closed),
        Figure::zero("files left open by readers", leaked),
    ];
    let bad = verdict.iter().filter(|figure| figure.is_good == Some(false));
    let failures = bad.map(|figure| format!("{} {}", figure.value, figure.name)).collect();
    let latency = tally.latency.quantiles();
    let readers = vec![
        Figure::plain("deliveries", grouped(tally.delivered)),
        Figure::plain("readers replaced", grouped(course.replaced)),
        Figure::plain("readers that were away", grouped(course.returned)),
        Figure::plain("latency p50", millis(latency.p50_ms)),
        Figure::plain("latency p99", millis(latency.p99_ms)),
        Figure::plain("latency p99.9", millis(latency.p999_ms)),
        Figure::plain("latency max", millis(latency.max_ms)),
    ];
    let mut plots = vec![
        plot("Deliveries a second", Tone::Flow, course, |sample| sample.deliveries),
        plot("Latency p99 of the second, ms", Tone::Pain, course, |sample| sample.latency.p99_ms),
    ];
    plots.extend(memory_plots(course));
    Report {
        scenario: name.to_owned(),
        summary: summary(mix),
        failures,
        verdict,
        groups: vec![("Readers".to_owned(), readers), ("Servers".to_owned(), servers(course))],
        marks: Vec::new(),
        plots,
        raw: json!({ "samples": course.samples }),
    }
}

fn summary(mix: &Mix) -> String {
    let mut parts = vec![format!(
        "{} readers of one topic with {} events/s",
        grouped(mix.readers as u64),
        mix.rate
    )];
    if mix.topics > 0 {
        let (topics, rate) = (grouped(mix.topics as u64), mix.topics_rate);
        parts.push(format!("{topics} topics with a reader each and {rate} events/s in all"));
    }
    parts.push(format!("{} % of the readers replaced a second", mix.churn * 100.0));
    if mix.away > 0.0 {
        parts.push(format!("{} % a second away for 3 s", mix.away * 100.0));
    }
    if mix.slow > 0.0 {
        parts.push(format!("{} % reading for 1 s of 10 s", mix.slow * 100.0));
    }
    let time = humantime::format_duration(mix.time);
    format!("For {time}: {}. {} bytes an event.", parts.join("; "), mix.event_bytes)
}

/// The processor and the memory of each process.
fn servers(course: &Course) -> Vec<Figure> {
    let (Some(first), Some(last)) = (course.samples.first(), course.samples.last()) else {
        return Vec::new();
    };
    let seconds = (last.seconds - first.seconds).max(1.0);
    let figures = last.holdings.iter().zip(&first.holdings).flat_map(|(last, first)| {
        let share = (last.cpu - first.cpu).as_secs_f64() / seconds * 100.0;
        let mib = last.memory.pss as f64 / f64::from(1 << 20);
        [
            Figure::plain(&format!("{}, CPU", last.name), format!("{share:.1} % of a core")),
            Figure::plain(&format!("{}, PSS at the end", last.name), format!("{mib:.1} MiB")),
            Figure::plain(&format!("{}, open files", last.name), grouped(last.files)),
        ]
    });
    figures.collect()
}

/// The memory and the open files of each process over time.
fn memory_plots(course: &Course) -> Vec<Plot> {
    let names = course.samples.first().map(|sample| sample.holdings.as_slice()).unwrap_or_default();
    let plots = names.iter().enumerate().map(|(index, holding)| {
        let title = format!("Memory of {}, KiB (PSS)", holding.name);
        plot(&title, Tone::Flow, course, |sample| sample.holdings[index].memory.pss as f64 / 1024.0)
    });
    let files = plot("Open files of the gateway", Tone::Flow, course, |sample| {
        let gateway = sample.holdings.iter().find(|holding| holding.name.starts_with("gateway"));
        gateway.map_or(0.0, |gateway| gateway.files as f64)
    });
    plots.chain([files]).collect()
}

fn plot(
    title: &str,
    tone: Tone,
    course: &Course,
    value: impl Fn(&crate::cost::mix::MixSample) -> f64,
) -> Plot {
    let points = course.samples.iter().map(|sample| (sample.seconds, value(sample)));
    Plot { title: title.to_owned(), tone, points: points.collect() }
}
