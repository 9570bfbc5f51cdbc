//! The gateway that one would write first: axum's `Sse` on tokio's broadcast. Not for use: a reader
//! that is 1024 events behind loses them without a word.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

const HISTORY_MAX: usize = 1000;

type Numbered = (u64, Arc<str>);

struct Naive {
    history: Mutex<VecDeque<Numbered>>,
    sender: Sender<Numbered>,
}

/// Serves for ever.
pub(super) async fn serve(address: SocketAddr) -> Result<()> {
    let naive = Naive { history: Mutex::default(), sender: broadcast::channel(1024).0 };
    let router =
        Router::new().route("/v1/events", get(subscribe).post(publish)).with_state(Arc::new(naive));
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, router).await?)
}

async fn publish(State(naive): State<Arc<Naive>>, data: String) {
    let mut history = naive.history();
    let number = history.back().map_or(0, |(number, _)| *number) + 1;
    let event: Numbered = (number, data.into());
    history.push_back(event.clone());
    if history.len() > HISTORY_MAX {
        history.pop_front();
    }
    // An error says that there is no reader.
    naive.sender.send(event).ok();
}

async fn subscribe(
    State(naive): State<Arc<Naive>>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let cursor = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let history = naive.history();
    let replay: VecDeque<Numbered> = match cursor {
        Some(cursor) => history.iter().filter(|(number, _)| *number > cursor).cloned().collect(),
        None => VecDeque::new(),
    };
    let live = naive.sender.subscribe();
    drop(history);
    let events = stream::unfold((replay, live), async |(mut replay, mut live)| {
        let (number, data) = match replay.pop_front() {
            Some(event) => event,
            None => next(&mut live).await?,
        };
        Some((Ok(Event::default().id(number.to_string()).data(data)), (replay, live)))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn next(live: &mut Receiver<Numbered>) -> Option<Numbered> {
    loop {
        match live.recv().await {
            Ok(event) => return Some(event),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl Naive {
    fn history(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
