//! A cursor as text: the id of an SSE event, which comes back as `Last-Event-ID`.
//!
//! | topics | text |
//! |---|---|
//! | one | the position, `<ms>-<n>` |
//! | several | `2.` and base64url of: varint of the greatest ms, then for each topic FNV-1a-32 of its name (4 bytes, big endian), varint(greatest ms - ms), varint(n) |
//! | up to eight, if that text is longer than 128 bytes | `v1.` and base64url of: FNV-1a-32 of the sorted topics (4 bytes, big endian), varint of the greatest ms, then for each topic in sorted order varint(greatest ms - ms), varint(n) |
//! | any, put together by a client | `TOPIC@<ms>-<n>`, separated by commas |
//!
//! A topic stands here for its log. The topics of a space share the line of the space, whose name is `<prefix>**`; put
//! together by a client, the line may name any topic of the space.
//!
//! Because of the hashes, a position goes only to the topic that it is of. All forms but `v1.` are good for
//! other topics as well: a topic that the text does not know is new to the reader. Text from a client is
//! untrusted: any text decodes to positions or is an [`InvalidCursor`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;

use crate::{LogName, Position};

/// Begins a text with a hash for each topic. It has two characters because with three the text of eight usual topics
/// would have 129.
const EACH: &str = "2.";
/// Begins a text with one hash for all topics.
const ALL: &str = "v1.";
/// The longest text of a cursor of up to [`FEW`] topics, in bytes.
const BYTES_MAX: usize = 128;
const FEW: usize = 8;
/// The most topics that a text may have: as many as a node can allow.
const TOPICS_MAX: usize = 1024;

/// A text that is not a cursor of this subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not valid for these topics")]
pub struct InvalidCursor;

/// Writes the positions in the sorted logs; each comes with the [`hash`] of its log.
pub(crate) fn encode<'a>(
    places: impl ExactSizeIterator<Item = (&'a LogName, u32, Position)> + Clone,
) -> String {
    if places.len() == 1 {
        return places.map(|(_, _, position)| position.to_string()).collect();
    }
    let newest = places.clone().map(|(_, _, position)| position.ms).max().unwrap_or_default();
    let mut bytes = Vec::with_capacity(8 + 12 * places.len());
    put_varint(&mut bytes, newest);
    for (_, hash, position) in places.clone() {
        bytes.extend(hash.to_be_bytes());
        put_position(&mut bytes, newest, position);
    }
    if places.len() > FEW || text_len(EACH, &bytes) <= BYTES_MAX {
        return text_of(EACH, &bytes);
    }
    bytes.clear();
    bytes.extend(hash(places.clone().map(|(log, _, _)| log)).to_be_bytes());
    put_varint(&mut bytes, newest);
    places.for_each(|(_, _, position)| put_position(&mut bytes, newest, position));
    text_of(ALL, &bytes)
}

/// Reads a text for these sorted logs: the position in each, or `None` for a log that the text does not know. It
/// knows at least one.
pub(crate) fn decode(text: &str, logs: &[LogName]) -> Result<Vec<Option<Position>>, InvalidCursor> {
    if let [_] = logs
        && let Ok(position) = text.parse()
    {
        return Ok(vec![Some(position)]);
    }
    let positions = match (text.strip_prefix(EACH), text.strip_prefix(ALL)) {
        (Some(encoded), _) => decode_each(encoded, logs)?,
        (_, Some(encoded)) => decode_all(encoded, logs)?,
        _ => decode_named(text, logs)?,
    };
    if positions.iter().all(Option::is_none) { Err(InvalidCursor) } else { Ok(positions) }
}

fn decode_each(encoded: &str, logs: &[LogName]) -> Result<Vec<Option<Position>>, InvalidCursor> {
    let bytes = BASE64.decode(encoded).map_err(|_| InvalidCursor)?;
    let mut rest = bytes.as_slice();
    let newest = take_varint(&mut rest)?;
    let mut known = Vec::with_capacity(logs.len());
    while !rest.is_empty() {
        let (hash, behind) = rest.split_first_chunk().ok_or(InvalidCursor)?;
        rest = behind;
        known.push((u32::from_be_bytes(*hash), take_position(&mut rest, newest)?));
        if known.len() > TOPICS_MAX {
            return Err(InvalidCursor);
        }
    }
    let hashes: Vec<_> = logs.iter().map(|log| hash([log])).collect();
    let position = |(index, hash): (usize, &u32)| {
        let mut same = known.iter().filter(|(known, _)| known == hash).map(|(_, at)| *at);
        // Logs whose names have one hash stand in their order. Beside a set of others they cannot be told.
        let count = hashes.iter().filter(|other| *other == hash).count();
        let before = hashes[..index].iter().filter(|other| *other == hash).count();
        (same.clone().count() == count).then(|| same.nth(before)).flatten()
    };
    Ok(hashes.iter().enumerate().map(position).collect())
}

fn decode_all(encoded: &str, logs: &[LogName]) -> Result<Vec<Option<Position>>, InvalidCursor> {
    let bytes = BASE64.decode(encoded).map_err(|_| InvalidCursor)?;
    let (all, mut rest) = bytes.split_first_chunk().ok_or(InvalidCursor)?;
    if u32::from_be_bytes(*all) != hash(logs) {
        return Err(InvalidCursor);
    }
    let newest = take_varint(&mut rest)?;
    let positions = logs.iter().map(|_| take_position(&mut rest, newest).map(Some));
    let positions = positions.collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(positions) } else { Err(InvalidCursor) }
}

fn decode_named(text: &str, logs: &[LogName]) -> Result<Vec<Option<Position>>, InvalidCursor> {
    let mut positions = vec![None; logs.len()];
    for (count, part) in text.split(',').enumerate() {
        let (name, position) = part.rsplit_once('@').ok_or(InvalidCursor)?;
        let position = position.parse().map_err(|_| InvalidCursor)?;
        if count >= TOPICS_MAX {
            return Err(InvalidCursor);
        }
        // The topics of a space have one order, so the last of their events is where the client stands.
        if let Some(index) = logs.iter().position(|log| log.has(name)) {
            let is_space = logs[index].is_space();
            positions[index] = positions[index].filter(|_| is_space).max(Some(position));
        }
    }
    Ok(positions)
}

fn text_of(prefix: &str, bytes: &[u8]) -> String {
    let mut text = String::with_capacity(text_len(prefix, bytes));
    text.push_str(prefix);
    BASE64.encode_string(bytes, &mut text);
    text
}

const fn text_len(prefix: &str, bytes: &[u8]) -> usize {
    prefix.len() + (bytes.len() * 4).div_ceil(3)
}

fn put_position(bytes: &mut Vec<u8>, newest: u64, position: Position) {
    put_varint(bytes, newest - position.ms);
    put_varint(bytes, position.n);
}

fn take_position(bytes: &mut &[u8], newest: u64) -> Result<Position, InvalidCursor> {
    let ms = newest.checked_sub(take_varint(bytes)?).ok_or(InvalidCursor)?;
    Ok(Position::new(ms, take_varint(bytes)?))
}

/// FNV-1a over the sorted names, each followed by a zero byte, which no name contains.
pub(crate) fn hash<'a>(sorted: impl IntoIterator<Item = &'a LogName>) -> u32 {
    let names = sorted.into_iter().flat_map(|log| log.as_str().bytes().chain([0]));
    names.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, InvalidCursor> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(InvalidCursor)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(InvalidCursor);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (any::<u64>(), any::<u64>()).prop_map(|(ms, n)| Position::new(ms, n))
    }

    fn log(name: &str) -> LogName {
        LogName::parse(name).unwrap()
    }

    fn topics(count: usize) -> Vec<LogName> {
        (0..count).map(|i| log(&format!("topic/{i:04}"))).collect()
    }

    fn text(topics: &[LogName], positions: &[Position]) -> String {
        let places = topics.iter().zip(positions).map(|(topic, at)| (topic, hash([topic]), *at));
        encode(places.collect::<Vec<_>>().into_iter())
    }

    fn some(positions: &[Position]) -> Vec<Option<Position>> {
        positions.iter().copied().map(Some).collect()
    }

    proptest! {
        #[test]
        fn encoded_positions_decode_to_themselves(positions in prop::collection::vec(position(), 1..12)) {
            let topics = topics(positions.len());
            prop_assert_eq!(decode(&text(&topics, &positions), &topics), Ok(some(&positions)));
        }

        #[test]
        fn a_topic_goes_on_beside_any_others(
            positions in prop::collection::vec((0u64..1 << 28, 0u64..1 << 21), 2..20),
            kept in prop::collection::vec(any::<bool>(), 40),
        ) {
            let positions: Vec<_> = positions.into_iter().map(|(ms, n)| Position::new(ms, n)).collect();
            let all = topics(2 * positions.len());
            // Every second topic is known.
            let known: Vec<_> = all.iter().step_by(2).cloned().collect();
            let text = text(&known, &positions);
            let mut wanted = Vec::new();
            let mut expected = Vec::new();
            for (i, topic) in all.iter().enumerate().filter(|(i, _)| kept[*i]) {
                wanted.push(topic.clone());
                expected.push((i % 2 == 0).then(|| positions[i / 2]));
            }
            let expected = match expected.iter().all(Option::is_none) {
                true => Err(InvalidCursor),
                false => Ok(expected),
            };
            prop_assert_eq!(decode(&text, &wanted), expected);
        }

        #[test]
        fn eight_topics_fit_in_128_bytes(
            ages in prop::collection::vec((0u64..1 << 35, 0u64..1 << 35), 8),
        ) {
            let newest = 1_900_000_000_000;
            let positions: Vec<_> =
                ages.iter().map(|(age, n)| Position::new(newest - age, *n)).collect();
            let topics = topics(8);
            let text = text(&topics, &positions);
            prop_assert!(text.len() <= BYTES_MAX, "{} bytes", text.len());
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~=,;+-".contains(&b)));
            prop_assert_eq!(decode(&text, &topics), Ok(some(&positions)));
            // Topics of three days with two million events each can always be changed.
            let is_small = |(age, n): &(u64, u64)| *age < 1 << 28 && *n < 1 << 21;
            if ages.iter().all(is_small) {
                prop_assert!(decode(&text, &topics[1..]).is_ok(), "{text}");
            }
        }

        #[test]
        fn no_text_from_a_client_panics(text in r"(2\.|v1\.)?([a-z/@,0-9A-Z_-]|[0-9]-[0-9]|.){0,40}", count in 1usize..70) {
            let _either = decode(&text, &topics(count));
        }

        #[test]
        fn no_bytes_from_a_client_panic(bytes: Vec<u8>, count in 2usize..70) {
            let topics = topics(count);
            let mut all = hash(&topics).to_be_bytes().to_vec();
            all.extend(&bytes);
            let _either = decode(&format!("v1.{}", BASE64.encode(all)), &topics);
            let _either = decode(&format!("2.{}", BASE64.encode(bytes)), &topics);
        }
    }

    #[test]
    fn small_topics_keep_their_positions_when_the_topics_change() {
        let topics = topics(8);
        let positions = [Position::new((1 << 41) - 1, (1 << 21) - 1); 8];
        let mut old = positions;
        old[7].ms -= (1 << 28) - 1;
        for positions in [positions, old] {
            let text = text(&topics, &positions);
            assert!(text.starts_with(EACH) && text.len() <= BYTES_MAX, "{text}");
        }
    }

    /// The form that every cursor of several topics had before the form with a hash for each topic.
    #[test]
    fn the_form_with_one_hash_is_good_for_its_own_topics() {
        let topics = topics(8);
        let positions: Vec<_> = (0..8).map(|i| Position::new(1 << (5 * i), u64::MAX - i)).collect();
        let text = text(&topics, &positions);
        assert!(text.starts_with(ALL), "{text}");
        assert_eq!(decode(&text, &topics), Ok(some(&positions)));
        assert_eq!(decode(&text, &topics[..7]), Err(InvalidCursor));
    }

    #[test]
    fn a_cursor_of_none_of_the_topics_is_invalid() {
        let [a, b, c] = ["a", "b", "c"].map(log);
        let two = text(&[a.clone(), b.clone()], &[Position::new(5, 1), Position::new(9, 2)]);
        assert_eq!(decode(&two, std::slice::from_ref(&c)), Err(InvalidCursor));
        assert_eq!(decode("5-1", &[a.clone(), b.clone()]), Err(InvalidCursor));
        assert_eq!(decode("c@5-1", &[a.clone(), b.clone()]), Err(InvalidCursor));
        assert_eq!(decode(&two, &[a]), Ok(vec![Some(Position::new(5, 1))]));
        assert_eq!(decode(&two, &[b, c]), Ok(vec![Some(Position::new(9, 2)), None]));
    }

    #[test]
    fn a_client_puts_a_cursor_together_by_name() {
        let topics = ["a@b", "c"].map(log);
        let at = |ms, n| Some(Position::new(ms, n));
        assert_eq!(decode("a@b@5-1,c@6-2", &topics), Ok(vec![at(5, 1), at(6, 2)]));
        assert_eq!(decode("c@6-2,c@7-3,other@1-1", &topics), Ok(vec![None, at(7, 3)]));
        assert_eq!(decode("c@6-2", &topics[1..]), Ok(vec![at(6, 2)]));
        for bad in ["c", "c@", "c@6", "c@6-2,", "@6-2"] {
            assert_eq!(decode(bad, &topics), Err(InvalidCursor), "{bad:?}");
        }
    }

    #[test]
    fn a_space_has_one_position_whatever_is_selected() {
        let logs = ["orders/**", "other"].map(log);
        let at = |ms, n| Some(Position::new(ms, n));
        let named = "orders/1@5-1,orders/2@7-3,orders/1@6-2,other@9-9,other@8-8";
        assert_eq!(decode(named, &logs), Ok(vec![at(7, 3), at(8, 8)]));
        assert_eq!(decode("orders/**@5-1", &logs[..1]), Ok(vec![at(5, 1)]));
        assert_eq!(decode("orders@5-1", &logs[..1]), Err(InvalidCursor));
    }

    /// Two topics whose names have the same hash. (Found by a search over short names.)
    #[test]
    fn topics_with_one_hash_are_told_by_their_order_or_not_at_all() {
        let [a, b] = ["room/329599", "room/532382"].map(log);
        assert_eq!(hash([&a]), hash([&b]));
        let positions = [Position::new(5, 1), Position::new(9, 2)];
        let both = [a.clone(), b];
        let text = text(&both, &positions);
        assert_eq!(decode(&text, &both), Ok(some(&positions)));
        assert_eq!(decode(&text, &[a]), Err(InvalidCursor));
    }
}
