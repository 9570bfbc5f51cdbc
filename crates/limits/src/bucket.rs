//! A token bucket.

use tokio::time::Instant;

/// Tokens that come at a rate, up to a burst. It may be in debt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Tokens a second, and the most that are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Tokens that come in a second; above 0.
    pub per_second: f64,
    /// Tokens that are kept at most.
    pub burst: f64,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Instant) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Returns the tokens at this time; fewer than 0 are a debt.
    pub(crate) fn tokens(&mut self, rate: Rate, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate.per_second).min(rate.burst);
        self.filled = now;
        self.tokens
    }

    /// Takes tokens, even such as are not there; a negative amount gives back.
    pub(crate) fn spend(&mut self, amount: f64) {
        self.tokens -= amount;
    }
}
