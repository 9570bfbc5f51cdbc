//! `tailwater publish`: publishes events from arguments or standard input, and reports each one that is
//! refused.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::source::{EventLine, Source};
use super::{bearer, printable};
use crate::args::PublishArgs;

struct Publisher {
    http: Client,
    url: Url,
    args: PublishArgs,
    acknowledged: u64,
    duplicates: u64,
    refused: u64,
    /// The advice about the last refused event; empty if there is none.
    advice: String,
    last: String,
    started: Instant,
    shown: Instant,
}

/// Events in one request.
const BATCH: usize = 256;
/// The time between two lines of progress on a terminal.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// The message about an event that the end of the input cut off.
const CUT_OFF: &str = "the input ended within this event; it was not published";
/// Characters shown of a refused line.
const LINE_SHOWN: usize = 60;
/// The longest time for one request.
const REQUEST_MAX: Duration = Duration::from_secs(30);

/// Publishes all events of the source. Fails if any event was refused for its content.
pub(crate) async fn run(args: PublishArgs) -> Result<()> {
    let PublishArgs { data, input, topic, kind, on_gap, .. } = args.clone();
    ensure!(
        topic.is_some() || input == crate::args::Input::Ndjson && data.is_empty(),
        "no topic: use --topic"
    );
    ensure!(topic.is_some() || !args.end, "--end needs --topic");
    let mut source = Source::new(data, input, topic, kind, on_gap);
    let now = Instant::now();
    let url = super::events_url(&args.url)?;
    let mut publisher = Publisher {
        http: super::http(&url)?,
        url,
        args,
        acknowledged: 0,
        duplicates: 0,
        refused: 0,
        advice: String::new(),
        last: String::new(),
        started: now,
        shown: now,
    };
    let mut repair_noted = false;
    while let Some(batch) = source.next(BATCH).await? {
        for note in source.take_notes() {
            publisher.note(&note);
        }
        if source.take_repaired() && !std::mem::replace(&mut repair_noted, true) {
            publisher.note("input that is not UTF-8: each invalid sequence is replaced by U+FFFD");
        }
        if !batch.is_empty() {
            publisher.publish(batch).await?;
        }
        publisher.show(false);
    }
    let cut = source.take_cut();
    if let Some(text) = &cut {
        publisher.refused(CUT_OFF, text);
    }
    let fault = source.fault();
    let is_complete = cut.is_none() && fault.is_none();
    if publisher.args.end && is_complete {
        // The end has a receipt too, but is not counted as an event.
        let acknowledged = publisher.acknowledged;
        publisher.publish(vec![source.end()]).await?;
        publisher.acknowledged = acknowledged;
    }
    publisher.show(true);
    let Publisher { args, refused, advice, .. } = &publisher;
    let refused = (*refused > 0).then(|| format!("{refused} events were refused{advice}"));
    let faults: Vec<_> = refused.into_iter().chain(fault).collect();
    let end = if args.end && !is_complete { "; the topic was not ended" } else { "" };
    ensure!(faults.is_empty(), "{}{end}", faults.join("; "));
    Ok(())
}

impl Publisher {
    /// Publishes a batch in order, and retries each event until it is acknowledged or refused for its
    /// content.
    async fn publish(&mut self, batch: Vec<EventLine>) -> Result<()> {
        let mut left = batch;
        let mut pause = Duration::from_millis(100);
        let mut deadline = Instant::now() + self.args.retry_for;
        loop {
            let trouble = match self.send(&left).await {
                Ok((settled, trouble)) => {
                    left.drain(..settled);
                    if settled > 0 {
                        deadline = Instant::now() + self.args.retry_for;
                    }
                    trouble
                }
                Err(error) if error.is::<Refused>() => return Err(error),
                Err(error) => {
                    let server = self.url.origin().ascii_serialization();
                    Some(format!("{server}: {error:#}"))
                }
            };
            if left.is_empty() {
                return Ok(());
            }
            let trouble = trouble.unwrap_or_else(|| "the response has no receipt".to_owned());
            if Instant::now() >= deadline {
                bail!("gave up after {:?}: {trouble}", self.args.retry_for);
            }
            self.note(&format!("retrying: {trouble}"));
            sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Sends lines and reads their receipts. Returns the number of settled lines, and the reason why others
    /// are not settled.
    async fn send(&mut self, lines: &[EventLine]) -> Result<(usize, Option<String>)> {
        let body: String = lines.iter().map(|line| format!("{}\n", line.0)).collect();
        let request = self
            .http
            .post(self.url.clone())
            .header("Content-Type", "application/x-ndjson")
            .timeout(REQUEST_MAX)
            .body(body);
        let request = bearer::authorized(request, &self.args.token)?;
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        let text = response.text().await.map_err(reqwest::Error::without_url)?;
        if status.is_client_error() && !is_transient_status(status) {
            let refusal = super::refusal(&self.url, status, &text, &self.args.token);
            if bearer::may_be_renewed(&self.args.token, status, &text) {
                return Ok((0, Some(refusal)));
            }
            bail!(Refused(refusal));
        }
        ensure!(status.is_success(), "{status}: {}", super::message_of(&text));
        let mut settled = 0;
        let receipts = text.lines().filter(|line| !line.trim().is_empty());
        for (receipt, line) in receipts.zip(lines) {
            let json: Value = serde_json::from_str(receipt).context("a receipt is not JSON")?;
            if let Some(message) = json["error"]["message"].as_str() {
                let code = json["error"]["code"].as_str().unwrap_or_default();
                if is_transient(code) {
                    return Ok((settled, Some(message.to_owned())));
                }
                self.advice = bearer::advice(&self.args.token, receipt);
                self.refused(message, &line.0);
            } else {
                self.acknowledged += 1;
                self.duplicates += u64::from(json["duplicate"] == true);
                self.last = format!(
                    "{} {}",
                    json["topic"].as_str().unwrap_or_default(),
                    json["id"].as_str().unwrap_or_default()
                );
            }
            if self.args.receipts {
                self.print(receipt);
            }
            settled += 1;
        }
        Ok((settled, None))
    }

    /// Counts and reports an event that was refused.
    fn refused(&mut self, message: &str, event: &str) {
        self.refused += 1;
        self.note(&format!("refused: {message}: {}", shorten(event)));
    }

    /// Prints a receipt. If the reader of standard output has gone, the rest is published without
    /// receipts.
    fn print(&mut self, receipt: &str) {
        let mut out = std::io::stdout().lock();
        let printed = writeln!(out, "{receipt}").and_then(|()| out.flush());
        self.args.receipts = printed.is_ok();
    }

    /// Shows progress: on a terminal as one line that is redrawn, elsewhere only at the end.
    fn show(&mut self, last: bool) {
        let terminal = std::io::stderr().is_terminal();
        if self.args.quiet || !last && (!terminal || self.shown.elapsed() < PROGRESS_EVERY) {
            return;
        }
        self.shown = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let line = format!(
            "{} events acknowledged ({} duplicates, {} refused), {:.0}/s, last {}",
            self.acknowledged,
            self.duplicates,
            self.refused,
            self.acknowledged as f64 / seconds,
            printable(&self.last)
        );
        let (start, end) =
            if terminal { ("\r\x1b[2K", if last { "\n" } else { "" }) } else { ("", "\n") };
        let mut stderr = std::io::stderr();
        // A failure to show progress is no reason to stop publishing.
        let _shown = write!(stderr, "{start}{line}{end}").and_then(|()| stderr.flush());
    }

    fn note(&self, text: &str) {
        let start = if std::io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
        eprintln!("{start}tailwater: {}", printable(text));
    }
}

/// The server refused the request for its content, so a retry would not help.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Returns whether a status below 500 is worth a retry.
fn is_transient_status(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// Returns the beginning of a line, enough to recognise it.
fn shorten(line: &str) -> String {
    let mut start: String = line.chars().take(LINE_SHOWN).collect();
    if start.len() < line.len() {
        start.push('\u{2026}');
    }
    start
}

/// Returns whether an error code of ingest is worth a retry.
fn is_transient(code: &str) -> bool {
    matches!(
        code,
        "log_unavailable"
            | "log_full"
            | "too_many_requests"
            | "too_many_topics"
            | "quota"
            | "memory"
            | "body_timeout"
            | "draining"
            | "keys_unavailable"
            // The next request decides, with the token that is then in the file.
            | "token_expired"
    )
}
