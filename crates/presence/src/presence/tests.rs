use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use tokio::time::{advance, timeout};

use super::*;
use crate::room::News;
use crate::store::{Change, Update};
use crate::{LISTED_MAX, MemoryStore, NAMED_MAX};

const GRACE: Duration = Duration::from_secs(6);

/// A store that is away at times, and may have recorded what it did not answer.
#[derive(Debug, Default)]
struct Weather {
    store: MemoryStore,
    is_away: AtomicBool,
    records: AtomicBool,
    misses: AtomicBool,
}

#[async_trait]
impl Store for Weather {
    async fn report(&self, updates: &[Update], follows: bool) -> Result<Report, Away> {
        let is_away = self.is_away.load(Relaxed);
        if !is_away || self.records.load(Relaxed) {
            let report = self.store.report(updates, follows).await?;
            if !is_away {
                let missed = self.misses.swap(false, Relaxed);
                let changes = if missed { Vec::new() } else { report.changes };
                return Ok(Report { missed, changes, ..report });
            }
        }
        Err(Away("a test".to_owned()))
    }

    async fn view(&self, topic: &Topic) -> Result<View, Away> {
        match self.is_away.load(Relaxed) {
            true => Err(Away("a test".to_owned())),
            false => self.store.view(topic).await,
        }
    }

    async fn counts(
        &self,
        prefix: &str,
        is_wanted: &(dyn for<'t> Fn(&'t Topic) -> bool + Sync),
    ) -> Result<Counts, Away> {
        self.store.counts(prefix, is_wanted).await
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

fn id(name: &str) -> MemberId {
    MemberId::of(&[name])
}

fn node() -> (Presence, Arc<Weather>) {
    let store = Arc::<Weather>::default();
    (Presence::new(Arc::<Weather>::clone(&store), GRACE, &Registry::new()), store)
}

fn join(presence: &Presence, name: &str) -> Membership {
    presence.join([topic("room")], id(name), &Arc::from(name))
}

async fn second(presence: &Presence) {
    advance(REPORT_EVERY).await;
    presence.report().await;
}

async fn news(watcher: &mut Watcher) -> Option<News> {
    timeout(Duration::from_millis(1), poll_fn(|cx| watcher.poll_next(cx))).await.ok()
}

async fn change(watcher: &mut Watcher) -> Arc<Change> {
    match news(watcher).await {
        Some(News::Changed(_, change)) => change,
        other => panic!("{other:?} is no change"),
    }
}

async fn present(watcher: &mut Watcher) -> Vec<String> {
    match news(watcher).await {
        Some(News::Present(_, view)) => {
            let mut names: Vec<_> = view.members.iter().map(|one| one.info.to_string()).collect();
            names.sort();
            names
        }
        other => panic!("{other:?} is no list"),
    }
}

fn names(members: &[crate::Member]) -> Vec<&str> {
    members.iter().map(|member| &*member.info).collect()
}

#[tokio::test(start_paused = true)]
async fn a_watcher_begins_with_the_present_members_and_hears_of_each_join_and_leave_once() {
    let (presence, _) = node();
    let ann = join(&presence, "ann");
    second(&presence).await;
    let mut watcher = presence.watch(&[topic("room")]).await;
    assert_eq!(present(&mut watcher).await, ["ann"]);
    let _bob = join(&presence, "bob");
    let again = join(&presence, "ann");
    second(&presence).await;
    let joined = change(&mut watcher).await;
    assert_eq!((names(&joined.joins), joined.count, joined.left), (vec!["bob"], 2, 0));
    drop(ann);
    for _ in 0..10 {
        second(&presence).await;
    }
    assert!(news(&mut watcher).await.is_none(), "her other stream is open");
    drop(again);
    advance(GRACE).await;
    second(&presence).await;
    let left = change(&mut watcher).await;
    assert_eq!((names(&left.leaves), left.count, left.joined), (vec!["ann"], 1, 0));
    assert!(news(&mut watcher).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_within_the_grace_has_not_left() {
    let (presence, _) = node();
    let mut watcher = presence.watch(&[topic("room")]).await;
    assert!(present(&mut watcher).await.is_empty());
    for _ in 0..5 {
        let stream = join(&presence, "ann");
        second(&presence).await;
        drop(stream);
        second(&presence).await;
        second(&presence).await;
    }
    assert_eq!(names(&change(&mut watcher).await.joins), ["ann"]);
    assert!(news(&mut watcher).await.is_none());
    advance(GRACE).await;
    second(&presence).await;
    assert_eq!(names(&change(&mut watcher).await.leaves), ["ann"]);
    assert_eq!(presence.0.local().len(), 0, "nothing is kept of her");
}

#[tokio::test(start_paused = true)]
async fn many_are_one_summary_and_a_list_has_a_bound() {
    let (presence, _) = node();
    let mut watcher = presence.watch(&[topic("room")]).await;
    assert!(present(&mut watcher).await.is_empty());
    let all: Vec<_> = (0..10_000).map(|number: u32| join(&presence, &number.to_string())).collect();
    second(&presence).await;
    let joined = change(&mut watcher).await;
    assert_eq!((joined.joined, joined.count, joined.joins.len()), (10_000, 10_000, 0));
    assert!(news(&mut watcher).await.is_none(), "three reports are one change");
    second(&presence).await;
    second(&presence).await;
    let view = presence.view(&topic("room")).await.unwrap();
    assert_eq!((view.count, view.members.len()), (10_000, LISTED_MAX));
    drop(all);
    let few: Vec<_> =
        (0..NAMED_MAX).map(|number| join(&presence, &format!("few {number}"))).collect();
    second(&presence).await;
    assert_eq!(change(&mut watcher).await.joins.len(), few.len());
}

#[tokio::test(start_paused = true)]
async fn what_a_store_did_not_answer_is_told_again_and_counts_once() {
    for records in [false, true] {
        let (presence, store) = node();
        let mut watcher = presence.watch(&[topic("room")]).await;
        assert!(present(&mut watcher).await.is_empty());
        let (ann, bob) = (join(&presence, "ann"), join(&presence, "bob"));
        second(&presence).await;
        assert_eq!(change(&mut watcher).await.count, 2);
        store.is_away.store(true, Relaxed);
        store.records.store(records, Relaxed);
        drop((ann, bob));
        let _cid = join(&presence, "cid");
        advance(GRACE).await;
        second(&presence).await;
        // The leave of ann was told, perhaps, when she comes back.
        let ann = join(&presence, "ann");
        second(&presence).await;
        store.is_away.store(false, Relaxed);
        second(&presence).await;
        let names = |view: &View| {
            let mut names: Vec<_> = view.members.iter().map(|one| one.info.to_string()).collect();
            names.sort();
            names
        };
        let view = presence.view(&topic("room")).await.unwrap();
        assert_eq!(names(&view), ["ann", "cid"], "{records}");
        drop(ann);
        advance(GRACE).await;
        second(&presence).await;
        second(&presence).await;
        let view = presence.view(&topic("room")).await.unwrap();
        assert_eq!(names(&view), ["cid"], "{records}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_missed_changes_gets_the_list_again() {
    let (presence, store) = node();
    let mut watcher = presence.watch(&[topic("room")]).await;
    assert!(present(&mut watcher).await.is_empty());
    store.misses.store(true, Relaxed);
    let _ann = join(&presence, "ann");
    second(&presence).await;
    assert_eq!(present(&mut watcher).await, ["ann"]);
    // More changes than a room keeps, while the watcher does not read.
    let mut streams = Vec::new();
    for number in 0..40_u32 {
        streams.push(join(&presence, &number.to_string()));
        second(&presence).await;
    }
    assert!(news(&mut watcher).await.is_none(), "it waits for another view");
    second(&presence).await;
    assert_eq!(present(&mut watcher).await.len(), 41);
    streams.push(join(&presence, "bob"));
    second(&presence).await;
    assert_eq!(names(&change(&mut watcher).await.joins), ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_begins_while_the_store_is_away_gets_the_list_later() {
    let (presence, store) = node();
    let _ann = join(&presence, "ann");
    second(&presence).await;
    store.is_away.store(true, Relaxed);
    let mut watcher = presence.watch(&[topic("room")]).await;
    assert!(news(&mut watcher).await.is_none());
    assert!(presence.view(&topic("room")).await.is_err());
    second(&presence).await;
    store.is_away.store(false, Relaxed);
    second(&presence).await;
    assert_eq!(present(&mut watcher).await, ["ann"]);
}

#[tokio::test(start_paused = true)]
async fn topics_that_nobody_watches_are_forgotten_and_counts_are_by_name() {
    let (presence, _) = node();
    let info = Arc::from("ann");
    let _here = presence.join(["a/1", "a/2", "b"].map(topic), id("ann"), &info);
    second(&presence).await;
    drop(presence.watch(&[topic("a/1"), topic("b")]).await);
    second(&presence).await;
    second(&presence).await;
    assert_eq!(presence.0.rooms.len(), 0);
    let counts = presence.counts("a/", &|topic| topic.as_str() != "a/2").await.unwrap();
    assert_eq!((counts.topics, counts.more), (vec![(topic("a/1"), 1)], false));
}
