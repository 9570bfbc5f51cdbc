//! Bounds the topics that publishers begin in a second.
//!
//! Only the log knows if a topic exists. A batch therefore takes a token for each of its topics before it is
//! appended, and gives back those of topics that existed. Events of topics without a token are appended
//! only if their topic exists.

use std::collections::HashMap;

use event_log::{Append, AppendError, Receipt};
use limits::{Client, Full, Part, Rate, Rates};
use metrics::{Counters, Registry};

use crate::Config;
use crate::error::{Code, Error};

/// The rates of new topics, and the count of refusals.
#[derive(Debug)]
pub(crate) struct NewTopics {
    rates: Rates,
    node_max: u64,
    address_max: u64,
    refused: Counters<Part>,
}

/// The tokens of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    client: Client,
    taken: u32,
    /// The part that had the fewest.
    scarce: Part,
}

/// Seconds whose new topics may begin at once.
const BURST_SECONDS: f64 = 10.0;

impl NewTopics {
    pub(crate) fn new(config: &Config, registry: &Registry) -> Self {
        let node_max = u64::from(config.new_topics);
        let address_max = config.rules.share.of(node_max);
        #[expect(clippy::cast_precision_loss, reason = "both are below 2^32")]
        let rate = |max: u64| {
            let per_second = max as f64;
            Some(Rate { per_second, burst: per_second * BURST_SECONDS })
        };
        let refused = registry.counters_within(
            "limit_refusals_total",
            "Requests and connections that a limit refused, by the part that was full.",
            ("limit", "new_topics"),
        );
        Self {
            rates: Rates::new(rate(node_max), rate(address_max), None),
            node_max,
            address_max,
            refused,
        }
    }

    /// Takes tokens for the topics of a batch, and marks the events whose topic gets none.
    pub(crate) fn take(&self, client: Client, batch: &mut [Append]) -> Tokens {
        let Some((first, rest)) = batch.split_first_mut() else {
            return Tokens { client, taken: 0, scarce: Part::Node };
        };
        if rest.iter().all(|append| append.topic == first.topic) {
            let (taken, scarce) = self.rates.take_up_to(client, 1);
            batch.iter_mut().for_each(|append| append.may_begin = taken > 0);
            return Tokens { client, taken, scarce };
        }
        let mut numbers = HashMap::new();
        for append in &*batch {
            let next = numbers.len();
            numbers.entry(append.topic.clone()).or_insert(next);
        }
        let most = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let (taken, scarce) = self.rates.take_up_to(client, most);
        for append in batch {
            append.may_begin = numbers.get(&append.topic).is_some_and(|n| *n < taken as usize);
        }
        Tokens { client, taken, scarce }
    }

    /// Gives back the tokens of topics that existed before. An append without an answer may have begun its
    /// topics, so it keeps them.
    pub(crate) fn settle(&self, tokens: Tokens, results: &[Result<Receipt, AppendError>]) {
        let mut kept = 0;
        for result in results {
            match result {
                Ok(Receipt { position, duplicate: false }) if position.n == 1 => kept += 1,
                Err(AppendError::Unavailable(_)) => return,
                _ => {}
            }
        }
        self.rates.give_back(tokens.client, tokens.taken.saturating_sub(kept));
    }

    /// Counts an event whose topic could not begin, and returns its error.
    pub(crate) fn refuse(&self, tokens: Tokens) -> Error {
        self.refused.of(tokens.scarce).inc();
        let max = match tokens.scarce {
            Part::Address => self.address_max,
            Part::Node | Part::Connection | Part::Subject => self.node_max,
        };
        let things = "new topics a second";
        let flag = "--new-topics, --address-share";
        Error::full(Code::TooManyTopics, Full { things, flag, part: tokens.scarce, max })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use event_log::{Log as _, MemoryLog, NewEvent, Retention, Topic};

    use super::*;

    fn new_topics(per_second: u32) -> NewTopics {
        NewTopics::new(&Config { new_topics: per_second, ..Config::default() }, &Registry::new())
    }

    fn client(last: u8) -> Client {
        Client { address: Some(IpAddr::from([192, 0, 2, last]).into()), connection: None }
    }

    async fn publish(
        limit: &NewTopics,
        log: &MemoryLog,
        client: Client,
        topics: &[String],
    ) -> usize {
        let append = |topic: &String| Append::new(Topic::new(topic).unwrap(), NewEvent::default());
        let mut batch: Vec<_> = topics.iter().map(append).collect();
        let tokens = limit.take(client, &mut batch);
        let results = log.append(batch).await;
        limit.settle(tokens, &results);
        results.iter().filter(|result| result.is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_topics_costs_neither_others_nor_topics_that_exist() {
        let (limit, log) = (new_topics(4), MemoryLog::new(Retention::default()));
        let name = |prefix: &str, n: usize| format!("{prefix}/{n}");
        let flood: Vec<_> = (0..64).map(|n| name("flood", n)).collect();
        // Half of 4 a second, with a burst of 10 seconds.
        assert_eq!(publish(&limit, &log, client(1), &flood).await, 20);
        for second in 0..20 {
            let more: Vec<_> = (0..64).map(|n| name("more", second * 64 + n)).collect();
            publish(&limit, &log, client(1), &more).await;
            assert_eq!(publish(&limit, &log, client(2), &[name("honest", second)]).await, 1);
            // Topics that exist take every event, from either publisher.
            assert_eq!(publish(&limit, &log, client(1), &flood[..20]).await, 20);
            assert_eq!(publish(&limit, &log, client(2), &vec![flood[0].clone(); 64]).await, 64);
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn topics_that_exist_use_no_token() {
        let (limit, log) = (new_topics(1), MemoryLog::new(Retention::default()));
        let topics = ["a".to_owned(), "b".to_owned(), "a".to_owned()];
        for _ in 0..100 {
            assert_eq!(publish(&limit, &log, client(1), &topics).await, 3);
        }
        let others: Vec<_> = (0..9).map(|n| format!("o/{n}")).collect();
        // The share of one address is one a second, 10 at once.
        assert_eq!(publish(&limit, &log, client(1), &others).await, 8);
    }

    #[tokio::test(start_paused = true)]
    async fn an_append_without_an_answer_keeps_its_tokens() {
        let limit = new_topics(1);
        let mut batch = [Append::new(Topic::new("t").unwrap(), NewEvent::default())];
        for _ in 0..10 {
            let tokens = limit.take(client(1), &mut batch);
            assert!(batch[0].may_begin);
            limit.settle(tokens, &[Err(AppendError::Unavailable(String::new()))]);
        }
        let tokens = limit.take(client(1), &mut batch);
        assert!(!batch[0].may_begin);
        assert_eq!(
            limit.refuse(tokens).to_string(),
            "too many new topics a second on this node; the limit is 1 (--new-topics, --address-share)"
        );
    }
}
