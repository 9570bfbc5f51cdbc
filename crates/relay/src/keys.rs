//! Requests with an `Idempotency-Key`: the second one gets the answer to the first, on any relay.
//!
//! The first request claims its key in the ledger, and then says in which topic its answer is. A request that
//! comes meanwhile waits for that. After an answer that did not come to its end, a retry asks the upstream again; so
//! it does after one that does not stream, because the relay does not store that.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use event_log::{Limit, Mark, Position, Topic};
use serde::{Deserialize, Serialize};

use crate::decode::Form;
use crate::error::Refusal;
use crate::headers::CREDENTIALS;
use crate::ledger::{Digest, Ledger, Placed};
use crate::outcome::Way;
use crate::shared::{Asked, Shared};
use crate::whole::Whole;
use crate::{names, replay};

/// The header by which clients make a retry safe.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells a client that its answer is that to an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest wait for the first request's answer.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The time after which a claim without an answer counts as lost with its relay, beyond the longest silence of the
/// upstream.
const CLAIM_SLACK: Duration = Duration::from_mins(1);
/// Looks at a key whose entries change all the time.
const LOOKS_MAX: usize = 16;

/// The state of a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
enum Entry {
    /// A request waits for the upstream.
    Claimed { request: String, topic: String },
    /// Its answer is in this topic.
    Answered { request: String, topic: String, lines: bool },
    /// The next request asks the upstream.
    Released,
}

/// A key that this request has claimed.
struct Claim {
    ledger: Ledger,
    at: Position,
    request: Digest,
    topic: Topic,
}

/// The result of a look at a key.
enum Claimed {
    Own(Claim),
    /// The answer is in this topic.
    Answered(Topic, Form),
}

impl Shared {
    /// Answers a request that has a key.
    pub(crate) async fn keyed(
        self: &Arc<Self>,
        asked: Asked,
        key: &[u8],
        whole: Whole,
    ) -> Result<(Way, Response), Refusal> {
        let request = request(&asked.parts, &whole);
        let name = Digest::of(credentials(&asked.parts).chain([key]));
        let ledger = Ledger::new(&self.log, "key", &name);
        match self.claim(ledger, request).await? {
            Claimed::Answered(topic, form) => Ok(self.join(&asked.parts, &topic, form).await),
            // A task of its own, because a retry finds the answer although its caller has left.
            Claimed::Own(claim) => {
                let relay = Arc::clone(self);
                let task = async move { relay.claimed(asked, claim, whole).await };
                self.running.tasks.spawn(task).await.map_err(|_| Refusal::BrokenOff)?
            }
        }
    }

    async fn claimed(
        &self,
        mut asked: Asked,
        claim: Claim,
        whole: Whole,
    ) -> Result<(Way, Response), Refusal> {
        let Claim { ledger, at, request, topic } = claim;
        asked.topic = topic.clone();
        // Noted before the upstream is asked: if this relay dies meanwhile, another one ends the topic, and the claim
        // with it.
        let mut keeper = self.roll.keeper();
        keeper.begun(&topic).await;
        let (body, held) = whole.into_body();
        let answered = self.pass_on(asked, body).await;
        drop(held);
        if !matches!(answered, Ok((Way::Stored(_), _))) {
            keeper.ended().await;
        }
        let entry = match &answered {
            Ok((Way::Stored(form), _)) => Entry::Answered {
                request: request.as_str().to_owned(),
                topic: topic.to_string(),
                lines: *form == Form::Lines,
            },
            _ => Entry::Released,
        };
        if let Err(error) = ledger.append_after(at.n, &entry).await {
            // A request that waits for this entry is told to come back.
            tracing::warn!(%error, "the answer of an idempotency key is not noted");
        }
        answered
    }

    /// Claims a key, or finds the answer to its request.
    async fn claim(&self, ledger: Ledger, request: Digest) -> Result<Claimed, Refusal> {
        let topic = names::new_topic();
        for _look in 0..LOOKS_MAX {
            let Placed { at, entry } = ledger.newest().await?;
            match entry {
                Some(Entry::Claimed { topic: own, .. }) if own == topic.as_str() => {
                    return Ok(Claimed::Own(Claim { ledger, at, request, topic }));
                }
                Some(
                    Entry::Claimed { request: other, .. } | Entry::Answered { request: other, .. },
                ) if other != request.as_str() => {
                    return Err(Refusal::KeyReused);
                }
                Some(Entry::Answered { topic: answer, lines, .. })
                    if !self.is_broken(&Topic::new(&answer)?).await? =>
                {
                    let form = if lines { Form::Lines } else { Form::Events };
                    return Ok(Claimed::Answered(Topic::new(&answer)?, form));
                }
                Some(Entry::Claimed { topic: other, .. })
                    if !self.is_lost(at) && !self.is_broken(&Topic::new(&other)?).await? =>
                {
                    ledger.wait(at, WAIT_MAX).await?;
                    if ledger.newest::<Entry>().await?.at == at {
                        return Err(Refusal::KeyBusy);
                    }
                }
                _ => {
                    let (request, topic) = (request.as_str().to_owned(), topic.to_string());
                    // The next look tells whether this claim or another one is the newest entry.
                    ledger.append_after(at.n, &Entry::Claimed { request, topic }).await?;
                }
            }
        }
        Err(Refusal::KeyBusy)
    }

    /// Returns true for an answer that did not come to its end, or did not begin before its relay was gone: its topic
    /// has the relay's own last event.
    async fn is_broken(&self, topic: &Topic) -> Result<bool, Refusal> {
        let Some(bounds) = self.log.bounds(topic).await?.filter(|bounds| bounds.ended) else {
            return Ok(false);
        };
        let page = self.log.read(topic, bounds.head.before(), Limit::ONE).await?;
        Ok(page.events.first().is_some_and(|last| last.mark() == Mark::Last))
    }

    /// Returns true for a claim whose relay has been gone for longer than an upstream may be silent.
    fn is_lost(&self, claimed: Position) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(claimed.ms));
        age > self.config.silence_max + CLAIM_SLACK
    }

    /// Answers with the answer in a topic.
    async fn join(&self, parts: &Parts, topic: &Topic, form: Form) -> (Way, Response) {
        let mut response = match form {
            Form::Events => self.gateway.subscribe(parts, topic, None).await,
            Form::Lines => replay::lines(&self.log, topic).await,
        };
        let location = names::header(&names::location(topic));
        let headers = response.headers_mut();
        crate::headers::name(headers, &names::header(topic.as_str()), &location);
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
        (Way::Joined, response)
    }
}

/// Returns the key of a request that may change something.
pub(crate) fn key(parts: &Parts) -> Option<&[u8]> {
    let is_safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let key = parts.headers.get(KEY).filter(|_| !is_safe)?;
    Some(key.as_bytes()).filter(|key| !key.is_empty())
}

/// The credentials of a request: names and values. Parties with other credentials have other keys.
pub(crate) fn credentials(parts: &Parts) -> impl Iterator<Item = &[u8]> {
    CREDENTIALS.iter().flat_map(|name| {
        let values = parts.headers.get_all(*name).iter().map(HeaderValue::as_bytes);
        [name.as_bytes()].into_iter().chain(values)
    })
}

/// The digest of a request: a key stands for one of them.
fn request(parts: &Parts, whole: &Whole) -> Digest {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let head = [parts.method.as_str().as_bytes(), path.as_bytes(), kind];
    // The body as one part, however it came.
    Digest::of(head.into_iter().chain([&whole.bytes()[..]]))
}
