//! `tailwater spaces`: the spaces on which the nodes of a cluster agree.

use anyhow::{Context as _, Result};
use event_log::Spaces;

use crate::args::SpacesArgs;
use crate::{client, topics};

/// Runs the command.
pub(crate) fn run(args: SpacesArgs) -> Result<()> {
    client::run(show(args))
}

async fn show(args: SpacesArgs) -> Result<()> {
    let log = topics::open(&args.store).await?;
    if args.clear || !args.set.is_empty() {
        let spaces = Spaces::new(args.set.iter().map(String::as_str)).context("--set")?;
        log.set_spaces(&spaces).await?;
    }
    let spaces = log.stored_spaces().await?.unwrap_or_default();
    match spaces.is_empty() {
        true => println!("no spaces"),
        false => spaces.prefixes().for_each(|prefix| println!("{prefix}")),
    }
    Ok(())
}
