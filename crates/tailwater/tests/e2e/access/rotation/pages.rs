//! The answers of a run: a page for each of its parts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use super::Signer;

/// An answer to a request with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Admitted,
    /// The node cannot tell yet; the client comes back.
    Postponed,
    /// The node or its Redis is overloaded.
    Busy,
    /// Any other answer, as text.
    Refused(String),
}

/// The party that brings a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// With the id of the key that signed the token.
    Honest(&'static str),
    /// The key was never published.
    Stranger,
    /// The token names the key of others.
    Forger,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Stream,
    Publish,
}

#[derive(Debug, Default)]
struct Count {
    admitted: u64,
    postponed: u64,
    busy: u64,
    refused: u64,
    last_refusal: String,
}

/// The answers to the requests that began in a part of the run.
pub(super) struct Page {
    title: &'static str,
    /// Keys that every node has.
    known: Vec<Arc<Signer>>,
    /// Keys that sign although a node may not have them yet.
    fresh: Vec<Arc<Signer>>,
    counts: Mutex<BTreeMap<(Holder, Way), Count>>,
}

impl Page {
    pub(super) fn new(
        title: &'static str,
        known: &[&Arc<Signer>],
        fresh: &[&Arc<Signer>],
    ) -> Arc<Self> {
        let own = |keys: &[&Arc<Signer>]| keys.iter().map(|key| Arc::clone(key)).collect();
        Arc::new(Self { title, known: own(known), fresh: own(fresh), counts: Mutex::default() })
    }

    pub(super) fn title(&self) -> &str {
        self.title
    }

    /// The id of a key that every node has.
    pub(super) fn known_id(&self) -> &'static str {
        self.known.first().expect("the nodes have a key").name
    }

    /// Any key that signs in this part.
    pub(super) fn signer(&self) -> &Signer {
        let index = fastrand::usize(..self.known.len() + self.fresh.len());
        self.known.iter().chain(&self.fresh).nth(index).expect("the index of a key")
    }

    pub(super) fn note(&self, holder: Holder, way: Way, outcome: Outcome) {
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry((holder, way)).or_default();
        match outcome {
            Outcome::Admitted => count.admitted += 1,
            Outcome::Postponed => count.postponed += 1,
            Outcome::Busy => count.busy += 1,
            Outcome::Refused(answer) => {
                count.refused += 1;
                count.last_refusal = answer;
            }
        }
    }

    /// Fails unless every honest request was let in, or postponed if its key was new, and no other was let in.
    pub(super) fn judge(&self) {
        let counts = self.counts.lock().unwrap();
        let (title, is_known) =
            (self.title, |id: &str| self.known.iter().any(|key| key.name == id));
        for way in [Way::Stream, Way::Publish] {
            for key in &self.known {
                let count = counts.get(&(Holder::Honest(key.name), way));
                assert!(count.is_some_and(|c| c.admitted > 0), "{title}: {} {way:?}", key.name);
            }
            for intruder in [Holder::Stranger, Holder::Forger] {
                assert!(counts.contains_key(&(intruder, way)), "{title}: {intruder:?} {way:?}");
            }
        }
        for ((holder, way), count) in counts.iter() {
            let case = format!("{title}: {holder:?}, {way:?}: {count:?}");
            match holder {
                Holder::Honest(id) => {
                    assert_eq!(count.refused, 0, "{case}");
                    assert!(!is_known(id) || count.postponed == 0, "{case}");
                }
                Holder::Stranger => assert_eq!(count.admitted, 0, "{case}"),
                Holder::Forger => assert_eq!(count.admitted + count.postponed, 0, "{case}"),
            }
        }
    }
}

/// The counts of a run.
pub(super) fn table(pages: &[Arc<Page>]) -> String {
    let mut table = String::new();
    for page in pages {
        writeln!(table, "\n{}", page.title).unwrap();
        for ((holder, way), count) in page.counts.lock().unwrap().iter() {
            let Count { admitted, postponed, busy, refused, last_refusal } = count;
            let (holder, way) = (format!("{holder:?}"), format!("{way:?}"));
            writeln!(
                table,
                "  {holder:<18} {way:<8} {admitted:>6} admitted {postponed:>6} postponed {busy:>4} busy \
                 {refused:>6} refused  {last_refusal}"
            )
            .unwrap();
        }
    }
    table
}
