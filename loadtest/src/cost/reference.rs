//! Servers that Tailwater is measured against, or with, which the bench runs as processes. Not for use.

mod floor;
mod naive;
mod upstream;
mod websocket;

use std::net::SocketAddr;

use anyhow::Result;
use clap::ValueEnum;

/// A reference server and its address.
#[derive(Clone, Debug, clap::Args)]
pub struct Reference {
    #[arg(value_enum)]
    server: ReferenceServer,

    #[arg(long)]
    listen: SocketAddr,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReferenceServer {
    Floor,
    Naive,
    Upstream,
    Websocket,
}

impl Reference {
    /// Serves until it is killed.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn serve(&self) -> Result<Vec<String>> {
        match self.server {
            ReferenceServer::Floor => floor::run(self.listen)?,
            ReferenceServer::Naive => naive::serve(self.listen).await?,
            ReferenceServer::Upstream => upstream::serve(self.listen).await?,
            ReferenceServer::Websocket => websocket::serve(self.listen).await?,
        }
        Ok(Vec::new())
    }
}
