use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::Tokens;
use crate::denied::Reason;
use crate::issuer::Issuer;
use crate::sample::{Pair, set};

/// A key server that takes a tenth of a second to answer.
#[derive(Debug, Default)]
struct Server {
    asked: AtomicUsize,
    /// None if it is away.
    answer: Mutex<Option<String>>,
    kept: Option<Duration>,
    is_slow: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Fetch for Server {
    async fn fetch(&self, _url: &str) -> Result<(String, Option<Duration>), String> {
        self.asked.fetch_add(1, SeqCst);
        let time = if self.is_slow.load(SeqCst) { 5000 } else { 100 };
        sleep(Duration::from_millis(time)).await;
        let answer = self.answer.lock().unwrap().clone();
        answer.map(|text| (text, self.kept)).ok_or_else(|| "away".to_owned())
    }
}

impl Server {
    fn answers(&self, text: Option<&str>) {
        *self.answer.lock().unwrap() = text.map(str::to_owned);
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn server(kept: Option<Duration>) -> (Arc<Server>, Arc<KeyServer>) {
    let answer = Mutex::new(Some(SET.to_owned()));
    let fetch = Arc::new(Server { answer, kept, ..Server::default() });
    let counters = KeyServer::counters(&Registry::new());
    let keys = KeyServer::new("https://keys.example", fetch.clone(), counters);
    (fetch, keys)
}

fn keep_fresh(keys: &Arc<KeyServer>) {
    let keys = Arc::clone(keys);
    tokio::spawn(async move { keys.keep_fresh().await });
}

async fn refresh(keys: &Arc<KeyServer>, id: &str) -> Refreshed {
    Arc::clone(keys).refresh(Some(id)).await
}

fn usable(keys: &KeyServer) -> usize {
    keys.keys().map_or(0, |ring| ring.get().keys.len())
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_keys_is_one_fetch_in_thirty_seconds() {
    let (fetch, keys) = server(None);
    assert!(keys.keys().is_none());
    let all = join_all((0..50).map(|_| refresh(&keys, "x"))).await;
    assert!(all.iter().all(|one| *one == Refreshed::Loaded), "all wait for the one answer");
    assert_eq!(fetch.asked(), 1);
    for number in 0..29 {
        assert_eq!(refresh(&keys, "x").await, Refreshed::Known);
        let another = refresh(&keys, &number.to_string()).await;
        assert_eq!(another, Refreshed::Unavailable, "nobody has asked for it yet");
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(fetch.asked(), 1);
    advance(Duration::from_secs(2)).await;
    assert_eq!(refresh(&keys, "x").await, Refreshed::Loaded);
    assert_eq!(fetch.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_ids_that_are_known_to_lack_are_bounded() {
    let (_fetch, keys) = server(None);
    let names: Vec<_> = (0..2 * ABSENT_MAX).map(|number| number.to_string()).collect();
    join_all(names.iter().map(|name| refresh(&keys, name))).await;
    assert_eq!(keys.state().absent.len(), ABSENT_MAX);
    advance(Duration::from_secs(31)).await;
    refresh(&keys, "one").await;
    assert_eq!(keys.state().absent.len(), 0, "the set has it, and another fetch forgets");
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_a_server_that_does_not_answer_wait_once() {
    let (fetch, keys) = server(None);
    fetch.answers(None);
    fetch.is_slow.store(true, SeqCst);
    let begin = Instant::now();
    let all = join_all((0..50).map(|_| refresh(&keys, "x"))).await;
    assert!(all.iter().all(|one| *one == Refreshed::Unavailable));
    assert_eq!(fetch.asked(), 1);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_break_off_the_fetch() {
    let (fetch, keys) = server(None);
    let brief = timeout(Duration::from_millis(10), refresh(&keys, "x")).await;
    assert!(brief.is_err(), "the client is gone before the answer");
    assert_eq!(refresh(&keys, "one").await, Refreshed::Loaded);
    assert_eq!((fetch.asked(), usable(&keys)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn keys_go_on_when_the_server_is_away_or_answers_nonsense() {
    let (fetch, keys) = server(None);
    assert_eq!(refresh(&keys, "x").await, Refreshed::Loaded);
    for answer in [None, Some("{}"), Some(r#"{"keys":[]}"#), Some("<html>")] {
        fetch.answers(answer);
        advance(Duration::from_secs(31)).await;
        assert_eq!(refresh(&keys, "x").await, Refreshed::Unavailable, "it may be new");
        assert_eq!(usable(&keys), 1);
    }
    fetch.answers(Some(SET));
    advance(Duration::from_secs(31)).await;
    assert_eq!(refresh(&keys, "x").await, Refreshed::Loaded);
}

#[tokio::test(start_paused = true)]
async fn keys_are_loaded_again_when_the_server_wants_it_and_at_least_daily() {
    for (kept, least, most) in
        [(Some(60), 11, 14), (Some(3600), 1, 2), (None, 1, 2), (Some(10_000_000), 1, 1)]
    {
        let (fetch, keys) = server(kept.map(Duration::from_secs));
        let fresh = Arc::clone(&keys);
        let task = tokio::spawn(async move { fresh.keep_fresh().await });
        sleep(Duration::from_secs(3599)).await;
        assert!((least..=most).contains(&fetch.asked()), "{kept:?}: {}", fetch.asked());
        sleep(Duration::from_hours(24)).await;
        assert!(fetch.asked() > most, "{kept:?}");
        task.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_set_keeps_what_its_keys_have_verified() {
    let (fetch, keys) = server(None);
    refresh(&keys, "x").await;
    let generation = keys.keys().unwrap().get().generation;
    advance(Duration::from_secs(31)).await;
    refresh(&keys, "x").await;
    assert_eq!((fetch.asked(), keys.keys().unwrap().get().generation), (2, generation));
    fetch.answers(Some(&set(&[Pair::ed().jwk("two")])));
    advance(Duration::from_secs(31)).await;
    refresh(&keys, "x").await;
    assert_ne!(keys.keys().unwrap().get().generation, generation);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_at_the_start_is_asked_again_soon_but_ever_more_rarely() {
    let (fetch, keys) = server(None);
    fetch.answers(None);
    keep_fresh(&keys);
    sleep(Duration::from_secs(2)).await;
    assert!(keys.keys().is_none());
    // Also if tokens come all the time.
    for _ in 0..600 {
        assert_eq!(refresh(&keys, "x").await, Refreshed::Unavailable);
        sleep(Duration::from_secs(1)).await;
    }
    assert!((15..40).contains(&fetch.asked()), "{}", fetch.asked());
    fetch.answers(Some(SET));
    sleep(PAUSE).await;
    assert_eq!(usable(&keys), 1);
    assert!(keys.age().unwrap() <= PAUSE);
}

/// Claims of a user whose token lasts ten minutes.
fn claims(subject: &str) -> serde_json::Value {
    let exp = crate::Timestamp::now().as_seconds() + 600;
    json!({"iss": "https://issuer.example", "aud": "events", "sub": subject, "exp": exp})
}

#[tokio::test(start_paused = true)]
async fn an_issuer_changes_its_key_under_load_and_no_honest_token_is_refused() {
    let (old, new) = (Pair::ec(), Pair::ec());
    let (before, both, after) =
        (set(&[old.jwk("old")]), set(&[old.jwk("old"), new.jwk("new")]), set(&[new.jwk("new")]));
    let (fetch, keys) = server(Some(KEPT.0));
    fetch.answers(Some(&before));
    keep_fresh(&keys);
    let server: Arc<dyn KeySource> = keys.clone();
    let issuer = Issuer {
        names: vec!["https://issuer.example".to_owned()],
        audience: vec!["events".to_owned()],
        server: Some(server),
        ..Issuer::default()
    };
    let tokens = Tokens::new(vec![issuer], Arc::default(), &Registry::new());
    let mut number = 0;
    let mut bring = async |pair: &Pair, id: &str, seconds: u64| {
        let mut postponed = 0;
        for _ in 0..seconds * 4 {
            number += 1;
            // No two are the same: none is remembered.
            let token = pair.token(Some(id), &claims(&number.to_string()));
            match tokens.verify(&token).await {
                Ok(_grant) => {}
                Err(Reason::KeysUnavailable) => postponed += 1,
                Err(reason) => panic!("token {number} of {id}: {reason:?}"),
            }
            // A stranger asks for unknown keys all the time.
            let forged = Pair::secret(crate::sample::SECRET).token(Some("x"), &claims("x"));
            assert!(tokens.verify(&forged).await.is_err());
            sleep(Duration::from_millis(250)).await;
        }
        postponed
    };
    assert_eq!(bring(&old, "old", 90).await, 0);
    // The new key is published and then signs at once: at worst its tokens come back for a pause.
    fetch.answers(Some(&both));
    assert!(bring(&new, "new", 40).await <= 31 * 4);
    assert_eq!(bring(&new, "new", 60).await, 0);
    // The server is away for a minute: both keys go on.
    fetch.answers(None);
    assert_eq!(bring(&old, "old", 30).await + bring(&new, "new", 30).await, 0);
    // The old key is taken away.
    fetch.answers(Some(&after));
    assert_eq!(bring(&new, "new", 60).await, 0);
    let gone = tokens.verify(&old.token(Some("old"), &claims("late"))).await;
    assert!(matches!(gone, Err(Reason::UnknownKey | Reason::KeysUnavailable)), "{gone:?}");
    assert!(fetch.asked() < 20, "{}", fetch.asked());
}
