//! Appending and reading: one order, numbers without holes.

use super::{Lab, topic};
use crate::{Append, NewEvent};

pub(super) async fn numbers_are_dense_and_positions_rise(lab: &dyn Lab) {
    let topic = topic("dense");
    let log = lab.log();
    let mut last = None;
    for n in 1..=50 {
        let append = Append { topic: topic.clone(), event: NewEvent::default(), key: None };
        let receipts = log.append(vec![append]).await;
        let [Ok(receipt)] = receipts[..] else { panic!("{receipts:?}") };
        assert_eq!(receipt.position.n, n);
        assert!(Some(receipt.position) > last);
        last = Some(receipt.position);
    }
}
