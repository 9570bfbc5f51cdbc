//! Bounds the topics that publishers begin in a second, and those that one subject begins in an hour.
//!
//! Only the log knows if a topic exists. A batch therefore takes a token for each of its topics before it is
//! appended, and gives back those of topics that existed. Events of topics without a token are appended
//! only if their topic exists.

use std::collections::HashMap;

use event_log::{Append, AppendError, Receipt};
use limits::{
    Client, Full, Part, Rate, Rates, SubjectId, SubjectLimit, SubjectRates, SubjectTerms,
};
use metrics::{Counters, Registry};

use crate::Config;
use crate::error::{Code, Error};
use crate::publisher::Publisher;

/// The rates of new topics, and the count of refusals.
#[derive(Debug)]
pub(crate) struct NewTopics {
    rates: Rates,
    node_max: u64,
    address_max: u64,
    refused: Counters<Part>,
    subject: SubjectLimit,
    subjects: SubjectRates,
}

/// The party that begins topics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginner {
    client: Client,
    subject: Option<SubjectId>,
    /// The topics an hour that its credentials set.
    claimed: Option<u64>,
}

/// The tokens of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    beginner: Beginner,
    taken: u32,
    /// The part that had the fewest.
    scarce: Part,
}

/// Seconds whose new topics may begin at once.
const BURST_SECONDS: f64 = 10.0;
const SECONDS_IN_HOUR: f64 = 3600.0;
const SUBJECT: SubjectTerms = SubjectTerms {
    name: "subject_new_topics",
    things: "new topics an hour",
    flag: "--subject-new-topics",
    claim: "the claim quotas.new_topics",
};

impl Beginner {
    pub(crate) fn of(publisher: &Publisher) -> Self {
        let grant = &publisher.grant;
        Self {
            client: publisher.client,
            subject: grant.principal().subject_hash().map(SubjectId::new),
            claimed: grant.quotas().new_topics.map(u64::from),
        }
    }
}

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
            subject: SubjectLimit::new(SUBJECT, u64::from(config.subject_new_topics), registry),
            subjects: SubjectRates::default(),
        }
    }

    /// Takes tokens for the topics of a batch, and marks the events whose topic gets none.
    pub(crate) fn take(&self, beginner: Beginner, batch: &mut [Append]) -> Tokens {
        let Some((first, rest)) = batch.split_first_mut() else {
            return Tokens { beginner, taken: 0, scarce: Part::Node };
        };
        if rest.iter().all(|append| append.topic == first.topic) {
            let (taken, scarce) = self.take_up_to(beginner, 1);
            batch.iter_mut().for_each(|append| append.may_begin = taken > 0);
            return Tokens { beginner, taken, scarce };
        }
        let mut numbers = HashMap::new();
        for append in &*batch {
            let next = numbers.len();
            numbers.entry(append.topic.clone()).or_insert(next);
        }
        let most = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        let (taken, scarce) = self.take_up_to(beginner, most);
        for append in batch {
            append.may_begin = numbers.get(&append.topic).is_some_and(|n| *n < taken as usize);
        }
        Tokens { beginner, taken, scarce }
    }

    /// Takes up to `most` tokens, as many as both the client and its subject have.
    fn take_up_to(&self, beginner: Beginner, most: u32) -> (u32, Part) {
        let (taken, scarce) = self.rates.take_up_to(beginner.client, most);
        let Some(subject) = beginner.subject else { return (taken, scarce) };
        let own = self.subjects.take_up_to(subject, self.rate(beginner.claimed), taken);
        self.rates.give_back(beginner.client, taken - own);
        (own, if own < taken { Part::Subject } else { scarce })
    }

    /// The rate of a subject, with an hour's worth at once.
    fn rate(&self, claimed: Option<u64>) -> Rate {
        #[expect(clippy::cast_precision_loss, reason = "it is below 2^32")]
        let burst = self.subject.max(claimed) as f64;
        Rate { per_second: burst / SECONDS_IN_HOUR, burst }
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
        let Tokens { beginner, taken, .. } = tokens;
        let unused = taken.saturating_sub(kept);
        self.rates.give_back(beginner.client, unused);
        if let Some(subject) = beginner.subject {
            self.subjects.give_back(subject, self.rate(beginner.claimed), u64::from(unused));
        }
    }

    /// Counts an event whose topic could not begin, and returns its error.
    pub(crate) fn refuse(&self, tokens: Tokens) -> Error {
        if tokens.scarce == Part::Subject {
            return Error::full(Code::Quota, self.subject.refuse(tokens.beginner.claimed));
        }
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

    fn client(last: u8) -> Beginner {
        let address = Some(IpAddr::from([192, 0, 2, last]).into());
        Beginner { client: Client { address, connection: None }, subject: None, claimed: None }
    }

    fn subject(last: u8, subject: u64, claimed: Option<u64>) -> Beginner {
        Beginner { subject: Some(SubjectId::new(subject)), claimed, ..client(last) }
    }

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|n| format!("{prefix}/{n}")).collect()
    }

    async fn publish(
        limit: &NewTopics,
        log: &MemoryLog,
        client: Beginner,
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
    async fn a_subject_begins_so_many_topics_an_hour_wherever_it_comes_from() {
        let config = Config { subject_new_topics: 36, ..Config::default() };
        let limit = NewTopics::new(&config, &Registry::new());
        let log = MemoryLog::new(Retention::default());
        assert_eq!(publish(&limit, &log, subject(1, 7, None), &names("a", 20)).await, 20);
        // Topics that exist use nothing and take every event.
        assert_eq!(publish(&limit, &log, subject(1, 7, None), &names("a", 20)).await, 20);
        assert_eq!(publish(&limit, &log, subject(2, 7, None), &names("b", 64)).await, 16);
        assert_eq!(publish(&limit, &log, subject(1, 7, None), &names("a", 20)).await, 20);
        // Another subject and a party without a name have their own.
        assert_eq!(publish(&limit, &log, subject(1, 8, None), &names("c", 36)).await, 36);
        assert_eq!(publish(&limit, &log, client(1), &names("d", 64)).await, 64);
        assert_eq!(publish(&limit, &log, subject(1, 9, Some(3)), &names("e", 64)).await, 3);
        tokio::time::advance(std::time::Duration::from_secs(1001)).await;
        assert_eq!(publish(&limit, &log, subject(1, 7, None), &names("f", 64)).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_of_a_subject_names_its_bound_and_costs_its_address_nothing() {
        let config = Config { subject_new_topics: 5, new_topics: 4, ..Config::default() };
        let limit = NewTopics::new(&config, &Registry::new());
        let log = MemoryLog::new(Retention::default());
        let append = |topic: &str| Append::new(Topic::new(topic).unwrap(), NewEvent::default());
        assert_eq!(publish(&limit, &log, subject(1, 7, None), &names("a", 64)).await, 5);
        for (claimed, flag) in
            [(None, "--subject-new-topics"), (Some(2), "the claim quotas.new_topics")]
        {
            let tokens = limit.take(subject(1, 7, claimed), &mut [append("x")]);
            let error = limit.refuse(tokens);
            assert_eq!(error.code(), Code::Quota);
            let text = error.to_string();
            assert!(text.starts_with("too many new topics an hour for one subject;"), "{text}");
            assert!(text.contains(flag), "{text}");
        }
        // Of the 20 tokens of the address 5 are used.
        assert_eq!(publish(&limit, &log, client(1), &names("b", 64)).await, 15);
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
