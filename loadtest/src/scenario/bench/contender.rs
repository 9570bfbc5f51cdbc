//! The servers that are compared, and how each is started.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::driver::Endpoint;
use crate::process::{Pinned, Port};

/// A server that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Contender {
    /// One thread, epoll and send(): what the kernel charges.
    Floor,
    /// `tailwater serve` with the embedded log.
    Tailwater,
    /// Another build of it (`--before`).
    Before,
    /// axum's Sse with tokio's broadcast.
    Naive,
    /// nginx with nchan (Debian: nginx, libnginx-mod-nchan).
    Nchan,
}

/// The programs that contenders are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) tailwater: PathBuf,
    pub(super) before: Option<PathBuf>,
    pub(super) core: usize,
    pub(super) directory: PathBuf,
}

impl Contender {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tailwater => "tailwater",
            Self::Before => "before",
            Self::Naive => "naive",
            Self::Nchan => "nchan",
        }
    }

    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Tailwater | Self::Before)
    }

    /// Where it takes and gives events.
    pub(super) fn endpoint(self, address: SocketAddr) -> Endpoint {
        let (publish, subscribe) = match self {
            Self::Nchan => ("/pub?topic=bench", "/sub?topic=bench"),
            _ => ("/v1/events?topic=bench", "/v1/events?topic=bench"),
        };
        Endpoint { address, subscribe: subscribe.to_owned(), publish: publish.to_owned() }
    }

    pub(super) async fn start(self, programs: &Programs) -> Result<Pinned> {
        let directory = programs.directory.join(self.name());
        let start =
            async |program: &Path, arguments: fn(SocketAddr, &Path) -> Result<Vec<String>>| {
                let make = |address| arguments(address, &directory);
                Pinned::start(self.name(), programs.core, program, &directory, make).await
            };
        match self {
            Self::Floor | Self::Naive => {
                let program = std::env::current_exe()?;
                let arguments = match self {
                    Self::Floor => |at, _: &Path| Ok(reference("floor", at)),
                    _ => |at, _: &Path| Ok(reference("naive", at)),
                };
                start(&program, arguments).await
            }
            Self::Tailwater => start(&programs.tailwater, serve).await,
            Self::Before => {
                let program = programs.before.as_deref().context("--before is not given")?;
                start(program, serve).await
            }
            Self::Nchan => start(Path::new("/usr/sbin/nginx"), nginx).await,
        }
    }
}

fn reference(name: &str, address: SocketAddr) -> Vec<String> {
    ["reference", name, "--listen", &address.to_string()].map(str::to_owned).to_vec()
}

fn serve(address: SocketAddr, _: &Path) -> Result<Vec<String>> {
    // Only a number: the lock ends here, and the program listens at once.
    let admin = Port::reserve()?.addr().to_string();
    let address = address.to_string();
    let words = ["serve", "--listen", &address, "--admin-listen", &admin, "--node", "bench"];
    // As many as Docker and many systems let a process open, less its own files.
    let limits = ["--max-connections", "19900"];
    Ok(words.into_iter().chain(limits).map(str::to_owned).collect())
}

fn nginx(address: SocketAddr, directory: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let place = directory.display();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; user root; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; }}
http {{
    access_log off; client_body_temp_path {place}/body; keepalive_requests 100000000;
    nchan_shared_memory_size 256M;
    proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    server {{
        listen {address} backlog=4096;
        location = /pub {{
            nchan_publisher; nchan_channel_id $arg_topic;
            nchan_message_buffer_length 1000; nchan_message_timeout 10m;
        }}
        location = /sub {{
            nchan_subscriber eventsource; nchan_channel_id $arg_topic;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config)?;
    Ok(vec!["-c".to_owned(), path.display().to_string()])
}
