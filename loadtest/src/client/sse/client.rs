//! A client that behaves as a browser's `EventSource`, and counts its reconnects and failures.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::Event;
use super::connection::Connection;
use crate::client::endpoint::Endpoint;

/// Reconnection time until the server names another one; Chromium's and WebKit's.
const RETRY_DEFAULT: Duration = Duration::from_secs(3);

/// The client gives up an answer that takes longer than this and tries again, unless
/// [`EventSource::answer_timeout`] sets another limit. Browsers wait for minutes, a load test
/// cannot.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The client's reaction to a status other than 200 and 204.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRefusal {
    /// Stops for good, as every browser does.
    #[default]
    Stop,
    /// Counts it and tries again after the retry time, as a wrapper around a browser's would.
    Retry,
}

/// The next change of a client.
#[derive(Debug)]
pub enum Signal {
    /// A stream opened; for a reconnect with the time since the last one was lost.
    Open {
        /// `None` for the first stream.
        without: Option<Duration>,
    },
    /// An event arrived.
    Event(Event),
    /// The stream ended; the client will reconnect after the retry time.
    Lost,
    /// An attempt to connect failed before there was an answer; it will be repeated.
    Failed,
    /// The server refused. [`OnRefusal`] decides the next step.
    Refused {
        /// The status, neither 200 nor 204.
        status: u16,
        /// The content type, which tells a load balancer's page from a gateway's answer.
        content_type: String,
    },
    /// The client stopped for good: 204, or a refusal.
    Stopped,
}

/// The counts of a client since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Streams after the first one.
    pub reconnects: u64,
    /// Streams that ended.
    pub lost: u64,
    /// Attempts that got no answer. Firefox gives up for ever at the first of them.
    pub failed: u64,
    /// Answers that would have killed a browser's `EventSource`.
    pub refused: u64,
    /// Streams that were given up because nothing came.
    pub silent: u64,
    /// Comment lines on streams that have ended.
    pub comments: u64,
}

#[derive(Debug)]
enum SourceState {
    /// Connects at the given time.
    Waiting(Instant),
    Open(Box<Connection>),
    Stopped,
}

/// An `EventSource` over one URL.
///
/// ```no_run
/// # async fn example(addr: std::net::SocketAddr) {
/// use loadtest::client::sse::EventSource;
/// let mut client = EventSource::new(addr, "/v1/events?topic=orders");
/// while let Some(event) = client.next_event().await {
///     println!("{} {}", event.id, event.data);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct EventSource {
    server: Endpoint,
    path: String,
    headers: Vec<(String, String)>,
    on_refusal: OnRefusal,
    answer_timeout: Duration,
    silence_max: Option<Duration>,
    last_event_id: String,
    retry: Duration,
    state: SourceState,
    lost_at: Option<Instant>,
    opened: bool,
    stats: Stats,
}

impl EventSource {
    /// A client that has not connected yet: the first [`EventSource::next`] does.
    pub fn new(server: impl Into<Endpoint>, path: impl Into<String>) -> Self {
        EventSource {
            server: server.into(),
            path: path.into(),
            headers: Vec::new(),
            on_refusal: OnRefusal::default(),
            answer_timeout: ANSWER_TIMEOUT,
            silence_max: None,
            last_event_id: String::new(),
            retry: RETRY_DEFAULT,
            state: SourceState::Waiting(Instant::now()),
            lost_at: None,
            opened: false,
            stats: Stats::default(),
        }
    }

    /// Adds a header to every request.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the reaction to a refusal.
    #[must_use]
    pub fn on_refusal(mut self, on_refusal: OnRefusal) -> Self {
        self.on_refusal = on_refusal;
        self
    }

    /// Gives an attempt up that has no answer after this long.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Drops a stream on which nothing at all came for this long, heartbeats included. Browsers
    /// lack this; without it a frozen gateway holds its clients for ever.
    #[must_use]
    pub fn silence_max(mut self, silence: Duration) -> Self {
        self.silence_max = Some(silence);
        self
    }

    /// The cursor that the next reconnect will send; empty when there is none.
    pub fn last_event_id(&self) -> &str {
        match &self.state {
            SourceState::Open(connection) => connection.last_event_id(),
            SourceState::Waiting(_) | SourceState::Stopped => &self.last_event_id,
        }
    }

    /// Makes the next reconnect send another cursor (none, when empty). This is how a test asks
    /// for a given start, and how a sabotaged run plants loss and duplicates. Has no effect while
    /// a stream is open, whose own ids overwrite it.
    pub fn set_last_event_id(&mut self, id: &str) {
        id.clone_into(&mut self.last_event_id);
    }

    /// Makes the next connection go to another address, as a load balancer would.
    pub fn set_addr(&mut self, server: impl Into<Endpoint>) {
        self.server = server.into();
    }

    /// The time between a loss and the reconnect: the last stream's `retry`.
    pub fn retry(&self) -> Duration {
        self.retry
    }

    /// The counts of this client since its start.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The open stream, if there is one.
    pub fn connection(&self) -> Option<&Connection> {
        match &self.state {
            SourceState::Open(connection) => Some(connection),
            SourceState::Waiting(_) | SourceState::Stopped => None,
        }
    }

    /// Waits for the next change. After [`Signal::Stopped`] it is `Stopped` for ever.
    ///
    /// Cancel-safe: dropped while it waits for events or for the retry time it loses nothing;
    /// dropped while it connects, the next call connects anew.
    pub async fn next(&mut self) -> Signal {
        match &mut self.state {
            SourceState::Stopped => Signal::Stopped,
            SourceState::Waiting(at) => {
                sleep_until(*at).await;
                self.connect().await
            }
            SourceState::Open(connection) => {
                let event = match self.silence_max {
                    Some(silence) => next_within(connection, silence).await,
                    None => connection.next_event().await,
                };
                match event {
                    Some(event) => Signal::Event(event),
                    None => {
                        self.stats.silent += u64::from(connection.end().is_none());
                        self.lost()
                    }
                }
            }
        }
    }

    /// The next event, through any number of reconnects; `None` once the client has stopped.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.next().await {
                Signal::Event(event) => return Some(event),
                Signal::Stopped => return None,
                Signal::Open { .. } | Signal::Lost | Signal::Failed | Signal::Refused { .. } => {}
            }
        }
    }

    /// Closes the stream, if one is open, as if the network had failed: the client reconnects.
    pub fn drop_connection(&mut self) {
        if matches!(self.state, SourceState::Open(_)) {
            self.lost();
        }
    }

    async fn connect(&mut self) -> Signal {
        let mut headers: Vec<(&str, &str)> = Vec::with_capacity(self.headers.len() + 1);
        headers.extend(self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        if !self.last_event_id.is_empty() {
            headers.push(("Last-Event-ID", &self.last_event_id));
        }
        let open = Connection::open(self.server.clone(), &self.path, &headers);
        match timeout(self.answer_timeout, open).await {
            Ok(Ok(connection)) => match connection.status() {
                200 => self.opened(connection),
                204 => self.stop(),
                status => self.refused(status, &connection),
            },
            Ok(Err(_)) | Err(_) => {
                self.stats.failed += 1;
                self.wait();
                Signal::Failed
            }
        }
    }

    fn opened(&mut self, connection: Connection) -> Signal {
        let without = self.lost_at.take().map(|at| at.elapsed());
        self.stats.reconnects += u64::from(std::mem::replace(&mut self.opened, true));
        self.state = SourceState::Open(Box::new(connection));
        Signal::Open { without }
    }

    fn lost(&mut self) -> Signal {
        if let SourceState::Open(connection) = &self.state {
            self.retry = connection.retry().unwrap_or(self.retry);
            connection.last_event_id().clone_into(&mut self.last_event_id);
            self.stats.comments += connection.comments();
            self.stats.lost += 1;
            self.lost_at = Some(Instant::now());
        }
        self.wait();
        Signal::Lost
    }

    fn refused(&mut self, status: u16, connection: &Connection) -> Signal {
        self.stats.refused += 1;
        match self.on_refusal {
            OnRefusal::Retry => self.wait(),
            OnRefusal::Stop => self.state = SourceState::Stopped,
        }
        let content_type = connection.header("content-type").unwrap_or_default();
        Signal::Refused { status, content_type: content_type.to_owned() }
    }

    fn stop(&mut self) -> Signal {
        self.state = SourceState::Stopped;
        Signal::Stopped
    }

    /// Comes back after the server's retry time. The server jitters it; the client does not.
    fn wait(&mut self) {
        self.state = SourceState::Waiting(Instant::now() + self.retry);
    }
}

/// The next event, or `None` at the end or after `silence` without a byte.
async fn next_within(connection: &mut Connection, silence: Duration) -> Option<Event> {
    loop {
        let until = connection.heard() + silence;
        if let Ok(event) = timeout_at(until, connection.next_event()).await {
            return event;
        }
        if connection.heard() + silence <= Instant::now() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
