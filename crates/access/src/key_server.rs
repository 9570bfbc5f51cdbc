//! The keys of a server: loaded when they are needed, kept when the server is away.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Counters, Registry, label};
use tokio::time::{Instant, sleep_until};

use crate::issuer::{KeySource, Refreshed};
use crate::key::{KeyRing, parse_set};

/// The keys behind an address.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    fetch: Arc<dyn Fetch>,
    ring: Arc<KeyRing>,
    state: Mutex<State>,
    /// Held while keys are loaded: everybody else waits for the same answer.
    loading: Arc<tokio::sync::Mutex<()>>,
    fetches: Counters<Fetched>,
}

/// Fetches the text of a key set.
#[async_trait]
pub trait Fetch: std::fmt::Debug + Send + Sync {
    /// Returns the text at an address, and the time for which the server wants it to be kept.
    ///
    /// # Errors
    /// The server is away, or answers something that is no key set.
    async fn fetch(&self, url: &str) -> Result<(String, Option<Duration>), String>;
}

#[derive(Debug)]
struct State {
    loaded: Option<Instant>,
    /// The end of the last attempt, successful or not.
    tried: Option<Instant>,
    /// The time at which keys are loaded even if nobody asks.
    due: Instant,
    /// Attempts that failed since the last that did not.
    failures: u32,
    /// The text of the set, to see if another is new.
    set: String,
    /// Ids of keys that tokens have named and that the set lacks. Forgotten at the next attempt.
    absent: HashSet<Box<str>>,
}

label! {
    /// The end of a fetch.
    pub enum Fetched as "outcome" {
        /// The set was loaded.
        Loaded => "loaded",
        /// The server did not answer, or answered an error.
        Failed => "failed",
        /// The answer had no usable key.
        Unusable => "unusable",
    }
}

/// The least time between two fetches: a token with an unknown id costs nothing meanwhile.
const PAUSE: Duration = Duration::from_secs(30);
/// The first pause after a failure while no keys have been loaded yet. Doubles up to `PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The bounds of the time for which a server wants its set to be kept.
const KEPT: (Duration, Duration) = (Duration::from_mins(5), Duration::from_hours(24));
/// The time for which a set is kept whose server names none.
const KEPT_DEFAULT: Duration = Duration::from_hours(1);
/// The longest pause after repeated failures.
const RETRY_MAX: Duration = Duration::from_mins(5);
/// The part of a pause that is left out at random, so that the nodes of a cluster do not ask at once.
const JITTER: f64 = 0.1;
/// Ids that the set is known to lack; each has 256 bytes at most. Others are answered by the next fetch.
const ABSENT_MAX: usize = 256;

impl KeyServer {
    /// The keys at an address. Loads nothing yet.
    #[must_use]
    pub fn new(url: &str, fetch: Arc<dyn Fetch>, fetches: Counters<Fetched>) -> Arc<Self> {
        let state = State {
            loaded: None,
            tried: None,
            due: Instant::now(),
            failures: 0,
            set: String::new(),
            absent: HashSet::new(),
        };
        Arc::new(Self {
            url: url.to_owned(),
            fetch,
            ring: Arc::default(),
            state: Mutex::new(state),
            loading: Arc::default(),
            fetches,
        })
    }

    /// The counters of all key servers.
    #[must_use]
    pub fn counters(registry: &Registry) -> Counters<Fetched> {
        registry.counters("auth_key_fetches_total", "Fetches of key sets, by outcome.")
    }

    /// Loads the keys whenever they are due. Never ends.
    pub async fn keep_fresh(&self) {
        loop {
            let due = self.state().due;
            sleep_until(due).await;
            let _one = self.loading.lock().await;
            if self.state().due <= Instant::now() {
                self.load().await;
            }
        }
    }

    /// The time since the keys were last loaded; `None` if they never were.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.state().loaded.map(|loaded| loaded.elapsed())
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Loads the keys. Keeps the old ones if there are no new ones.
    async fn load(&self) {
        let fetched = self.fetch.fetch(&self.url).await;
        let (outcome, kept) = match fetched {
            Ok((text, kept)) => (self.replace(text), kept),
            Err(error) => {
                tracing::warn!(url = self.url, error, "the key set cannot be fetched");
                (Fetched::Failed, None)
            }
        };
        self.fetches.of(outcome).inc();
        self.state().record(outcome, kept);
    }

    /// Takes a set of keys, unless it is the one that is there.
    fn replace(&self, text: String) -> Fetched {
        if self.state().set == text {
            return Fetched::Loaded;
        }
        match parse_set(&text) {
            Err(error) => {
                tracing::warn!(url = self.url, %error, "the key set cannot be used");
                Fetched::Unusable
            }
            Ok((keys, skipped)) => {
                for reason in &skipped {
                    tracing::warn!(url = self.url, reason, "a key is left out");
                }
                let (keys_len, skipped) = (keys.len(), skipped.len());
                tracing::info!(url = self.url, keys = keys_len, skipped, "key set loaded");
                self.ring.replace(keys);
                self.state().set = text;
                Fetched::Loaded
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes the end of an attempt, and when the next one is due.
    fn record(&mut self, outcome: Fetched, kept: Option<Duration>) {
        let now = Instant::now();
        self.tried = Some(now);
        // They may be in a set that could not be fetched.
        self.absent.clear();
        let pause = if outcome == Fetched::Loaded {
            self.loaded = Some(now);
            self.failures = 0;
            kept.unwrap_or(KEPT_DEFAULT).clamp(KEPT.0, KEPT.1)
        } else {
            self.failures = self.failures.saturating_add(1);
            self.doubled(if self.loaded.is_some() { RETRY_MAX } else { PAUSE })
        };
        self.due = now + pause.mul_f64(1.0 - JITTER * fastrand::f64());
    }

    /// The time before which no token makes the node ask once more.
    fn rests_until(&self) -> Option<Instant> {
        let pause = if self.loaded.is_some() { PAUSE } else { self.doubled(PAUSE) };
        self.tried.map(|tried| tried + pause)
    }

    /// A pause that doubles with each failure.
    fn doubled(&self, most: Duration) -> Duration {
        let first = if self.loaded.is_some() { PAUSE } else { FIRST_PAUSE };
        first.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(most)
    }

    /// The answer without a fetch: is it known that the set lacks this key?
    fn answer(&self, id: Option<&str>) -> Refreshed {
        let is_known = id.is_none_or(|id| self.absent.contains(id));
        if self.loaded.is_some() && is_known { Refreshed::Known } else { Refreshed::Unavailable }
    }
}

#[async_trait]
impl KeySource for KeyServer {
    fn keys(&self) -> Option<Arc<KeyRing>> {
        self.state().loaded.map(|_| Arc::clone(&self.ring))
    }

    async fn refresh(self: Arc<Self>, id: Option<&str>) -> Refreshed {
        let asked = Instant::now();
        let is_after = |time: Option<Instant>| time.is_some_and(|time| time > asked);
        let one = Arc::clone(&self.loading).lock_owned().await;
        // Another request may have asked while this one waited.
        if !is_after(self.state().tried) {
            if self.state().rests_until().is_some_and(|until| Instant::now() < until) {
                return self.state().answer(id);
            }
            let server = Arc::clone(&self);
            // A task, because a client that goes away must not break off what others wait for.
            let attempt = async move {
                server.load().await;
                drop(one);
            };
            if tokio::spawn(attempt).await.is_err() {
                return Refreshed::Unavailable;
            }
        }
        let mut state = self.state();
        if !is_after(state.loaded) {
            return state.answer(id);
        }
        let loaded = self.ring.get();
        if let Some(id) = id.filter(|id| !loaded.keys.iter().any(|key| key.id() == Some(id)))
            && state.absent.len() < ABSENT_MAX
        {
            state.absent.insert(id.into());
        }
        Refreshed::Loaded
    }
}

#[cfg(test)]
mod tests;
