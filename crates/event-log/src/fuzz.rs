//! Properties of this crate's parsers, as functions of any bytes, for the package `fuzz`. A function
//! panics if its property does not hold.

use std::fmt::Debug;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::cursor::wire;
use crate::{EventType, Generation, Key, LogName, Position, Topic, TraceParent, classify};

/// The most topics of a cursor here.
const TOPICS_MAX: u8 = 8;

/// Decodes a cursor; then the positions survive another round, and eight topics have at most 128 bytes.
///
/// The first byte is the number of topics and the form. With its highest bit the other bytes are the cursor's
/// binary part, because the fuzzer does not find base64 and hashes by itself; without it, they are its text.
pub fn cursor(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let count = usize::from(first % TOPICS_MAX) + 1;
    let topics: Vec<_> = (0..count).filter_map(|i| LogName::parse(&format!("t{i}"))).collect();
    let text = match first >> 6 {
        // One hash for all topics.
        3 => format!("v1.{}", BASE64.encode([&wire::hash(&topics).to_be_bytes(), rest].concat())),
        // The hash of each topic takes the place of the byte that names it.
        2 => {
            let bytes = rest.iter().flat_map(|byte| {
                let named = topics.get(usize::from(byte.wrapping_sub(b'A')));
                let hash = named.map(|topic| wire::hash([topic]).to_be_bytes().to_vec());
                hash.unwrap_or_else(|| vec![*byte])
            });
            format!("2.{}", BASE64.encode(bytes.collect::<Vec<_>>()))
        }
        _ => String::from_utf8_lossy(rest).into_owned(),
    };
    let Ok(positions) = wire::decode(&text, &topics) else { return };
    assert_eq!(positions.len(), count);
    let known = topics.iter().zip(&positions);
    let known: Vec<_> = known.filter_map(|(topic, at)| Some((topic.clone(), (*at)?))).collect();
    let places = known.iter().map(|(topic, at)| (topic, wire::hash([topic]), *at));
    let again = wire::encode(places);
    let (topics, positions): (Vec<_>, Vec<_>) = known.iter().cloned().unzip();
    let positions = positions.into_iter().map(Some).collect();
    assert_eq!(wire::decode(&again, &topics), Ok(positions), "{again}");
}

/// Finds the gap of a reader that brings any position to a log of any state. If the log can be in that
/// state, a reader that resumes behind its gap finds no other.
///
/// The bytes are numbers of eight: the positions `after`, `head`, `first`, `oldest` and `next`.
pub fn gap(bytes: &[u8]) {
    let mut numbers = bytes
        .chunks(size_of::<u64>())
        .map(|some| some.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
    let mut position = || Some(Position::new(numbers.next()?, numbers.next()?));
    let (Some(after), Some(head), Some(first)) = (position(), position(), position()) else {
        return;
    };
    let (oldest, next) = (position(), position());
    let generation = Some(Generation { head, first });
    let gap = classify(after, generation, oldest, next);
    let Some(gap) = gap else { return };
    let is_possible = first <= head
        && next
            .is_none_or(|next| after < next && first.ms <= next.ms && next <= head && next.n > 0);
    if is_possible {
        let again = classify(gap.resume, generation, oldest, next);
        assert_eq!(again, None, "a second gap, behind {gap:?}");
        assert!(gap.missed.is_none_or(|missed| missed <= head.n.max(gap.resume.n)), "{gap:?}");
    }
    let unknown = classify(after, None, oldest, next);
    assert_eq!(unknown.is_some(), after != Position::START);
}

/// Parses the names that clients give: topics, types, keys, positions and trace parents. An accepted
/// name is kept as it came, within its limit.
pub fn names(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    kept(text, Topic::new(text).map(|topic| topic.as_str().to_owned()), Topic::MAX_BYTES);
    kept(text, EventType::new(text).map(|kind| kind.as_str().to_owned()), EventType::MAX_BYTES);
    kept(text, Key::new(text).map(|key| key.as_str().to_owned()), Key::MAX_BYTES);
    if let Some(trace) = TraceParent::parse(text) {
        assert_eq!(trace.as_str(), text);
    }
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
}

fn kept<E: Debug>(text: &str, name: Result<String, E>, max: usize) {
    if let Ok(name) = name {
        assert_eq!(name, text);
        assert!((1..=max).contains(&name.len()), "{} bytes", name.len());
    }
}
