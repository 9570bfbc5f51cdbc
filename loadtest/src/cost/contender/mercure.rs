//! The configuration of Mercure: a Caddy with nothing but the hub, nothing logged, as much history as we keep.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::cost::mint::SECRET;

/// The place of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MercureStore {
    /// Nowhere: only open streams get them.
    Nothing,
    /// A file, which each event is flushed to.
    Bolt,
}

/// Writes the configuration and returns the arguments of `env`, which starts `program`.
pub(super) fn arguments(
    program: &Path,
    address: SocketAddr,
    store: MercureStore,
    directory: &Path,
) -> Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let (file, history) = (directory.join("Caddyfile"), directory.join("history.db"));
    // A round begins without the events of the last one.
    if history.exists() {
        std::fs::remove_file(&history)?;
    }
    std::fs::write(&file, caddyfile(address, store, &history))?;
    // Caddy's files, which would be in the home directory.
    let data = format!("XDG_DATA_HOME={}", directory.display());
    let words = [&data, &path(program), "run", "--adapter", "caddyfile", "--config", &path(&file)];
    Ok(words.map(str::to_owned).into())
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn caddyfile(address: SocketAddr, store: MercureStore, history: &Path) -> String {
    let (ip, port) = (address.ip(), address.port());
    let transport = match store {
        MercureStore::Nothing => "transport local".to_owned(),
        MercureStore::Bolt => {
            format!("transport bolt {{\n\t\t\tpath {}\n\t\t\tsize 1000\n\t\t}}", path(history))
        }
    };
    // No stream ends within a run, as with the other servers.
    format!(
        "{{
\tadmin off
\tauto_https off
\tpersist_config off
\tlog {{
\t\tlevel ERROR
\t}}
\tservers {{
\t\tprotocols h1
\t}}
}}
http://:{port} {{
\tbind {ip}
\tmercure {{
\t\tanonymous
\t\tpublisher_jwt \"{SECRET}\"
\t\tsubscriber_jwt \"{SECRET}\"
\t\twrite_timeout 0s
\t\t{transport}
\t}}
}}
"
    )
}
