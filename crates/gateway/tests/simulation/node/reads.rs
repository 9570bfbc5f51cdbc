//! A node's reads: from its source, cut where another server lacks an event that may be promoted, and from the primary
//! where something seems to be missing.

use event_log::{LogName, Page, Position, ReadError, Reason};

use super::super::bug::Bug;
use super::super::history::Holding;
use super::super::server::Id;
use super::super::store::Window;
use super::Node;

impl Node {
    pub(super) async fn look(&self, log: &LogName) -> Result<Window, ReadError> {
        let holding = self.holding(log, true).await?;
        Ok(self.world.store.window(log, holding, self.window))
    }

    /// Asks the source what it holds of a log, and cuts that at the first event that another server lacks which has to
    /// have it.
    pub(super) async fn holding(&self, log: &LogName, cut: bool) -> Result<Holding, ReadError> {
        let (source, awaited) = self.servers()?;
        self.travel(source).await?;
        let store = &self.world.store;
        let mut holding = store.holding(source, log);
        for other in awaited.into_iter().filter(|_| cut) {
            self.travel(other).await?;
            let theirs = store.holding(other, log);
            holding = store.of(log, |history| match self.world.bug {
                Some(Bug::TakesOrderForProof) => history.cut_by_order(holding, theirs),
                _ => history.cut(holding, theirs.place),
            });
        }
        self.travel(source).await?;
        Ok(holding)
    }

    /// Returns the source and the servers that must have an event too.
    pub(super) fn servers(&self) -> Result<(Id, Vec<Id>), ReadError> {
        let state = self.state();
        let source = state.sources.source();
        let source = source.ok_or_else(|| ReadError::Unavailable("no source".to_owned()))?;
        Ok((source, state.sources.awaited()))
    }

    /// Lets the primary decide if there is a gap after a position. A reader that is only ahead of its source waits.
    pub(super) async fn read_at(
        &self,
        owner: Id,
        log: &LogName,
        after: Position,
    ) -> Result<Page, ReadError> {
        let store = &self.world.store;
        self.travel(owner).await?;
        let page = store.read(log, store.holding(owner, log), after, self.page);
        self.travel(owner).await?;
        let Some(gap) = &page.gap else {
            let waits = self.world.bug != Some(Bug::ReadsAheadOfTheSource);
            return Ok(if waits { Page { gap: None, events: Vec::new() } } else { page });
        };
        let (source, awaited) = self.servers()?;
        for server in [source].into_iter().chain(awaited) {
            self.travel(server).await?;
            let holding = store.holding(server, log);
            let holds = store.of(log, |history| history.holds(holding, gap.resume));
            if !holds && self.world.bug != Some(Bug::SkipsToTheUncommitted) {
                return Err(ReadError::Unavailable(
                    "a replica lacks the end of the gap".to_owned(),
                ));
            }
        }
        Ok(page)
    }

    /// Makes sure that nobody has replaced the primary that calls a position lost. A replaced one does not know the events
    /// of its successor.
    pub(super) async fn confirm_primary(&self, owner: Id, page: &Page) -> Result<(), ReadError> {
        let is_lost = page.gap.as_ref().is_some_and(|gap| gap.reason != Reason::Trimmed);
        if !is_lost || self.world.bug == Some(Bug::AsksNoSentinel) {
            return Ok(());
        }
        match self.world.confirm().await == Some(owner) {
            true => Ok(()),
            false => Err(ReadError::Unavailable("the primary was replaced".to_owned())),
        }
    }

    pub(super) async fn travel(&self, server: Id) -> Result<(), ReadError> {
        if self.world.travel(server).await {
            return Ok(());
        }
        self.state().sources.doubt(server);
        Err(ReadError::Unavailable("away".to_owned()))
    }
}
