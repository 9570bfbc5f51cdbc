//! The members that have a stream on this node, or had one within the grace.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use event_log::Topic;
use tokio::time::Instant;

use crate::MemberId;
use crate::store::Update;

/// A member of a topic.
type Name = (Topic, MemberId);

/// The members of one node, and the updates that the store has not been told.
#[derive(Debug)]
pub(crate) struct Local {
    members: HashMap<Name, Here>,
    /// Those who came. Some may have left since.
    came: VecDeque<Name>,
    /// Those whose last stream ended, with the end of their grace, in the order of time.
    leaving: VecDeque<(Instant, Name)>,
    /// Those who have left for good.
    left: VecDeque<Name>,
    grace: Duration,
}

/// A member as this node knows it.
#[derive(Debug)]
struct Here {
    info: Arc<str>,
    streams: u32,
    /// The end of the grace of a member without a stream.
    leaves: Option<Instant>,
    /// True if the store may know that the member is here.
    is_told: bool,
}

/// Members on one node, about 60 MB. A stream beyond has no part in presence.
const MEMBERS_MAX: usize = 262_144;

impl Local {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            members: HashMap::new(),
            came: VecDeque::new(),
            leaving: VecDeque::new(),
            left: VecDeque::new(),
            grace,
        }
    }

    /// Adds a stream of a member. Returns false if the node has too many members.
    pub(crate) fn join(&mut self, topic: &Topic, id: MemberId, info: &Arc<str>) -> bool {
        let name = (topic.clone(), id);
        if let Some(here) = self.members.get_mut(&name) {
            here.streams += 1;
            here.leaves = None;
            return true;
        }
        if self.members.len() >= MEMBERS_MAX {
            return false;
        }
        let here = Here { info: Arc::clone(info), streams: 1, leaves: None, is_told: false };
        self.members.insert(name.clone(), here);
        self.came.push_back(name);
        true
    }

    /// Takes a stream of a member away.
    pub(crate) fn leave(&mut self, topic: &Topic, id: MemberId) {
        let name = (topic.clone(), id);
        let Some(here) = self.members.get_mut(&name) else { return };
        here.streams = here.streams.saturating_sub(1);
        if here.streams == 0 {
            let leaves = Instant::now() + self.grace;
            here.leaves = Some(leaves);
            self.leaving.push_back((leaves, name));
        }
    }

    /// Takes at most `most` updates.
    pub(crate) fn updates(&mut self, most: usize) -> Vec<Update> {
        self.end_graces();
        let mut updates = Vec::new();
        while updates.len() < most {
            if let Some((topic, id)) = self.left.pop_front() {
                match self.members.get_mut(&(topic.clone(), id)) {
                    // The member came back. To the store it has never left.
                    Some(here) => here.is_told = true,
                    None => updates.push(Update { topic, id, info: None }),
                }
            } else if let Some(name) = self.came.pop_front() {
                if let Some(here) = self.members.get_mut(&name) {
                    here.is_told = true;
                    let info = Some(Arc::clone(&here.info));
                    updates.push(Update { topic: name.0, id: name.1, info });
                }
            } else {
                break;
            }
        }
        updates
    }

    /// Takes updates back that the store may not have got.
    pub(crate) fn take_back(&mut self, updates: Vec<Update>) {
        for Update { topic, id, info } in updates.into_iter().rev() {
            match info {
                Some(_) => self.came.push_front((topic, id)),
                None => self.left.push_front((topic, id)),
            }
        }
    }

    /// Tells everything again, to a store that knows nothing of this node.
    pub(crate) fn tell_all(&mut self) {
        self.left.clear();
        self.came = self.members.keys().cloned().collect();
    }

    /// Members, those in their grace included.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    fn end_graces(&mut self) {
        let now = Instant::now();
        while let Some((end, name)) = self.leaving.pop_front_if(|(end, _)| *end <= now) {
            // The member may have come back, and left again later.
            let is_over = |here: &Here| here.leaves == Some(end);
            if self.members.get(&name).is_some_and(is_over)
                && let Some(here) = self.members.remove(&name)
                && here.is_told
            {
                self.left.push_back(name);
            }
        }
    }
}
