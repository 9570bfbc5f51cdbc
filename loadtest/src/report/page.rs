//! The report as one HTML file that needs nothing from anywhere.

use super::plot::PlotPlace;
use super::{Figure, Plot, Report};
use crate::report::timeline::{Mark, MarkKind};

pub(super) const STYLE: &str = include_str!("page.css");

pub(super) fn render(report: &Report) -> String {
    let (class, word) = if report.passed() { ("pass", "Passed") } else { ("fail", "Failed") };
    let scenario = escaped(&report.scenario);
    let summary = escaped(&report.summary);
    let failures: String =
        report.failures.iter().map(|f| format!("<li>{}</li>", escaped(f))).collect();
    let failures = if failures.is_empty() {
        failures
    } else {
        format!("<ul class=\"failures\">{failures}</ul>")
    };
    let tiles: String = report.verdict.iter().map(tile).collect();
    let plots = match plots(&report.plots, &report.marks) {
        plots if plots.is_empty() => plots,
        plots => format!("<section class=\"card plots\">{plots}</section>"),
    };
    let groups: String =
        report.groups.iter().map(|(title, figures)| group(title, figures)).collect();
    let marks = timeline(&report.marks);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{scenario}: {word}</title><style>{STYLE}</style></head><body><main>\
         <header><p class=\"brand\">Tailwater load test</p>\
         <h1>{scenario} <span class=\"pill {class}\">{word}</span></h1>\
         <p class=\"summary\">{summary}</p>{failures}</header>\
         <section class=\"tiles\">{tiles}</section>\
         {plots}\
         <section class=\"groups\">{groups}{marks}</section>\
         </main></body></html>\n"
    )
}

pub(super) fn tile(figure: &Figure) -> String {
    let class = match figure.is_good {
        Some(true) => "good",
        Some(false) => "bad",
        None => "",
    };
    let (name, value) = (escaped(&figure.name), escaped(&figure.value));
    format!("<div class=\"tile {class}\"><b>{value}</b><span>{name}</span></div>")
}

/// Plots with one time axis and these marks.
pub(super) fn plots(plots: &[Plot], marks: &[Mark]) -> String {
    let seconds = plots.iter().flat_map(|plot| &plot.points).map(|point| point.0);
    let end = seconds.fold(1.0, f64::max);
    let last = plots.len().saturating_sub(1);
    let figure = |(index, plot): (usize, &Plot)| {
        let place = PlotPlace { is_first: index == 0, is_last: index == last, end };
        let (title, svg) = (escaped(&plot.title), plot.svg(place, marks));
        format!("<figure><figcaption>{title}</figcaption>{svg}</figure>")
    };
    plots.iter().enumerate().map(figure).collect()
}

fn group(title: &str, figures: &[Figure]) -> String {
    let row = |figure: &Figure| {
        let (name, value) = (escaped(&figure.name), escaped(&figure.value));
        let class = if figure.is_good == Some(false) { " class=\"bad\"" } else { "" };
        format!("<tr{class}><th>{name}</th><td>{value}</td></tr>")
    };
    let rows: String = figures.iter().map(row).collect();
    format!("<div class=\"card\"><h2>{}</h2><table>{rows}</table></div>", escaped(title))
}

fn timeline(marks: &[Mark]) -> String {
    if marks.is_empty() {
        return String::new();
    }
    let row = |mark: &Mark| {
        let class = match mark.kind {
            MarkKind::Fault => "fault",
            MarkKind::Operation => "operation",
        };
        format!(
            "<tr><th><i class=\"dot {class}\"></i>{}</th><td>{:.1} s</td></tr>",
            escaped(&mark.label),
            mark.at
        )
    };
    let rows: String = marks.iter().map(row).collect();
    format!("<div class=\"card\"><h2>Acts</h2><table>{rows}</table></div>")
}

/// The text with the characters replaced that mean something in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
