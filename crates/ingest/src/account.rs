//! Charges the bytes of one publisher to the memory budget of the node.

use std::sync::Arc;

use limits::{Client, Full, Held, Quota};

/// The bytes that one request holds, as the budget counts them: in steps, so that a body that grows takes
/// the budget's lock rarely.
#[derive(Debug)]
pub(crate) struct Account {
    memory: Arc<Quota>,
    client: Client,
    held: Option<Held>,
}

/// Bytes that a request may hold without a charge if it does not wait for its publisher meanwhile. The
/// number of requests bounds them.
pub(crate) const FREE_BYTES: usize = 16 * 1024;
/// The smallest charge, in bytes. It doubles up to [`STEP_BYTES`].
const STEP_BYTES_MIN: usize = 16 * 1024;
/// The step in which a greater charge grows and shrinks, in bytes.
const STEP_BYTES: usize = 64 * 1024;

impl Account {
    pub(crate) const fn new(memory: Arc<Quota>, client: Client) -> Self {
        Self { memory, client, held: None }
    }

    /// Charges so many bytes instead of those that were charged before.
    ///
    /// # Errors
    /// The budget has no room. The charge stays as it was.
    pub(crate) fn hold(&mut self, bytes: usize) -> Result<(), Full> {
        let charge = charge(bytes);
        match &mut self.held {
            Some(_) if charge == 0 => self.held = None,
            Some(held) if held.amount() == charge => {}
            Some(held) => held.resize(charge)?,
            None if charge == 0 => {}
            None => self.held = Some(self.memory.take(self.client, charge)?),
        }
        Ok(())
    }
}

fn charge(bytes: usize) -> u64 {
    let charge = match bytes {
        0 => 0,
        1..=STEP_BYTES => bytes.next_power_of_two().max(STEP_BYTES_MIN),
        _ => bytes.saturating_add(STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES,
    };
    charge as u64
}

#[cfg(test)]
mod tests {
    use limits::{AddressShare, Terms};
    use metrics::Registry;

    use super::*;

    #[test]
    fn a_charge_goes_in_steps_and_is_never_less_than_the_bytes() {
        let steps = [0, 1, 16_384, 16_385, 40_000, 65_536, 65_537, 200_000].map(charge);
        assert_eq!(steps, [0, 16_384, 16_384, 32_768, 65_536, 65_536, 131_072, 262_144]);
        assert!(charge(usize::MAX) > 0);
    }

    #[test]
    fn a_refused_charge_leaves_the_one_before_and_a_drop_gives_all_back() {
        let terms = Terms::new("memory", "bytes", 100_000, AddressShare::ALL);
        let memory = Quota::new(terms, &Registry::new());
        let mut account = Account::new(Arc::clone(&memory), Client::TRUSTED);
        account.hold(20_000).unwrap();
        assert_eq!(memory.used(), 32_768);
        assert_eq!(account.hold(70_000).unwrap_err().max, 100_000);
        assert_eq!(memory.used(), 32_768);
        account.hold(0).unwrap();
        assert_eq!(memory.used(), 0);
        account.hold(1).unwrap();
        drop(account);
        assert_eq!(memory.used(), 0);
    }
}
