//! Real clients of other projects under the faults of a cluster.

mod fault;
mod feed;
mod front;
mod manifest;
mod matrix;
mod program;
mod rig;
mod score;
mod trial;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::Common;
use crate::machine::cluster::find_tailwater;
use crate::report::Sheet;
use crate::report::progress::Progress;

pub use fault::ClusterFault;
use manifest::Manifest;
use matrix::MatrixRow;
use rig::Rig;
use trial::{Candidate, Places};

const NAME: &str = "interop";

/// Breaks the cluster under clients of other projects, and counts the events that each loses.
///
/// Three gateways on Redis, behind HAProxy with the configuration of deploy/haproxy. Each client is a
/// program that prints the data of every message that it is handed. interop/setup installs them.
///
/// Exit code 0 only if each client loses no event, gets none twice or out of order, is handed nothing
/// else, stops at the end of its topic and sends at most 5 requests a second, with the settings that its
/// page advises; else 1. Clients for which no settings do this say so in interop/clients.json.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,

    /// The clients.
    #[arg(long, value_name = "FILE", default_value = "interop/clients.json")]
    pub manifest: PathBuf,

    /// The directory in which interop/setup has installed the clients.
    #[arg(long, value_name = "DIR", default_value = "target/interop")]
    pub clients: PathBuf,

    /// The page whose table is written, if all clients and faults run.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,

    /// Some clients, a kill and the end of a topic.
    #[arg(long)]
    pub quick: bool,

    /// Clients whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,

    /// These faults alone.
    #[arg(long, value_enum)]
    pub fault: Vec<ClusterFault>,

    /// Clients that run at the same time.
    #[arg(long, default_value_t = 24)]
    pub together: usize,
}

/// Runs the matrix, writes the report and prints the table.
///
/// # Errors
/// When a client is not installed, or a process does not start.
pub async fn run(options: &Options) -> Result<Sheet> {
    ensure!(options.together > 0, "no client could run");
    let progress = Progress::new();
    let program = find_tailwater(options.common.tailwater.as_deref())?;
    let manifest = Manifest::read(&options.manifest)?;
    let clients = std::path::absolute(&options.clients)?;
    let versions = matrix::read_versions(&clients)?;
    let directory = std::path::absolute(options.common.directory(NAME))?;
    let logs = directory.join("clients");
    let faults = options.faults();
    let candidates = options.candidates(&manifest);
    ensure!(!candidates.is_empty(), "no client has such a name");

    let mut rig = Rig::start(&program, &directory).await?;
    std::fs::create_dir_all(&logs)?;
    let places = Places { clients: &clients, logs: &logs };
    let mut rows = Vec::new();
    for batch in candidates.chunks(options.together) {
        let mut scores = vec![Vec::new(); batch.len()];
        for fault in &faults {
            progress.say(&format!("{} under {} clients", fault.as_str(), batch.len()));
            let judged = trial::run(&mut rig, &manifest, batch, *fault, &places).await?;
            for ((scores, score), candidate) in scores.iter_mut().zip(judged).zip(batch) {
                if !score.is_perfect() {
                    progress.say(&format!("  {candidate}: {}", score.in_full()));
                }
                scores.push((*fault, score));
            }
        }
        let batch = batch.iter().zip(scores);
        rows.extend(batch.map(|(candidate, scores)| MatrixRow { candidate: *candidate, scores }));
    }
    let sheet = matrix::sheet(&rows, &faults, &versions);
    sheet.write(&directory)?;
    if let Some(page) = &options.page {
        matrix::write_page(page, &rows, &faults, &versions)?;
    }
    Ok(sheet)
}

impl Options {
    fn faults(&self) -> Vec<ClusterFault> {
        match &self.fault[..] {
            [] if self.quick => ClusterFault::QUICK.to_vec(),
            [] => ClusterFault::ALL.to_vec(),
            faults => faults.to_vec(),
        }
    }

    fn candidates<'a>(&self, manifest: &'a Manifest) -> Vec<Candidate<'a>> {
        let is_named = |name: &str| {
            self.only.is_empty() || self.only.iter().any(|text| name.contains(&**text))
        };
        let clients = manifest.clients.iter();
        let clients =
            clients.filter(|client| is_named(&client.name) && (client.quick || !self.quick));
        let candidates = clients.flat_map(|client| {
            client.variants().map(move |(kind, variant)| Candidate { client, kind, variant })
        });
        candidates.collect()
    }
}
