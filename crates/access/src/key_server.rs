//! The keys of a server: loaded when they are needed, kept when the server is away.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use metrics::{Counters, Registry, label};
use tokio::time::{Instant, sleep_until};

use crate::issuer::KeySource;
use crate::key::{KeyRing, parse_set};

/// The keys behind an address.
#[derive(Debug)]
pub struct KeyServer {
    url: String,
    fetch: Arc<dyn Fetch>,
    ring: Arc<KeyRing>,
    state: Mutex<State>,
    /// Held while keys are loaded: everybody else waits for the same answer.
    loading: tokio::sync::Mutex<()>,
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
    /// The last attempt, successful or not.
    tried: Option<Instant>,
    /// The time at which keys are loaded even if nobody asks.
    due: Instant,
    failures: u32,
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
/// The least pause after a failure while no keys have been loaded yet.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The bounds of the time for which a server wants its set to be kept.
const KEPT: (Duration, Duration) = (Duration::from_mins(5), Duration::from_hours(24));
/// The time for which a set is kept whose server names none.
const KEPT_DEFAULT: Duration = Duration::from_hours(1);
/// The longest pause after repeated failures.
const RETRY_MAX: Duration = Duration::from_mins(5);

impl KeyServer {
    /// The keys at an address. Loads nothing yet.
    #[must_use]
    pub fn new(url: &str, fetch: Arc<dyn Fetch>, fetches: Counters<Fetched>) -> Arc<Self> {
        let state = State { loaded: None, tried: None, due: Instant::now(), failures: 0 };
        Arc::new(Self {
            url: url.to_owned(),
            fetch,
            ring: Arc::default(),
            state: Mutex::new(state),
            loading: tokio::sync::Mutex::default(),
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
    async fn load(&self) -> bool {
        self.state().tried = Some(Instant::now());
        let (outcome, kept) = match self.fetch.fetch(&self.url).await {
            Err(error) => {
                tracing::warn!(url = self.url, error, "the key set cannot be fetched");
                (Fetched::Failed, None)
            }
            Ok((text, kept)) => match parse_set(&text) {
                Err(error) => {
                    tracing::warn!(url = self.url, %error, "the key set cannot be used");
                    (Fetched::Unusable, None)
                }
                Ok((keys, skipped)) => {
                    for reason in &skipped {
                        tracing::debug!(url = self.url, reason, "a key is left out");
                    }
                    tracing::info!(url = self.url, keys = keys.len(), "key set loaded");
                    self.ring.replace(keys);
                    (Fetched::Loaded, kept)
                }
            },
        };
        self.fetches.of(outcome).inc();
        let mut state = self.state();
        let now = Instant::now();
        if outcome == Fetched::Loaded {
            state.loaded = Some(now);
            state.failures = 0;
            state.due = now + kept.unwrap_or(KEPT_DEFAULT).clamp(KEPT.0, KEPT.1);
            return true;
        }
        let least = if state.loaded.is_some() { PAUSE } else { FIRST_PAUSE };
        state.due = now + least.saturating_mul(1 << state.failures.min(8)).min(RETRY_MAX);
        state.failures += 1;
        false
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeySource for KeyServer {
    fn keys(&self) -> Option<Arc<KeyRing>> {
        self.state().loaded.map(|_| Arc::clone(&self.ring))
    }

    async fn refresh(&self, _id: Option<&str>) -> bool {
        let asked = Instant::now();
        let _one = self.loading.lock().await;
        let least = {
            let state = self.state();
            // Another request has loaded them while this one waited.
            if state.loaded.is_some_and(|loaded| loaded > asked) {
                return true;
            }
            let pause = if state.loaded.is_some() { PAUSE } else { FIRST_PAUSE };
            state.tried.map(|tried| tried + pause)
        };
        if least.is_some_and(|least| Instant::now() < least) {
            return false;
        }
        self.load().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use tokio::time::{advance, sleep};

    use super::*;

    #[derive(Debug, Default)]
    struct Server {
        asked: AtomicUsize,
        answer: Mutex<Option<String>>,
        kept: Option<Duration>,
    }

    #[async_trait]
    impl Fetch for Server {
        async fn fetch(&self, _url: &str) -> Result<(String, Option<Duration>), String> {
            self.asked.fetch_add(1, SeqCst);
            sleep(Duration::from_millis(100)).await;
            let answer = self.answer.lock().unwrap().clone();
            answer.map(|text| (text, self.kept)).ok_or_else(|| "away".to_owned())
        }
    }

    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn server(kept: Option<Duration>) -> (Arc<Server>, Arc<KeyServer>) {
        let answer = Mutex::new(Some(SET.to_owned()));
        let fetch = Arc::new(Server { answer, kept, ..Server::default() });
        let keys = KeyServer::new(
            "https://keys.example",
            fetch.clone(),
            KeyServer::counters(&Registry::new()),
        );
        (fetch, keys)
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_unknown_keys_is_one_fetch_in_thirty_seconds() {
        let (fetch, keys) = server(None);
        assert!(keys.keys().is_none());
        let all = (0..50).map(|_| keys.refresh(Some("x")));
        let loaded = futures_util::future::join_all(all).await;
        assert!(loaded.iter().all(|loaded| *loaded), "all wait for the one answer");
        assert_eq!(fetch.asked.load(SeqCst), 1);
        for _ in 0..29 {
            assert!(!keys.refresh(Some("x")).await);
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(fetch.asked.load(SeqCst), 1);
        advance(Duration::from_secs(2)).await;
        assert!(keys.refresh(Some("x")).await);
        assert_eq!(fetch.asked.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_go_on_when_the_server_is_away_or_answers_nonsense() {
        let (fetch, keys) = server(None);
        assert!(keys.refresh(None).await);
        for answer in [None, Some("{}".to_owned()), Some(r#"{"keys":[]}"#.to_owned())] {
            *fetch.answer.lock().unwrap() = answer;
            advance(Duration::from_secs(31)).await;
            assert!(!keys.refresh(None).await);
            assert_eq!(keys.keys().unwrap().get().keys.len(), 1);
        }
        *fetch.answer.lock().unwrap() = Some(SET.to_owned());
        advance(Duration::from_secs(31)).await;
        assert!(keys.refresh(None).await);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_loaded_again_when_the_server_wants_it_and_at_least_daily() {
        for (kept, expected) in [(Some(60), 12), (Some(3600), 1), (None, 1), (Some(10_000_000), 1)]
        {
            let (fetch, keys) = server(kept.map(Duration::from_secs));
            let fresh = Arc::clone(&keys);
            let task = tokio::spawn(async move { fresh.keep_fresh().await });
            sleep(Duration::from_secs(3599)).await;
            assert_eq!(fetch.asked.load(SeqCst), expected, "{kept:?}");
            sleep(Duration::from_hours(24)).await;
            assert!(fetch.asked.load(SeqCst) > expected, "{kept:?}");
            task.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_at_the_start_is_asked_again_soon() {
        let (fetch, keys) = server(None);
        *fetch.answer.lock().unwrap() = None;
        let fresh = Arc::clone(&keys);
        tokio::spawn(async move { fresh.keep_fresh().await });
        sleep(Duration::from_secs(2)).await;
        assert!(keys.keys().is_none());
        *fetch.answer.lock().unwrap() = Some(SET.to_owned());
        sleep(Duration::from_secs(10)).await;
        assert!(keys.keys().is_some());
        assert!(keys.age().unwrap() < Duration::from_secs(10));
    }
}
