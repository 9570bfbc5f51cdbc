//! `tailwater tail`: follows topics and patterns like an `EventSource`; in addition it backs off, saves its position
//! in a file if asked, and reports gaps.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{bearer, control, printable};
use crate::args::{TailArgs, TailFormat};

/// A reader of topics across reconnects.
struct Follower {
    args: TailArgs,
    /// The position from which a reconnect resumes.
    cursor: Option<String>,
    /// The reconnect time that the server asked for.
    retry: Duration,
    printed: u64,
    gaps: u64,
    /// The time since which the server refuses the token of the file as expired.
    expired: Option<Instant>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    topic: &'a str,
    r#type: Option<String>,
    data: String,
    time: &'a str,
}

/// The heartbeat requested from the server, in seconds.
const HEARTBEAT_SECONDS: &str = "15";
/// A stream that is silent for longer than three heartbeats is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// The longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest wait for a new token in the file: whoever renews it late does so within seconds.
const RENEWAL_MAX: Duration = Duration::from_mins(1);

/// Follows the topics and patterns until all topics end, the count is reached, or a signal arrives.
pub(crate) async fn run(args: TailArgs) -> Result<()> {
    let cursor = match &args.state {
        Some(path) if path.exists() => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("--state {}", path.display()))?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        }
        _ => args.after.clone(),
    };
    let mut follower = Follower {
        args,
        cursor,
        retry: Duration::from_secs(2),
        printed: 0,
        gaps: 0,
        expired: None,
    };
    let finished = tokio::select! {
        outcome = follower.follow() => outcome,
        stopped = super::stop_signal() => stopped,
    };
    // Every end of the loop saves the position of the last printed event.
    let finished = follower.save().and(finished);
    if let (Some(cursor), false) = (&follower.cursor, follower.args.quiet) {
        follower.say(&format!(
            "{} events, {} gaps; resume with --after {cursor}",
            follower.printed, follower.gaps
        ));
    }
    finished
}

impl Follower {
    async fn follow(&mut self) -> Result<()> {
        let url = self.url()?;
        let http = super::http(&url)?;
        let mut failures: u32 = 0;
        // Later the file of the token may be away for a moment, while it is replaced.
        let mut is_first = true;
        loop {
            let mut request = http.get(url.clone()).header("Accept", "text/event-stream");
            if let Some(cursor) = &self.cursor {
                request = request.header("Last-Event-ID", cursor);
            }
            let request = match bearer::authorized(request, &self.args.token) {
                Err(error) if is_first => return Err(error),
                request => request,
            };
            is_first = false;
            let sent = async { Ok(timeout(SILENCE_MAX, request?.send()).await??) };
            match sent.await {
                Ok(response) => match self.stream(response).await? {
                    ControlFlow::Break(()) => return Ok(()),
                    ControlFlow::Continue(had_events) => {
                        failures = if had_events { 0 } else { failures + 1 }
                    }
                },
                Err(error) => {
                    failures += 1;
                    self.inform(&format!("cannot connect: {:#}", without_url(error)));
                }
            }
            sleep(self.pause(failures)).await;
        }
    }

    /// Reads one stream to its end. Continues with true if the stream had an event, or breaks if there is
    /// nothing more to follow.
    async fn stream(&mut self, response: Response) -> Result<ControlFlow<(), bool>> {
        match response.status() {
            StatusCode::OK => self.expired = None,
            StatusCode::NO_CONTENT => {
                self.inform("all topics have ended");
                return Ok(ControlFlow::Break(()));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                self.inform(&format!("the server answered {status}"));
                return Ok(ControlFlow::Continue(false));
            }
            status => {
                let url = response.url().clone();
                let body = response.text().await.unwrap_or_default();
                let refusal = super::refusal(&url, status, &body, &self.args.token);
                if bearer::may_be_renewed(&self.args.token, status, &body)
                    && self.expired.get_or_insert_with(Instant::now).elapsed() < RENEWAL_MAX
                {
                    self.inform(&refusal);
                    return Ok(ControlFlow::Continue(false));
                }
                bail!(refusal);
            }
        }
        let mut parser = sse::Parser::resuming(self.cursor.as_deref().unwrap_or_default());
        let mut body = response.bytes_stream();
        let mut had_events = false;
        while let Ok(Some(Ok(bytes))) = timeout(SILENCE_MAX, body.next()).await {
            let mut events = Vec::new();
            parser.feed(&bytes, &mut |event| events.push(event));
            if let Some(retry) = parser.retry() {
                self.retry = retry;
            }
            for event in events {
                had_events = true;
                if self.take(&event)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            self.save()?;
        }
        self.inform("connection lost");
        Ok(ControlFlow::Continue(had_events))
    }

    fn take(&mut self, event: &sse::Event) -> Result<ControlFlow<()>> {
        if event.is_control() {
            self.report(event);
        } else {
            match self.print(event) {
                Ok(()) => {}
                // The reader has closed the pipe, which is the normal end of a pipeline.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    return Ok(ControlFlow::Break(()));
                }
                Err(error) => return Err(error).context("standard output"),
            }
            self.printed += 1;
        }
        if !event.id.is_empty() {
            self.cursor = Some(event.id.clone());
        }
        if self.args.count.is_some_and(|count| self.printed >= count) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn print(&self, event: &sse::Event) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match (self.args.format, serde_json::from_str::<Envelope<'_>>(&event.data)) {
            (TailFormat::Text, Ok(Envelope { topic, r#type, data, time })) => {
                let kind = r#type.map(|kind| format!(" {kind}")).unwrap_or_default();
                let line = format!("{time} {topic}{kind} {data}");
                writeln!(out, "{}", printable(&line))?;
            }
            (TailFormat::Data, Ok(envelope)) => writeln!(out, "{}", envelope.data)?,
            (TailFormat::Json, Ok(_)) => writeln!(out, "{}", event.data)?,
            (_, Err(_)) => writeln!(out, "{}", printable(&event.data))?,
        }
        out.flush()
    }

    /// Reports a control event on standard error.
    fn report(&mut self, event: &sse::Event) {
        let json: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| json[name].as_str().unwrap_or("?").to_owned();
        match event.event_type() {
            "tailwater.ready" => {
                self.inform(&format!("connected to {}: {}", text("node"), text("outcome")))
            }
            "tailwater.gap" => {
                self.gaps += 1;
                let line = control::gap(&json);
                eprintln!("tailwater: {}", red(&printable(&line)));
            }
            "tailwater.broken" => self.inform(&format!(
                "the publisher of {} broke off ({})",
                text("topic"),
                text("reason")
            )),
            "tailwater.reopened" => {
                self.inform(&format!("{} was opened again", text("topic")));
            }
            "tailwater.end" => self.inform(&format!("{} has ended", text("topic"))),
            "tailwater.reconnect" => self.inform(&format!("told to reconnect: {}", text("reason"))),
            _ => {}
        }
    }

    /// Writes the position to the state file, atomically.
    fn save(&self) -> Result<()> {
        let (Some(path), Some(cursor)) = (&self.args.state, &self.cursor) else { return Ok(()) };
        let mut next = path.clone().into_os_string();
        next.push(".next");
        std::fs::write(&next, format!("{cursor}\n"))
            .and_then(|()| std::fs::rename(&next, path))
            .with_context(|| format!("--state {}", path.display()))
    }

    /// Returns the server's reconnect time, doubled with each failure, with jitter.
    fn pause(&self, failures: u32) -> Duration {
        let pause = self.retry.saturating_mul(1 << failures.min(5)).min(PAUSE_MAX.max(self.retry));
        pause.mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    fn url(&self) -> Result<Url> {
        let mut url = super::events_url(&self.args.url)?;
        let mut query = url.query_pairs_mut();
        for topic in &self.args.topics {
            query.append_pair("topic", topic);
        }
        query.append_pair("from", &self.args.from);
        if let Some(types) = &self.args.types {
            query.append_pair("types", types);
        }
        query.append_pair("envelope", "json");
        query.append_pair("heartbeat", HEARTBEAT_SECONDS);
        drop(query);
        Ok(url)
    }

    fn inform(&self, text: &str) {
        if !self.args.quiet {
            self.say(text);
        }
    }

    #[expect(clippy::unused_self, reason = "every message goes through one method")]
    fn say(&self, text: &str) {
        eprintln!("tailwater: {}", printable(text));
    }
}

fn red(text: &str) -> String {
    if std::io::stderr().is_terminal() { format!("\x1b[31m{text}\x1b[0m") } else { text.to_owned() }
}

fn without_url(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<reqwest::Error>() {
        Ok(error) => error.without_url().into(),
        Err(error) => error,
    }
}
