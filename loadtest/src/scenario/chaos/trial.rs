//! One scenario on one server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::catalogue::ChaosScenario;
use super::row;
use crate::lab::{Lab, Server};
use crate::proof::history::Tampering;
use crate::report::SheetRow;

/// The time limit for reading all topics at the end.
const READ_BACK_MAX: Duration = Duration::from_secs(2);

/// The scenario and the server.
pub(super) struct ChaosTrial<'a> {
    pub(super) scenario: &'a ChaosScenario,
    pub(super) server: &'a Server,
    pub(super) tailwater: &'a Path,
    pub(super) directory: PathBuf,
    /// The gateways read from replicas.
    pub(super) reads_replicas: bool,
    pub(super) seed: u64,
    pub(super) sabotage: Tampering,
}

impl ChaosTrial<'_> {
    /// Runs it. A trial that cannot run is a failure too.
    pub(super) async fn run(&self) -> SheetRow {
        match self.try_run().await {
            Ok(row) => row,
            Err(error) => row::could_not_run(self, &error),
        }
    }

    async fn try_run(&self) -> Result<SheetRow> {
        let setup = self.scenario.setup(self.server, self.tailwater, self.reads_replicas);
        let mut lab = Box::pin(Lab::start(setup, self.directory.clone(), self.seed)).await?;
        lab.publish();
        lab.run_for(1.0, 2.0).await;
        lab.crowd.travel(true);
        lab.run_for(0.2, 0.6).await;
        (self.scenario.fault)(&mut lab).await?;
        lab.run_for(0.5, 1.0).await;
        lab.crowd.travel(false);
        lab.run_for(1.0, 1.5).await;
        lab.stop_publishing().await?;
        lab.settle().await;
        // For duplicates that come late.
        lab.run_for(0.5, 0.5).await;
        lab.dismiss().await;
        let begin = tokio::time::Instant::now();
        lab.read_back().await?;
        if begin.elapsed() > READ_BACK_MAX {
            lab.note(format!("reading back took {:.1?}", begin.elapsed()));
        }
        lab.crowd.books().history.tamper(self.sabotage);
        Ok(row::row(self, &lab))
    }
}
