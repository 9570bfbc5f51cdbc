//! The sources of rights of a running node: files and key servers, each of which may change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use access::{
    Access, Issuer, Key, KeyRing, KeyServer, KeySource, Machines, Rights, Settings, TicketKeys,
    Tickets, Tokens,
};
use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use metrics::Registry;

use crate::config::{AccessConfig, ClosedConfig, key_file};
use crate::follow::follow;
use crate::jwks::Https;
use crate::secret::TextFile;

/// The decisions of a node, and everything that they are made from.
#[derive(Debug)]
pub(crate) struct AccessSources {
    pub(crate) access: Access,
    everybody: Arc<Rights>,
    rings: Vec<(Vec<PathBuf>, Arc<KeyRing>)>,
    servers: Vec<Arc<KeyServer>>,
    machines: Option<TextFile>,
    ticket_keys: Option<TextFile>,
}

impl AccessSources {
    /// Reads the files. Fetches nothing yet.
    pub(crate) fn open(config: AccessConfig, registry: &Registry) -> Result<Self> {
        match config {
            AccessConfig::Open => Ok(Self {
                access: Access::open(registry),
                everybody: Arc::default(),
                rings: Vec::new(),
                servers: Vec::new(),
                machines: None,
                ticket_keys: None,
            }),
            AccessConfig::Closed(closed) => Self::closed(*closed, registry),
        }
    }

    fn closed(config: ClosedConfig, registry: &Registry) -> Result<Self> {
        let ClosedConfig { everybody, plans, machines, ticket_keys, is_alone, cookie } = config;
        let everybody = Arc::new(everybody);
        let (mut rings, mut issuers) = (Vec::new(), Vec::new());
        let mut servers: Vec<Arc<KeyServer>> = Vec::new();
        let fetches = KeyServer::counters(registry);
        // Only a node that has key servers needs the certificates of the system.
        let https = plans.iter().any(|plan| plan.jwks.is_some()).then(Https::new).transpose()?;
        let https = https.map(Arc::new);
        for plan in plans {
            let ring = Arc::new(KeyRing::new(read_keys(&plan.files)?));
            rings.push((plan.files, Arc::clone(&ring)));
            let server = plan.jwks.zip(https.clone()).map(|(url, https)| {
                // Issuers may share a set: all projects of Firebase do.
                let known = servers.iter().find(|server| server.url() == url).cloned();
                known.unwrap_or_else(|| {
                    let server = KeyServer::new(&url, https, fetches.clone());
                    servers.push(Arc::clone(&server));
                    server
                })
            });
            let server = server.map(|server| server as Arc<dyn KeySource>);
            issuers.push(Issuer { files: ring, server, ..plan.issuer });
        }
        let read = |file: &TextFile| file.read();
        let tickets = match &ticket_keys {
            Some(file) => Some(TicketKeys::parse(&read(file)?).with_context(|| file.to_string())?),
            None => is_alone.then(TicketKeys::random),
        };
        let settings = Settings {
            tokens: Tokens::new(issuers, Arc::clone(&everybody), registry),
            machines: match &machines {
                Some(file) => {
                    Machines::parse(&read(file)?, &everybody).with_context(|| file.to_string())?
                }
                None => Machines::default(),
            },
            tickets: tickets.map(|keys| Tickets::new(keys, Arc::clone(&everybody))),
            everybody: Arc::clone(&everybody),
            cookie: cookie.into(),
        };
        let access = Access::closed(settings, registry);
        register_age(&servers, registry);
        Ok(Self { access, everybody, rings, servers, machines, ticket_keys })
    }

    /// Keeps the keys fresh: reads files that change, and fetches sets that are due. Never ends.
    pub(crate) async fn keep_fresh(&self) {
        let servers = join_all(self.servers.iter().map(|server| server.keep_fresh()));
        let rings = join_all(self.rings.iter().map(|(files, ring)| keep_keys(files, ring)));
        tokio::join!(servers, rings, self.keep_machines(), self.keep_tickets());
        std::future::pending::<()>().await;
    }

    async fn keep_machines(&self) {
        let Some(file) = &self.machines else { return };
        follow_text(file, |text| {
            let machines = self.access.machines();
            machines.replace(text, &self.everybody)?;
            tracing::info!(tokens = machines.len(), "tokens of machines replaced");
            Ok(())
        })
        .await;
    }

    async fn keep_tickets(&self) {
        let (Some(file), Some(tickets)) = (&self.ticket_keys, self.access.tickets()) else {
            return;
        };
        follow_text(file, |text| {
            tickets.replace(TicketKeys::parse(text)?);
            tracing::info!("keys of tickets replaced");
            Ok(())
        })
        .await;
    }
}

/// Reads all keys of an issuer's files.
pub(crate) fn read_keys(files: &[PathBuf]) -> Result<Vec<Key>> {
    let all = files.iter().map(|path| keys_of(path, &key_file(path).read()?));
    Ok(all.collect::<Result<Vec<_>>>()?.concat())
}

/// The keys of a file with this text. Logs those that are left out.
fn keys_of(path: &Path, text: &str) -> Result<Vec<Key>> {
    let (keys, skipped) = Key::read_file(text).with_context(|| key_file(path).to_string())?;
    for reason in skipped {
        tracing::warn!(file = %path.display(), reason, "a key needs attention");
    }
    Ok(keys)
}

async fn keep_keys(files: &[PathBuf], ring: &KeyRing) {
    if files.is_empty() {
        return;
    }
    let read = {
        let files = files.to_vec();
        move || -> Vec<Option<String>> {
            files.iter().map(|path| key_file(path).read().ok()).collect()
        }
    };
    follow(read(), read, |texts| {
        let keys = files.iter().zip(texts).map(|(path, text)| {
            let gone = || format!("{} cannot be read", key_file(path));
            keys_of(path, text.as_deref().with_context(gone)?)
        });
        match keys.collect::<Result<Vec<_>>>() {
            Ok(keys) => {
                let keys = keys.concat();
                tracing::info!(keys = keys.len(), "keys of tokens replaced");
                ring.replace(keys);
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "keys of tokens not replaced");
            }
        }
    })
    .await;
}

/// Follows a file. A text that cannot be used leaves everything as it was.
async fn follow_text(file: &TextFile, mut changed: impl FnMut(&str) -> Result<()>) {
    let read = {
        let file = file.clone();
        move || file.read().ok()
    };
    follow(read(), read, |text| {
        let outcome = text.as_deref().context("it cannot be read").and_then(&mut changed);
        if let Err(error) = outcome {
            tracing::error!(%file, error = format!("{error:#}"), "a changed file is not used");
        }
    })
    .await;
}

fn register_age(servers: &[Arc<KeyServer>], registry: &Registry) {
    let servers = servers.to_vec();
    registry.gauge_fn(
        "auth_key_set_age_seconds",
        "Time since the oldest key set was loaded; infinite until each was loaded once.",
        move || {
            let ages = servers.iter().map(|server| server.age());
            let seconds = ages.map(|age| age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
            seconds.fold(0.0, f64::max)
        },
    );
}

impl AccessSources {
    /// A hint for a person whose token was refused; empty if there is none.
    pub(crate) fn hint(&self, token: &str) -> String {
        self.access.tokens().hint(token).map(|hint| format!("; {hint}")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
