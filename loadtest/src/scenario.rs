//! The scenarios, a file each. Each takes its options and returns the report of its run.

pub mod bench;
pub mod chaos;
pub mod copies;
pub mod drain;
pub mod failover;
pub mod hold;
pub mod intake;
pub mod interop;
pub mod lb;
pub mod mixed;
mod outcome;
pub mod presence;
pub mod relay;
mod rounds;
pub mod siege;
pub mod skew;
pub mod soak;
pub mod sources;
mod stage;
pub mod storm;
pub mod styles;
pub mod vanish;
pub mod watch;
pub mod wire;

use std::path::PathBuf;

/// The options of every scenario.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// The program under test [default: `tailwater` beside this program].
    #[arg(long, value_name = "PATH")]
    pub tailwater: Option<PathBuf>,

    /// Directory for the report, the logs and the data of Redis [default: out/SCENARIO].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Seed of the random choices, such as the topic of a client; repeats those of an earlier run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Common {
    /// The directory of this scenario's files.
    pub fn directory(&self, scenario: &str) -> PathBuf {
        let default = || PathBuf::from("out").join(scenario);
        self.out.clone().unwrap_or_else(default)
    }
}
