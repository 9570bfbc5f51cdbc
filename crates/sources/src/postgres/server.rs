//! The address of a server, and the means to be let in.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use url::Url;

use crate::{secret, tls};

/// A server, a database and a user.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
    pub(crate) password_file: Option<PathBuf>,
    pub(crate) tls: Tls,
    pub(crate) ca_file: Option<PathBuf>,
}

/// The rule about encryption. A certificate is checked whenever there is one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tls {
    /// A server without TLS is refused.
    #[default]
    Require,
    /// A server without TLS is taken without.
    Prefer,
    /// TLS is not asked for.
    Off,
}

/// The port of Postgres.
const PORT: u16 = 5432;

impl Server {
    /// Reads `postgres://user@host:port/database`.
    ///
    /// # Errors
    /// The text is no such URL, or has a password or parameters.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("it is no URL: {error}"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(format!("its scheme is {}; it must be postgres", url.scheme()));
        }
        if url.password().is_some() {
            return Err("it has a password; put the password into a file, and its path into \
                        password-file"
                .to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it has parameters; tls, ca-file and password-file are settings".to_owned());
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = decode(url.username());
        let host = url.host_str().unwrap_or_default();
        let host = decode(host.trim_start_matches('[').trim_end_matches(']'));
        let database = decode(url.path().trim_start_matches('/'));
        for (part, name) in [(&user, "user"), (&host, "host"), (&database, "database")] {
            if part.is_empty() || part.contains('\0') {
                return Err(format!("it has no {name}; it must be postgres://user@host/database"));
            }
        }
        let port = url.port().unwrap_or(PORT);
        let (password_file, ca_file, tls) = (None, None, Tls::default());
        Ok(Self { host, port, user, database, password_file, tls, ca_file })
    }

    /// Reads the password; `None` if there is no file for it.
    ///
    /// # Errors
    /// The file cannot be read, or is too long.
    pub(crate) async fn password(&self) -> Result<Option<Vec<u8>>, String> {
        let Some(file) = self.password_file.clone() else { return Ok(None) };
        let read = spawn_blocking(move || secret::read("password-file", &file)).await;
        Ok(Some(read.map_err(|error| error.to_string())??.into_bytes()))
    }

    /// The name that the certificate must have, and the rules for checking it.
    ///
    /// # Errors
    /// There is no authority to check it with.
    pub(crate) async fn certificates(
        &self,
    ) -> Result<(ServerName<'static>, Arc<ClientConfig>), String> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|error| format!("{}: {error}", self.host))?;
        let ca_file = self.ca_file.clone();
        let config = spawn_blocking(move || tls::client(ca_file.as_deref())).await;
        Ok((name, Arc::new(config.map_err(|error| error.to_string())??)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_server_user_and_database() {
        let server = Server::parse("postgres://re%40lay@db.example.com/shop").unwrap();
        assert_eq!((&*server.user, &*server.host, server.port), ("re@lay", "db.example.com", 5432));
        let server = Server::parse("postgresql://relay@[::1]:5433/shop").unwrap();
        assert_eq!((&*server.host, server.port, &*server.database), ("::1", 5433, "shop"));
        for (url, reason) in [
            ("db.example.com", "it is no URL"),
            ("mysql://u@h/d", "its scheme is mysql"),
            ("postgres://u:p@h/d", "put the password into a file"),
            ("postgres://u@h/d?sslmode=require", "are settings"),
            ("postgres://h/d", "it has no user"),
            ("postgres://u@h", "it has no database"),
        ] {
            let error = Server::parse(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut server = Server::parse("postgres://u@h/d").unwrap();
        assert_eq!(server.password().await, Ok(None));
        let file = dir.path().join("password");
        server.password_file = Some(file.clone());
        assert!(server.password().await.unwrap_err().contains("password: No such file"));
        std::fs::write(&file, "geheim \n").unwrap();
        assert_eq!(server.password().await, Ok(Some(b"geheim ".to_vec())));
        std::fs::write(&file, "x".repeat(70_000)).unwrap();
        assert!(server.password().await.unwrap_err().contains("70000 bytes; the limit is 65536"));
    }
}
