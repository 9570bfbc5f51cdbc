//! Bytes that are counted for their client until the last of them is gone.

use std::sync::Arc;

use bytes::Bytes;
use event_log::Limit;
use limits::{Client, Full, Held, Quota};

/// Bytes with the part of the memory budget that they take.
struct HeldBytes {
    bytes: Bytes,
    _held: Held,
}

/// Bytes up to which a part of a body is not counted: the buffers of its connection are as large.
const UNCOUNTED_BYTES: usize = 4 * 1024;
/// Readers of one event share its bytes. Each is counted for this part of an event that is larger than a
/// page; a smaller event is counted as a whole.
const SHARED_PART: usize = 4;

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns bytes that are counted until they are dropped, wherever an HTTP server keeps them.
///
/// # Errors
/// The budget has no room for them.
pub(crate) fn count(memory: &Arc<Quota>, client: Client, bytes: Bytes) -> Result<Bytes, Full> {
    if bytes.len() <= UNCOUNTED_BYTES {
        return Ok(bytes);
    }
    let held = memory.take(client, weight(&bytes, bytes.len()))?;
    Ok(Bytes::from_owner(HeldBytes { bytes, _held: held }))
}

/// Returns the bytes that a client is counted for, of `whole` bytes of which `rest` is left.
pub(crate) fn weight(rest: &Bytes, whole: usize) -> u64 {
    let counted = match rest.is_unique() {
        true => whole,
        false => whole.min((whole / SHARED_PART).max(Limit::PAGE.bytes)),
    };
    counted as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use limits::Rules;

    #[test]
    fn the_budget_gets_its_bytes_back_with_the_last_slice() {
        let memory = Rules::default().memory;
        let count = |size| count(&memory, Client::TRUSTED, Bytes::from(vec![7; size])).unwrap();
        assert_eq!((count(UNCOUNTED_BYTES).len(), memory.used()), (UNCOUNTED_BYTES, 0));
        let bytes = count(10_000);
        let slice = bytes.slice(1..3);
        drop(bytes);
        assert_eq!((&slice[..], memory.used()), (&[7, 7][..], 10_000));
        drop(slice);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn an_event_that_readers_share_counts_for_each_by_a_part() {
        let own = Bytes::from(vec![0; 1 << 20]);
        assert_eq!(weight(&own, 1 << 20), 1 << 20);
        let _other = own.clone();
        assert_eq!(weight(&own, 1 << 20), 1 << 18);
        assert_eq!(weight(&own, 100 << 10), 64 << 10);
        assert_eq!(weight(&own, 100), 100);
    }
}
