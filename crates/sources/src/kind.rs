//! The kinds of sources.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::copying::Copying;
use crate::source::{Failure, Source};

/// The settings of a kind, as they stand in the configuration.
pub(crate) trait Settings {
    /// The fields that a topic's template may have.
    fn fields(&self) -> &'static [&'static str];

    /// Checks the settings.
    ///
    /// # Errors
    /// The mistake, with the name of the setting, its value and its limit.
    fn kind(self: Box<Self>, copying: &Copying) -> Result<Arc<dyn Kind>, String>;
}

/// A kind with its settings: makes sources.
#[async_trait]
pub(crate) trait Kind: fmt::Debug + Send + Sync + 'static {
    /// The name of the kind.
    fn name(&self) -> &'static str;

    /// The parts that have an order of their own, as the partitions of Kafka do; `None` if the source has one
    /// order. Asked once a minute, because parts are added.
    ///
    /// # Errors
    /// The source cannot be reached.
    async fn parts(&self) -> Result<Option<u32>, Failure> {
        Ok(None)
    }

    /// Makes the source of a part, or of the whole.
    fn source(&self, part: Option<u32>) -> Box<dyn Source>;
}
