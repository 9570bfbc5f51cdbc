//! The news of presence in a stream.

use bytes::{Bytes, BytesMut};

use super::Subscriber;
use crate::frame::{put_comment, put_control};
use crate::presence::PresenceEvent;
use crate::request::Control;

impl Subscriber {
    /// The bytes of news: control events, whose id is the cursor, which they do not move.
    pub(super) fn tell(&mut self, events: &[PresenceEvent]) -> Option<Bytes> {
        // No read is under way while these bytes wait for the client.
        self.cursor.cancel_read();
        self.id_is_behind = false;
        let cursor = self.cursor.wire();
        let mut out = BytesMut::new();
        for PresenceEvent { kind, json } in events {
            match self.manner().control {
                Control::Event => put_control(&mut out, kind, json, None, Some(&cursor)),
                Control::Comment => put_comment(&mut out, kind, json),
                Control::Off | Control::Mute => {}
            }
        }
        (!out.is_empty()).then(|| self.framing.wrap(out.freeze()))
    }
}
