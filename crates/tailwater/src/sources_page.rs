//! The page of the sources, for operators: a table that renews itself. It has no script.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::header;
use axum::response::{Html, IntoResponse};
use sources::SourceState;

/// The time without a sign after which a relay is shown as silent; another one takes over then.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A state has texts of other systems, so nothing of the page may run or load.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
const HEAD: &str = "<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content=\"width=device-width\">
<meta http-equiv=refresh content=5>
<title>Sources - Tailwater</title>
<style>
:root { color-scheme: light dark; font: 14px/1.5 system-ui, sans-serif; }
body { margin: 2rem; }
h1 { font-size: 1.25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .4rem .8rem; text-align: left; vertical-align: top; white-space: nowrap; }
tr { border-bottom: 1px solid #8884; }
th { font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.good { color: light-dark(#176b2c, #6fd58a); }
.bad { color: light-dark(#b3261e, #ff8a80); font-weight: 600; }
.error { min-width: 20rem; max-width: 40rem; white-space: normal; overflow-wrap: anywhere; }
.quiet { color: #888; }
</style>
<h1>Sources</h1>
";

/// Makes the page.
pub(crate) fn page(states: &[SourceState], now: SystemTime) -> impl IntoResponse + use<> {
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")];
    (headers, Html(text(states, now)))
}

fn text(states: &[SourceState], now: SystemTime) -> String {
    let mut page = HEAD.to_owned();
    if states.is_empty() {
        page.push_str("<p>No relay has told of a source.</p>\n");
        return page;
    }
    page.push_str("<div class=scroll><table>\n<tr>");
    for (title, class) in [
        ("Source", ""),
        ("Kind", ""),
        ("State", ""),
        ("Copied", "number"),
        ("Repeated", "number"),
        ("Behind", "number"),
        ("Refused", "number"),
        ("Lost", "number"),
        ("Relay", ""),
        ("Last sign", "number"),
        ("Last error", ""),
    ] {
        write(&mut page, format_args!("<th class=\"{class}\">{title}"));
    }
    page.push('\n');
    for state in states {
        row(&mut page, state, now);
    }
    page.push_str("</table></div>\n");
    page
}

fn row(page: &mut String, state: &SourceState, now: SystemTime) {
    // The clock of the log may be ahead of this node's.
    let told = UNIX_EPOCH + Duration::from_millis(state.time_ms);
    let age = now.duration_since(told).unwrap_or_default();
    let is_running = !matches!(&*state.state, "stopped" | "ended");
    let (class, word) = match &*state.state {
        _ if is_running && age > SILENT_AFTER => ("bad", "silent"),
        "copying" => ("good", "copying"),
        "stopped" => ("bad", "stopped"),
        other => ("", other),
    };
    let number = |number: u64, class| match number {
        0 => "<td class=\"number quiet\">0".to_owned(),
        _ => format!("<td class=\"number {class}\">{number}"),
    };
    let lost = match (state.gaps, state.missed) {
        (0, _) => number(0, ""),
        (gaps, 0) => format!("<td class=\"number bad\">{gaps} times"),
        (gaps, missed) => format!("<td class=\"number bad\">{missed} in {gaps} times"),
    };
    let behind = match (state.lag_events, state.lag_bytes) {
        (None, None) => "<span class=quiet>unknown</span>".to_owned(),
        (events, bytes) => {
            let events = events.map(|events| format!("{events} events"));
            let bytes = bytes.map(|bytes| format!("{} KiB", bytes / 1024));
            events.into_iter().chain(bytes).collect::<Vec<_>>().join(", ")
        }
    };
    write(
        page,
        format_args!(
            "<tr><td>{}<td>{}<td class=\"{class}\">{}{}{}<td class=number>{behind}{}{lost}<td>{}\
            <td class=number>{} s ago<td class=error>{}\n",
            escape(&state.source),
            escape(&state.kind),
            escape(word),
            number(state.copied, ""),
            number(state.duplicates, ""),
            number(state.refused, "bad"),
            escape(&state.node),
            age.as_secs(),
            escape(state.error.as_deref().unwrap_or_default()),
        ),
    );
}

fn write(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    page.write_fmt(arguments).expect("a String takes everything");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(source: &str, state: &str, time_ms: u64) -> SourceState {
        let (source, state) = (source.to_owned(), state.to_owned());
        SourceState { source, state, time_ms, kind: "mqtt".to_owned(), ..SourceState::default() }
    }

    #[test]
    fn a_relay_that_shows_no_sign_is_silent_and_a_stopped_source_is_not() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let states = [
            state("fresh", "copying", 998_000),
            state("dead", "copying", 980_000),
            state("halted", "stopped", 980_000),
            state("ahead", "connecting", 1_002_000),
        ];
        let page = text(&states, now);
        for (row, word) in page.lines().filter(|line| line.starts_with("<tr><td>")).zip([
            "<td class=\"good\">copying",
            "<td class=\"bad\">silent",
            "<td class=\"bad\">stopped",
            "<td class=\"\">connecting",
        ]) {
            assert!(row.contains(word), "{row} has not {word}");
        }
        assert!(text(&[], now).contains("No relay has told"));
    }

    #[test]
    fn texts_of_other_systems_stay_texts() {
        let evil = "<script>\"&";
        let error = Some(evil.to_owned());
        let states = [SourceState { error, node: evil.to_owned(), ..state(evil, evil, 0) }];
        let page = text(&states, UNIX_EPOCH);
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(page.matches("&lt;script&gt;&quot;&amp;").count(), 4);
    }
}
