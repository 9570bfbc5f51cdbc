//! Clients: one behaves like `EventSource`, the other polls.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use tokio::time::sleep;

use super::cluster::{Cluster, Connection, Sent};
use super::dice::{chance, millis};
use super::judge::{Judge, Verdict};
use super::wanted::Wanted;
use super::world::World;

mod poll;

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) world: Arc<World>,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) judge: Arc<Mutex<Judge>>,
    /// The query, without a cursor.
    pub(crate) query: String,
    pub(crate) parts: Vec<Wanted>,
    /// The client stops reading from time to time.
    pub(crate) slow: bool,
    /// The client's connection breaks from time to time, in the middle of a write.
    pub(crate) bad_line: bool,
    pub(crate) polls: bool,
    pub(crate) last_event_id: String,
    pub(crate) retry: Duration,
}

/// The client's next step after a connection.
enum Close {
    /// Reconnect.
    Again,
    /// Stop, because the gateway said so.
    Stop,
}

impl Client {
    pub(crate) async fn run(mut self) {
        sleep(millis(0..10_000)).await;
        loop {
            let turn = if self.polls { self.poll().await } else { self.stream().await };
            match turn {
                Ok(Close::Again) => {}
                Ok(Close::Stop) => return self.note("has it all"),
                Err(why) => return self.world.violated(format!("{}: {why}", self.name)),
            }
        }
    }

    /// One connection of an `EventSource`, and the pause after it.
    async fn stream(&mut self) -> Result<Close, String> {
        let mut request = Request::get(format!("/v1/events?{}", self.query));
        if !self.last_event_id.is_empty() {
            request = request.header("last-event-id", &self.last_event_id);
        }
        request = request.header(header::ACCEPT, "text/event-stream");
        let close = match self.connect(request.body(Body::empty()).expect("a request")) {
            Some(connection) => self.listen(connection).await?,
            None => Close::Again,
        };
        if matches!(close, Close::Again) {
            sleep(self.retry).await;
        }
        Ok(close)
    }

    /// Connects to a random gateway, like a load balancer.
    fn connect(&self, request: Request<Body>) -> Option<Connection> {
        let slot = fastrand::usize(0..self.cluster.len());
        self.note(&format!("goes to {slot} with {:?}", self.last_event_id));
        self.judge().reconnect();
        self.cluster.connect(slot, request)
    }

    async fn listen(&mut self, mut connection: Connection) -> Result<Close, String> {
        match connection.from.recv().await {
            Some(Sent::Head(StatusCode::OK)) => {}
            Some(Sent::Head(StatusCode::NO_CONTENT)) => {
                self.judge().finish()?;
                return Ok(Close::Stop);
            }
            Some(other) => return Err(format!("an EventSource stops for ever: {other:?}")),
            None => return Ok(Close::Again),
        }
        let mut parser = sse::Parser::resuming(&self.last_event_id);
        let mut clean = true;
        loop {
            let bytes = match connection.from.recv().await {
                Some(Sent::Bytes(bytes)) => bytes,
                Some(Sent::End) if clean => break,
                Some(other) => return Err(format!("a stream ends with {other:?}")),
                None => break,
            };
            let broken = (!connection.is_alive() && chance(50)) || self.line_breaks();
            let end = if broken { fastrand::usize(0..=bytes.len()) } else { bytes.len() };
            clean = bytes.ends_with(b"\n\n") || (clean && bytes == ":\n");
            // A network may split a write, so the parser gets two pieces.
            let middle = fastrand::usize(0..=end);
            self.read(&mut parser, &bytes[..middle])?;
            self.read(&mut parser, &bytes[middle..end])?;
            if broken {
                self.note("is cut off");
                break;
            }
            if self.slow && chance(self.world.weather().tired) {
                sleep(millis(0..20_000)).await;
            }
        }
        parser.last_event_id().clone_into(&mut self.last_event_id);
        self.retry = parser.retry().unwrap_or(self.retry);
        Ok(Close::Again)
    }

    fn read(&self, parser: &mut sse::Parser, bytes: &[u8]) -> Verdict {
        let mut verdict = Ok(());
        parser.feed(bytes, &mut |event| {
            self.note(&format!("gets {} {} {:?}", event.event_type(), event.id, event.data));
            if verdict.is_ok() {
                verdict = self.judge().event(&event);
            }
        });
        verdict
    }

    fn line_breaks(&self) -> bool {
        self.bad_line && chance(self.world.weather().broken)
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        self.judge.lock().unwrap()
    }

    fn note(&self, what: &str) {
        self.world.note(format_args!("{} {what}", self.name));
    }
}
