//! The scripts of the log, by which Redis does in one step what no single command does.

use std::sync::LazyLock;

use redis::{Cmd, ErrorKind, Pipeline, RedisError, Script, ServerErrorKind};

/// Appends events, and raises heads.
pub(crate) static PUBLISH: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("publish.lua")));
/// Tells the positions of events.
pub(crate) static POSITIONS: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("positions.lua")));
/// Reads events up to a weight.
pub(crate) static PAGE: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("page.lua")));

/// Counts places of subjects on all nodes.
pub(crate) static LEASES: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("leases.lua")));
/// Records the members of topics on all nodes.
pub(crate) static PRESENCE: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("presence.lua")));
/// Looks at the members of a topic.
pub(crate) static MEMBERS: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("members.lua")));
/// Counts the members of topics.
pub(crate) static COUNTS: LazyLock<Loadable> =
    LazyLock::new(|| Loadable::new(include_str!("counts.lua")));

/// A script that a server must have loaded before it can run it.
#[derive(Debug)]
pub(crate) struct Loadable {
    text: &'static str,
    sha: String,
}

impl Loadable {
    fn new(text: &'static str) -> Self {
        Self { text, sha: Script::new(text).get_hash().to_owned() }
    }

    /// The name by which a server that has loaded the script knows it.
    pub(crate) fn sha(&self) -> &str {
        &self.sha
    }

    /// The command that gives a server the script.
    pub(crate) fn loading(&self) -> Cmd {
        redis::cmd("SCRIPT").arg("LOAD").arg(self.text).take()
    }

    /// The command that runs the script on one key.
    pub(crate) fn on(&self, key: &str) -> Cmd {
        redis::cmd("EVALSHA").arg(&self.sha).arg(1).arg(key).take()
    }
}

/// The commands that give a server all scripts.
pub(crate) fn loading_all() -> Pipeline {
    let mut pipeline = redis::pipe();
    for script in [&PUBLISH, &POSITIONS, &PAGE, &LEASES, &PRESENCE, &MEMBERS, &COUNTS] {
        pipeline.add_command(script.loading());
    }
    pipeline
}

/// Returns true if the server has not loaded the script.
pub(crate) fn lacks_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
