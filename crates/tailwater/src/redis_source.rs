//! The way to Redis: its URL, and the files with the password and the certificates, which may change.

use std::future::pending;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use redis_log::{RedisLog, RedisUrl};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::follow::RELOAD_EVERY;
use crate::secret::SecretFile;

/// The URL as it was given, and the files that belong to it.
#[derive(Debug, Clone)]
pub(crate) struct RedisSource {
    // With its password, and so never shown.
    url: Hidden,
    password: Option<SecretFile>,
}

#[derive(Clone)]
struct Hidden(String);

/// The bytes of each file, or nothing for one that cannot be read.
type FileBytes = Vec<Option<Vec<u8>>>;

impl RedisSource {
    pub(crate) fn new(url: &str, password: Option<SecretFile>) -> Self {
        Self { url: Hidden(url.to_owned()), password }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The URL is none of Redis, or a file cannot be used.
    pub(crate) fn read(&self) -> Result<RedisUrl> {
        let url: RedisUrl = self.url.0.parse().context("--redis")?;
        match &self.password {
            Some(file) => url.with_password(file.read()?).context("--redis-password-file"),
            None => Ok(url),
        }
    }

    /// Gives the log what is new in the files. FileBytes that cannot be used, or that Redis refuses, are logged
    /// once and tried again at each look, because Redis may learn a password after its file. Never ends.
    pub(crate) async fn keep_fresh(&self, log: &RedisLog) {
        let files: Vec<PathBuf> = match self.read() {
            Ok(url) => url.files().map(PathBuf::from).collect(),
            Err(_) => Vec::new(),
        };
        let files: Vec<_> =
            self.password.iter().map(|file| file.path().to_owned()).chain(files).collect();
        if files.is_empty() {
            return pending().await;
        }
        let mut used = read_all(files.clone()).await;
        let mut failed = None;
        loop {
            sleep(RELOAD_EVERY).await;
            let now = read_all(files.clone()).await;
            if now == used {
                failed = None;
                continue;
            }
            match self.renew(log).await {
                Ok(is_new) => {
                    if is_new {
                        tracing::info!("credentials of redis replaced");
                    }
                    used = now;
                    failed = None;
                }
                Err(error) => {
                    if failed.as_ref() != Some(&now) {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "new credentials of redis cannot be used"
                        );
                    }
                    failed = Some(now);
                }
            }
        }
    }

    async fn renew(&self, log: &RedisLog) -> Result<bool> {
        let source = self.clone();
        let url = spawn_blocking(move || source.read()).await.context("reading panicked")??;
        Ok(log.renew(&url).await?)
    }
}

async fn read_all(files: Vec<PathBuf>) -> FileBytes {
    let read = move || files.iter().map(|path| std::fs::read(path).ok()).collect();
    spawn_blocking(read).await.expect("reading does not panic")
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
