//! The load balancers that Debian and PyPI have, each with its defaults and with our recipe.

mod bare;
mod body;
mod crowd;
mod death;
mod installation;
mod leave;
mod life;
mod loopback;
mod page;
mod product;
mod trial;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Semaphore;

use self::installation::Workshop;
use self::loopback::Ports;
use self::product::{Form, Product};
use self::trial::{LbTrial, Measured};
use super::Common;
use crate::machine::Redis;
use crate::machine::cluster::find_tailwater;
use crate::report::Sheet;
use crate::report::progress::Progress;

const NAME: &str = "lb";

/// Runs every installed load balancer, with its defaults and with our recipe, in front of two gateways.
///
/// Measures quiet streams, the delay of an event, endless bodies, many streams at once, clients that leave,
/// a killed gateway, and streams without our headers. All of them run side by side. scripts/setup lb installs them;
/// one that is not installed is left out, and keeps its rows of the page.
///
/// Exit code 0 only if each recipe that docs/load-balancers.md calls fit keeps its streams; else 1.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The options of every scenario.
    #[command(flatten)]
    pub common: Common,

    /// The directory of the configurations.
    #[arg(long, value_name = "DIR", default_value = "deploy/lb")]
    pub files: PathBuf,

    /// The directory in which scripts/setup has unpacked the programs of PyPI.
    #[arg(long, value_name = "DIR", default_value = "target/lb")]
    pub wheels: PathBuf,

    /// The page whose tables are written.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,

    /// Load balancers whose names contain this text.
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,

    /// The time for which streams and bodies are held.
    #[arg(long = "for", value_name = "TIME", default_value = "330s", value_parser = humantime::parse_duration)]
    pub hold: Duration,

    /// The streams that are opened at once.
    #[arg(long, default_value_t = 1200)]
    pub streams: usize,
}

/// Runs all load balancers, writes the report and prints the table.
///
/// # Errors
/// When none is installed, or a gateway or Redis does not start.
pub async fn run(options: &Options) -> Result<Sheet> {
    let progress = Progress::new();
    let tailwater = find_tailwater(options.common.tailwater.as_deref())?;
    let out = std::path::absolute(options.common.directory(NAME))?;
    let wheels = std::path::absolute(&options.wheels)?;
    let files = std::path::absolute(&options.files)?;
    let installed = options.installed(&wheels, &progress);
    ensure!(!installed.is_empty(), "no load balancer is installed: run scripts/setup lb");
    let redis = Redis::builder().start().await?;
    let ports = Ports::reserve()?;
    let workshop = Workshop { tailwater: &tailwater, redis: &redis, files: &files, out: &out };
    let trial = LbTrial {
        workshop,
        ports: &ports,
        hold: options.hold,
        streams: options.streams,
        progress: &progress,
        turn: Arc::new(Semaphore::new(1)),
    };
    let mut trials = Vec::new();
    for (product, program) in &installed {
        let version = product.version(program)?;
        for form in Form::BOTH {
            let number = u8::try_from(trials.len() * 2).context("too many load balancers")?;
            trials.push(trial.run(number, product, form, program.clone(), version.clone()));
        }
    }
    let measured: Vec<Measured> = futures_util::future::join_all(trials).await;
    let sheet = page::sheet(&measured, options.streams);
    sheet.write(&out)?;
    if let Some(path) = &options.page {
        page::write(path, &measured, options.streams)?;
    }
    Ok(sheet)
}

impl Options {
    fn installed(&self, wheels: &Path, progress: &Progress) -> Vec<(&'static Product, PathBuf)> {
        let is_named = |product: &&Product| {
            let title = product.title.to_lowercase();
            self.only.is_empty()
                || self.only.iter().any(|text| title.contains(&text.to_lowercase()))
        };
        let found = |product: &'static Product| {
            let program = product.find(wheels);
            if program.is_none() {
                progress.say(&format!("{} is not installed and left out", product.title));
            }
            Some((product, program?))
        };
        product::ALL.iter().filter(is_named).filter_map(found).collect()
    }
}
