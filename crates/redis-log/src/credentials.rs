//! The logins and certificates of a node at its servers. They may change while the log is open.

use std::fmt;

use crate::tls::Tls;

/// The user and the password of a login.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Everything that a connection shows to a server, and demands from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// At the servers that hold the log.
    pub(crate) login: Login,
    /// At the sentinels.
    pub(crate) sentinels: Login,
    pub(crate) tls: Option<Tls>,
}
