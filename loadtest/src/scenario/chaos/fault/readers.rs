//! Subscribers that are too slow.

use anyhow::Result;

use crate::lab::{BY_HAND, Lab, Reads, Seat, Towards};
use crate::machine::{Proxy, Way};

/// The number of slow readers, each behind a proxy of its own.
const READERS: usize = 5;

/// The bytes published meanwhile: 12 MB, more than all buffers between hold.
const EVENTS: u32 = 3000;
const EVENT_BYTES: usize = 4096;

/// The memory that slow readers may cost a gateway: its window of the topic, and socket pages.
const GROWTH_MAX: u64 = 32 * 1024 * 1024;

async fn seat_readers(lab: &mut Lab, gateway: usize) -> Result<()> {
    for _ in 0..READERS {
        let wire = Proxy::start(lab.gateways[gateway].addr()).await?;
        let towards = Towards::Wire(wire.addr(), gateway);
        lab.crowd.seat(Seat {
            reads: Reads::Topic(BY_HAND),
            towards,
            travels: false,
            notices_silence: false,
            is_timed: false,
        });
        lab.reader_wires.push(wire);
    }
    lab.wait_seated().await
}

/// Five readers take one byte a second, and then all that is left.
pub(in super::super) async fn byte_a_second(lab: &mut Lab) -> Result<()> {
    let victim = lab.choose(lab.gateways.len());
    seat_readers(lab, victim).await?;
    let before = lab.gateways[victim].rss_bytes()?;
    lab.fault("one byte a second");
    lab.reader_wires.iter().for_each(|wire| wire.trickle(Some(1)));
    lab.publish_by_hand(EVENTS, EVENT_BYTES).await?;
    lab.run_for(5.0, 7.0).await;
    let growth = lab.gateways[victim].rss_bytes()?.saturating_sub(before);
    lab.must(growth < GROWTH_MAX, "slow readers cost a gateway little memory");
    lab.note(format!("the gateway grew by {} KiB", growth / 1024));
    lab.reader_wires.iter().for_each(|wire| wire.trickle(None));
    lab.mend("as fast as it goes");
    lab.crowd.travel(false);
    lab.settle().await;
    Ok(())
}

/// Five readers stand still while 3000 events come and 200 are kept.
pub(in super::super) async fn trimmed(lab: &mut Lab) -> Result<()> {
    let victim = lab.choose(lab.gateways.len());
    seat_readers(lab, victim).await?;
    lab.fault("readers stand still");
    lab.reader_wires.iter().for_each(|wire| wire.hold(Way::Down, true));
    lab.publish_by_hand(EVENTS, EVENT_BYTES).await?;
    lab.reader_wires.iter().for_each(|wire| wire.hold(Way::Down, false));
    lab.mend("they read again");
    lab.crowd.travel(false);
    lab.settle().await;
    let told = lab.crowd.books().gaps.get("trimmed").copied().unwrap_or(0);
    lab.must(told >= READERS as u64, "every one of them was told of a gap");
    Ok(())
}
