//! The slot in which a cluster keeps a partition: the slot of its tag.

use std::sync::LazyLock;

use crate::keys::PARTITIONS;

const SLOTS: u16 = 16_384;

static SLOT_OF: LazyLock<Vec<u16>> =
    LazyLock::new(|| (0..PARTITIONS).map(|p| slot(p.to_string().as_bytes())).collect());

/// The slot of a partition's keys.
pub(crate) fn of(partition: u32) -> u16 {
    SLOT_OF[partition as usize]
}

/// The partitions of a slot: usually none, sometimes one or two.
pub(crate) fn partitions(slot: u16) -> impl Iterator<Item = u32> {
    (0..PARTITIONS).filter(move |partition| of(*partition) == slot)
}

/// CRC-16/XMODEM of a tag, as the specification of Redis Cluster defines it.
fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_agree_with_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31C3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(of(7), slot(b"7"));
        for partition in 0..PARTITIONS {
            assert!(partitions(of(partition)).any(|found| found == partition));
        }
    }
}
