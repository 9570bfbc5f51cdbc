//! `tailwater publish`: events from arguments or standard input, each acknowledged or told of.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::source::{Line, Source};
use crate::args::PublishArgs;

struct Publisher {
    http: Client,
    url: Url,
    args: PublishArgs,
    acknowledged: u64,
    duplicates: u64,
    refused: u64,
    last: String,
    started: Instant,
    shown: Instant,
}

/// Events in one request.
const BATCH: usize = 256;
/// Between two looks at the progress.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Characters shown of a line that was refused.
const LINE_SHOWN: usize = 60;
/// The longest that one request may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Publishes until the source is at its end. An error if any event was refused for what it is.
pub(crate) async fn run(args: PublishArgs) -> Result<()> {
    let PublishArgs { data, input, topic, kind, .. } = args.clone();
    ensure!(
        topic.is_some() || input == crate::args::Input::Ndjson && data.is_empty(),
        "no topic: give --topic"
    );
    ensure!(topic.is_some() || !args.end, "--end needs --topic");
    let mut source = Source::new(data, input, topic, kind);
    let now = Instant::now();
    let mut publisher = Publisher {
        http: super::http()?,
        url: super::events_url(&args.url)?,
        args,
        acknowledged: 0,
        duplicates: 0,
        refused: 0,
        last: String::new(),
        started: now,
        shown: now,
    };
    let mut told_of_repair = false;
    loop {
        let batch = source.next(BATCH).await?;
        if batch.is_empty() {
            break;
        }
        if source.take_repaired() && !std::mem::replace(&mut told_of_repair, true) {
            publisher.note("what is not UTF-8 is replaced by U+FFFD");
        }
        publisher.publish(batch).await?;
        publisher.show(false);
    }
    if publisher.args.end {
        // It has a receipt too, but is no event.
        let acknowledged = publisher.acknowledged;
        publisher.publish(vec![source.end()]).await?;
        publisher.acknowledged = acknowledged;
    }
    publisher.show(true);
    ensure!(publisher.refused == 0, "{} events were refused", publisher.refused);
    Ok(())
}

impl Publisher {
    /// Publishes a batch, in order, each event until it is acknowledged or refused for what it is.
    async fn publish(&mut self, batch: Vec<Line>) -> Result<()> {
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
            let trouble = trouble.unwrap_or_else(|| "no receipt came back".to_owned());
            if Instant::now() >= deadline {
                bail!("gave up after {:?}: {trouble}", self.args.retry_for);
            }
            self.note(&format!("trying again: {trouble}"));
            sleep(pause.mul_f64(0.75 + 0.5 * fastrand::f64())).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Sends lines and reads their receipts: how many are settled, and what stopped the rest.
    async fn send(&mut self, lines: &[Line]) -> Result<(usize, Option<String>)> {
        let body: String = lines.iter().map(|line| format!("{}\n", line.0)).collect();
        let request = self
            .http
            .post(self.url.clone())
            .header("Content-Type", "application/x-ndjson")
            .timeout(ANSWER_MAX)
            .body(body);
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        let text = response.text().await.map_err(reqwest::Error::without_url)?;
        if status.is_client_error() && !is_passing_status(status) {
            bail!(Refused(super::refusal(&self.url, status, &text)));
        }
        ensure!(status.is_success(), "{status}: {}", super::message_of(&text));
        let mut settled = 0;
        let receipts = text.lines().filter(|line| !line.trim().is_empty());
        for (receipt, line) in receipts.zip(lines) {
            let json: Value = serde_json::from_str(receipt).context("a receipt is no JSON")?;
            if let Some(message) = json["error"]["message"].as_str() {
                let code = json["error"]["code"].as_str().unwrap_or_default();
                if is_passing(code) {
                    return Ok((settled, Some(message.to_owned())));
                }
                self.refused += 1;
                self.note(&format!("refused: {message}: {}", shorten(&line.0)));
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

    /// Prints a receipt. Whoever read them may have left, which is no reason not to publish the rest.
    fn print(&mut self, receipt: &str) {
        let mut out = std::io::stdout().lock();
        let printed = writeln!(out, "{receipt}").and_then(|()| out.flush());
        self.args.receipts = printed.is_ok();
    }

    /// One line that stays in its place on a terminal; elsewhere, only the last word.
    fn show(&mut self, last: bool) {
        let terminal = std::io::stderr().is_terminal();
        if self.args.quiet || !last && (!terminal || self.shown.elapsed() < SHOW_EVERY) {
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
            self.last
        );
        let (start, end) =
            if terminal { ("\r\x1b[2K", if last { "\n" } else { "" }) } else { ("", "\n") };
        let mut stderr = std::io::stderr();
        // Progress that cannot be shown is not worth failing for.
        let _shown = write!(stderr, "{start}{line}{end}").and_then(|()| stderr.flush());
    }

    fn note(&self, text: &str) {
        let start = if std::io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
        eprintln!("{start}tailwater: {text}");
    }
}

/// The request was refused for what it is: trying again would change nothing.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Whether a status below 500 may pass by itself.
fn is_passing_status(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// The beginning of a line, enough to know it by.
fn shorten(line: &str) -> String {
    let mut start: String = line.chars().take(LINE_SHOWN).collect();
    if start.len() < line.len() {
        start.push('\u{2026}');
    }
    start
}

/// Whether an error of ingest may pass by itself.
fn is_passing(code: &str) -> bool {
    matches!(code, "log_unavailable" | "log_full" | "too_many_requests" | "draining")
}
