//! The topics that are watched on this node, and their watchers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use event_log::Topic;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::store::{Away, Change, Report, Store, View};

/// All rooms.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<HashMap<Topic, Arc<Room>>>);

/// A topic that is watched.
#[derive(Debug)]
struct Room {
    topic: Topic,
    state: Mutex<State>,
    /// Held while the members are looked at, so that all who ask share one answer.
    looking: tokio::sync::Mutex<()>,
    /// Counts the reasons for watchers to look at the state.
    stirs: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// The last view, and the time at which it was asked for.
    view: Option<(Instant, Arc<View>)>,
    /// The last changes.
    recent: VecDeque<Arc<Change>>,
    /// The version of the last change that is not here any more.
    floor: u64,
    /// Counts the times that changes were missed.
    breaks: u64,
    /// True if a watcher needs another view.
    wants_view: bool,
}

/// News of a topic.
#[derive(Debug)]
pub enum News {
    /// The members at the beginning, or after changes were missed.
    Present(Topic, Arc<View>),
    /// Some joined or left.
    Changed(Topic, Arc<Change>),
}

/// A reader of the news of some topics. It holds no news: one that is slow sees the members as they are when it
/// comes back.
#[derive(Debug)]
pub struct Watcher(Vec<Watched>);

struct Watched {
    room: Arc<Room>,
    /// The version that the reader knows, and the count of breaks at that time.
    seen: Option<(u64, u64)>,
    stirred: Pin<Box<dyn Future<Output = watch::Receiver<u64>> + Send + Sync>>,
}

/// Changes that a room keeps for watchers that are slow: one comes a second.
const RECENT_MAX: usize = 16;
/// Topics of which a view is kept for those who only ask once. Streams that watch are bounded themselves.
const ROOMS_MAX: usize = 65_536;
/// The time for which a view is good for another reader.
const VIEW_FRESH: Duration = Duration::from_secs(1);
/// The longest that a reader waits for a view.
const VIEW_MAX: Duration = Duration::from_secs(1);
/// Views that are asked for in one round: readers of the others wait for the next one.
const VIEWS_MAX: usize = 64;

impl Rooms {
    /// Begins to watch topics.
    pub(crate) async fn watch(&self, topics: &[Topic], store: &dyn Store) -> Watcher {
        let mut watched = Vec::with_capacity(topics.len());
        let mut is_away = false;
        for topic in topics {
            let room = self.room(topic);
            let changes = room.stirs.subscribe();
            // Without an answer the reader gets the view of a later round. It waits once.
            is_away = is_away || room.view(store).await.is_err();
            if is_away {
                room.state().wants_view = true;
            }
            watched.push(Watched { room, seen: None, stirred: Box::pin(stirred(changes)) });
        }
        Watcher(watched)
    }

    /// Looks at the members of a topic.
    pub(crate) async fn view(&self, topic: &Topic, store: &dyn Store) -> Result<Arc<View>, Away> {
        let kept = self.rooms().len();
        let room = match kept {
            0..ROOMS_MAX => self.room(topic),
            _ => Arc::new(Room::new(topic)),
        };
        room.view(store).await
    }

    /// Gives changes to the watchers.
    pub(crate) fn take(&self, report: Report) {
        let rooms = self.rooms();
        if report.missed {
            rooms.values().for_each(|room| room.has_missed());
        }
        let mut sums = HashMap::<Topic, Change>::new();
        for (topic, change) in report.changes {
            if rooms.contains_key(&topic) {
                sums.entry(topic).or_default().then(change);
            }
        }
        for (topic, change) in sums {
            rooms[&topic].change(change);
        }
    }

    /// Asks for the views that watchers need, and forgets the topics that nobody watches.
    pub(crate) async fn refresh(&self, store: &dyn Store) {
        let wanting: Vec<_> = {
            let mut rooms = self.rooms();
            rooms.retain(|_, room| Arc::strong_count(room) > 1 || room.is_fresh());
            let wanting = rooms.values().filter(|room| room.state().wants_view);
            wanting.take(VIEWS_MAX).cloned().collect()
        };
        for room in wanting {
            // A store that is away for one is away for all.
            if room.view(store).await.is_err() {
                return;
            }
            room.stir();
        }
    }

    /// Topics that are watched.
    pub(crate) fn len(&self) -> usize {
        self.rooms().values().filter(|room| room.stirs.receiver_count() > 0).count()
    }

    fn room(&self, topic: &Topic) -> Arc<Room> {
        let mut rooms = self.rooms();
        Arc::clone(rooms.entry(topic.clone()).or_insert_with(|| Arc::new(Room::new(topic))))
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<Topic, Arc<Room>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn new(topic: &Topic) -> Self {
        Self {
            topic: topic.clone(),
            state: Mutex::default(),
            looking: tokio::sync::Mutex::default(),
            stirs: watch::channel(0).0,
        }
    }

    /// The members, as they were a second ago at most.
    async fn view(&self, store: &dyn Store) -> Result<Arc<View>, Away> {
        let _looking = self.looking.lock().await;
        if let Some(view) = self.state().fresh() {
            return Ok(view);
        }
        let asked = Instant::now();
        let late = |_| Away(format!("no answer within {VIEW_MAX:?}"));
        let view = timeout(VIEW_MAX, store.view(&self.topic)).await.map_err(late)??;
        let view = Arc::new(view);
        let mut state = self.state();
        state.view = Some((asked, Arc::clone(&view)));
        state.wants_view = false;
        Ok(view)
    }

    fn change(&self, change: Change) {
        let mut state = self.state();
        state.recent.push_back(Arc::new(change));
        if state.recent.len() > RECENT_MAX
            && let Some(oldest) = state.recent.pop_front()
        {
            state.floor = oldest.version;
        }
        drop(state);
        self.stir();
    }

    fn has_missed(&self) {
        let mut state = self.state();
        state.breaks += 1;
        state.recent.clear();
        state.floor = 0;
        state.view = None;
        state.wants_view = true;
    }

    fn stir(&self) {
        self.stirs.send_modify(|stirs| *stirs += 1);
    }

    fn is_fresh(&self) -> bool {
        self.state().fresh().is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The view, if it is good for another reader.
    fn fresh(&self) -> Option<Arc<View>> {
        let (asked, view) = self.view.as_ref()?;
        let is_good = asked.elapsed() < VIEW_FRESH && view.version >= self.floor;
        is_good.then(|| Arc::clone(view))
    }

    /// The news after those that a reader has seen.
    fn after(&mut self, topic: &Topic, seen: &mut Option<(u64, u64)>) -> Option<News> {
        if let Some((version, breaks)) = *seen
            && breaks == self.breaks
            && version >= self.floor
        {
            let next = self.recent.iter().find(|change| change.version > version)?;
            *seen = Some((next.version, breaks));
            return Some(News::Changed(topic.clone(), Arc::clone(next)));
        }
        match &self.view {
            Some((_, view)) if view.version >= self.floor => {
                *seen = Some((view.version, self.breaks));
                Some(News::Present(topic.clone(), Arc::clone(view)))
            }
            _ => {
                self.wants_view = true;
                None
            }
        }
    }
}

impl Watcher {
    /// Polls for the next news. Cancel-safe.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        for watched in &mut self.0 {
            loop {
                let news = watched.room.state().after(&watched.room.topic, &mut watched.seen);
                if let Some(news) = news {
                    return Poll::Ready(news);
                }
                match watched.stirred.as_mut().poll(cx) {
                    Poll::Ready(stirs) => watched.stirred = Box::pin(stirred(stirs)),
                    Poll::Pending => break,
                }
            }
        }
        Poll::Pending
    }
}

async fn stirred(mut stirs: watch::Receiver<u64>) -> watch::Receiver<u64> {
    // The sender is in the room, which the watcher holds.
    let _always = stirs.changed().await;
    stirs
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("topic", &self.room.topic)
            .field("seen", &self.seen)
            .finish()
    }
}
