//! One thread that starts all children and lives as long as this process.
//!
//! Children are started through `setpriv --pdeathsig KILL`, so the kernel kills them when their
//! parent dies, even by SIGKILL. To the kernel the parent is the *thread* that called fork, and a
//! test's thread or a runtime's worker may end long before the process: hence a thread of its own.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

type Job = (Command, SyncSender<io::Result<Child>>);

/// Starts the command from the thread that never ends.
pub(super) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, answer) in jobs {
                // The caller may have panicked meanwhile; then the handle is dropped with it.
                answer.send(command.spawn()).ok();
            }
        });
        sender
    });
    let (sender, answer) = sync_channel(1);
    spawner.send((command, sender)).map_err(|_| io::Error::other("the spawner thread is gone"))?;
    answer.recv().map_err(|_| io::Error::other("the spawner thread is gone"))?
}

/// A command for `program` that the kernel kills with this process. If `setpriv` is missing,
/// only dropping the handle kills it.
pub(super) fn command(program: &std::path::Path) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let has_setpriv = *SETPRIV.get_or_init(|| {
        let probe = Command::new("setpriv").arg("--version").output();
        probe.is_ok_and(|output| output.status.success())
    });
    if !has_setpriv {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
