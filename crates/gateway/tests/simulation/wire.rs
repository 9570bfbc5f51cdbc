//! Planted bugs on the way from a gateway to its client: a gateway that had them would write these bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::bug::Bug;
use super::wanted::Wanted;
use super::world::World;

const MISSED_AT_MOST: &str = "\"missed_at_most\":";

/// The bytes as a gateway with the world's planted bug would write them to a client with this query.
pub(crate) fn falsify(world: &Arc<World>, query: &str, bytes: Bytes) -> Bytes {
    let Some(bug) = world.bug else { return bytes };
    let text = std::str::from_utf8(&bytes).expect("text");
    let falsified = match bug {
        Bug::IdsAhead => ids_ahead(text),
        Bug::CountsSelected => {
            Some(text.replace(&format!("\"missed\":null,{MISSED_AT_MOST}"), "\"missed\":"))
        }
        Bug::BoundsTooLow => bound_too_low(text),
        Bug::PassesTooFar => too_far(world, query, text),
        _ => None,
    };
    falsified.map_or(bytes, Bytes::from)
}

/// Every frame of a write has the id of the last frame.
fn ids_ahead(text: &str) -> Option<String> {
    let last = text.lines().rfind(|line| line.starts_with("id: "))?;
    let lines = text.split_inclusive('\n');
    let ahead = lines
        .map(|line| if line.starts_with("id: ") { format!("{last}\n") } else { line.to_owned() });
    Some(ahead.collect())
}

/// A gap of a selection may miss more events than it says.
fn bound_too_low(text: &str) -> Option<String> {
    let (before, rest) = text.split_once(MISSED_AT_MOST)?;
    let end = rest.find(|char: char| !char.is_ascii_digit())?;
    let most: u64 = rest[..end].parse().ok()?;
    Some(format!("{before}{MISSED_AT_MOST}{}{}", most.div_ceil(2), &rest[end..]))
}

/// The cursor of a reader that selects is the head of the log.
fn too_far(world: &Arc<World>, query: &str, text: &str) -> Option<String> {
    let parts = Wanted::all(query);
    let [part] = &parts[..] else { return None };
    let moves = text.starts_with("event: tailwater.cursor\n") && !part.is_whole();
    let (before, _) = text.split_once("\nid: ").filter(|_| moves)?;
    Some(format!("{before}\nid: {}\n\n", world.store.head(&part.log)))
}
