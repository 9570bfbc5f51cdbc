//! The fault lab: everything that can go wrong with Redis and around it, caused on purpose.

mod catalogue;
mod fault;
mod row;
mod trial;

use std::path::PathBuf;

use anyhow::{Result, bail};

use self::catalogue::{ChaosScenario, SCENARIOS};
use super::Common;
use crate::lab::Server;
use crate::machine::cluster::find_tailwater;
use crate::proof::history::Tampering;
use crate::report::Sheet;
use crate::report::progress::Progress;

const NAME: &str = "chaos";

/// Causes faults, one a scenario, and proves that no acknowledged event is lost in silence.
///
/// Each scenario starts its own Redis (or Valkey), three gateways and an ingest, with a proxy
/// between each of them and Redis. Publishers send 500 events a second to 20 topics and repeat each
/// under the same Idempotency-Key until it is acknowledged; 200 subscribers read from the gateways,
/// some of them away during the fault. Six more topics share a log, with 120 events a second and 50 subscribers of a topic,
/// of several, of patterns and of all. The fault strikes at a moment and at a victim that the seed
/// chooses, and is then repaired. At the end every acknowledged event must have reached every
/// subscriber once and in order, or lie in a gap that the subscriber was told of. Events of such a
/// gap must be gone from the log. No stream may have ended for another reason than the fault.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,

    /// Scenarios to run, by name [default: all].
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    scenario: Vec<String>,

    /// Runs only the quick scenarios.
    #[arg(long, conflicts_with = "scenario")]
    quick: bool,

    /// `redis` (redis-server in the PATH), `valkey` (installed by scripts/setup-valkey), or a path.
    #[arg(long, value_name = "NAME|PATH", num_args = 1.., value_delimiter = ',', default_value = "redis")]
    server: Vec<String>,

    /// Servers that the gateways read from; replicas only where there are sentinels or a cluster.
    #[arg(long, value_enum, num_args = 1.., value_delimiter = ',', default_values_t = [ReadFrom::Primary, ReadFrom::Replica])]
    read_from: Vec<ReadFrom>,

    /// Lists the scenarios and exits.
    #[arg(long)]
    list: bool,

    /// Falsifies the deliveries of subscribers, to prove that the judgement notices: the run must
    /// fail.
    #[arg(long, value_enum, default_value_t)]
    sabotage: Tampering,
}

/// The servers that the gateways read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ReadFrom {
    Primary,
    Replica,
}

impl Options {
    /// Returns true if the run only lists the scenarios.
    pub fn is_list(&self) -> bool {
        self.list
    }

    fn scenarios(&self) -> Result<Vec<&'static ChaosScenario>> {
        if self.scenario.is_empty() {
            return Ok(SCENARIOS.iter().filter(|scenario| scenario.quick || !self.quick).collect());
        }
        let find = |name: &String| match SCENARIOS.iter().find(|s| s.name == name) {
            Some(scenario) => Ok(scenario),
            None => bail!("there is no scenario {name}; --list shows them"),
        };
        self.scenario.iter().map(find).collect()
    }
}

/// Runs the scenarios, writes the report and prints the table. Returns the failures.
///
/// # Errors
/// When there is no such scenario or server.
pub async fn run(options: &Options) -> Result<Vec<String>> {
    if options.list {
        Progress::new().say(catalogue::list().trim_end());
        return Ok(Vec::new());
    }
    let scenarios = options.scenarios()?;
    let servers: Vec<Server> =
        options.server.iter().map(|name| Server::find(name)).collect::<Result<_>>()?;
    let tailwater = find_tailwater(options.common.tailwater.as_deref())?;
    let directory: PathBuf = std::path::absolute(options.common.directory(NAME))?;
    let progress = Progress::new();
    let mut sheet = Sheet {
        title: NAME.to_owned(),
        summary: format!("Faults caused on purpose, one a scenario; seed {}.", options.common.seed),
        columns: row::COLUMNS.map(str::to_owned).to_vec(),
        rows: Vec::new(),
    };
    for server in &servers {
        let trials = scenarios.iter().flat_map(|s| options.read_from.iter().map(move |r| (s, *r)));
        for (scenario, read_from) in trials {
            let reads_replicas = read_from == ReadFrom::Replica;
            if !scenario.runs_on(server) || reads_replicas && !scenario.has_sources() {
                continue;
            }
            let name = if reads_replicas { "-read-replica" } else { "" };
            let name = format!("{}{name}", scenario.name);
            let trial = trial::ChaosTrial {
                scenario,
                server,
                tailwater: &tailwater,
                directory: directory.join(server.version.replace(' ', "-")).join(&name),
                reads_replicas,
                seed: options.common.seed,
                sabotage: options.sabotage,
            };
            let row = trial.run().await;
            let sign = if row.failures.is_empty() { "ok    " } else { "FAILED" };
            let failures = row.failures.join("; ");
            progress.say(&format!("{sign} {:<14} {name:<38} {failures}", server.version));
            for note in &row.notes {
                progress.say(&format!("       {note}"));
            }
            sheet.rows.push(row);
            sheet.write(&directory)?;
        }
    }
    progress.report(&sheet.table(), &directory);
    Ok(sheet.failures())
}
