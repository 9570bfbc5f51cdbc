//! The event stream that clients read.

use sse::{Event, Parser};

/// Any pieces of a stream give the same events as the whole stream. The first byte is the length of a
/// piece.
pub(crate) fn client_stream(bytes: &[u8]) {
    let Some((&first, stream)) = bytes.split_first() else { return };
    let pieces = read(stream.chunks(usize::from(first) + 1));
    assert_eq!(pieces, read([stream]));
}

/// The events, and the state that a reconnect uses.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, String, u64) {
    let (mut parser, mut events) = (Parser::resuming("7-1"), Vec::new());
    for piece in pieces {
        parser.feed(piece, &mut |event| events.push(event));
    }
    (events, format!("{} {:?}", parser.last_event_id(), parser.retry()), parser.comments())
}
