//! The hubs of others: Mercure and Centrifugo, as `scripts/setup peers` builds them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::launch::Site;
use super::mercure::MercureStore;
use super::{Contender, Stack, centrifugo, mercure};
use crate::cost::driver::Dialect;
use crate::cost::mint::{Mint, Rights};
use crate::machine::Pinned;

/// The directory of their programs.
const PROGRAMS: &str = "target/peers/bin";

/// The reason why a contender cannot run here: its program has not been built.
pub(super) fn obstacle(contender: Contender) -> Result<Option<String>> {
    let Some(name) = program_name(contender) else { return Ok(None) };
    let program = program(name)?;
    let missing = || format!("there is no {}; `scripts/setup peers` builds it", program.display());
    Ok((!program.is_file()).then(missing))
}

/// Starts one of them.
pub(super) async fn start(contender: Contender, site: &Site) -> Result<Stack> {
    match contender {
        Contender::CentrifugoRedis => {
            let redis = site.redis().await?;
            let server = start_centrifugo(site, Some(redis.addr())).await?;
            Ok(Stack { redis: Some(redis), ..Stack::one(server, Dialect::Centrifugo) })
        }
        Contender::Centrifugo => {
            Ok(Stack::one(start_centrifugo(site, None).await?, Dialect::Centrifugo))
        }
        Contender::MercureBolt => start_mercure(site, MercureStore::Bolt).await,
        _ => start_mercure(site, MercureStore::Nothing).await,
    }
}

/// Publishers need a token, readers do not.
async fn start_mercure(site: &Site, store: MercureStore) -> Result<Stack> {
    let program = program(MERCURE)?;
    let arguments = |at| mercure::arguments(&program, at, store, &site.directory);
    let server = site.run(MERCURE, Path::new("env"), arguments).await?;
    let mut stack = Stack::one(server, Dialect::Mercure);
    stack.endpoint.publisher = Some(Mint::of_topics(Rights::MercureTopic)?.token(0));
    Ok(stack)
}

async fn start_centrifugo(site: &Site, redis: Option<SocketAddr>) -> Result<Pinned> {
    let arguments = |at| centrifugo::arguments(at, redis, &site.directory);
    site.run(CENTRIFUGO, &program(CENTRIFUGO)?, arguments).await
}

const MERCURE: &str = "mercure";
const CENTRIFUGO: &str = "centrifugo";

const fn program_name(contender: Contender) -> Option<&'static str> {
    match contender {
        Contender::Mercure | Contender::MercureBolt => Some(MERCURE),
        Contender::Centrifugo | Contender::CentrifugoRedis => Some(CENTRIFUGO),
        _ => None,
    }
}

fn program(name: &str) -> Result<PathBuf> {
    Ok(std::path::absolute(PROGRAMS)?.join(name))
}
