//! Runs the program like a user at a shell.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::{PATIENCE, TAILWATER};

/// A running command.
#[derive(Debug)]
pub(crate) struct Cli {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: JoinHandle<String>,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    /// The rest of the standard output, without the lines that `Cli::line` has returned.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    /// Starts `tailwater` with `args`.
    pub(crate) fn start(args: &[&str]) -> Cli {
        let mut command = Command::new(TAILWATER);
        command.args(args);
        Cli::start_command(command)
    }

    /// Starts a command.
    pub(crate) fn start_command(mut command: Command) -> Cli {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.kill_on_drop(true).spawn().expect("the command starts");
        let mut stderr = child.stderr.take().expect("piped");
        Cli {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("piped")).lines(),
            stderr: tokio::spawn(async move {
                let mut text = String::new();
                stderr.read_to_string(&mut text).await.expect("standard error is UTF-8");
                text
            }),
            child,
        }
    }

    /// Writes to the command's standard input.
    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes.as_ref()).await.expect("the command reads standard input");
        stdin.flush().await.expect("the command reads standard input");
    }

    /// Returns the next line of the standard output.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.stdout.next_line())
            .await
            .expect("the command prints a line in time");
        line.expect("UTF-8").expect("the command has not ended")
    }

    /// Closes the standard output, as `head` does after its last line.
    pub(crate) fn hang_up(self) -> (Child, JoinHandle<String>) {
        (self.child, self.stderr)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid =
            i32::try_from(self.child.id().expect("the command runs")).expect("a pid is an i32");
        kill(Pid::from_raw(pid), signal).expect("the command runs");
    }

    /// Closes the standard input and waits for the exit of the command.
    pub(crate) async fn finish(mut self) -> Outcome {
        drop(self.stdin.take());
        self.exit().await
    }

    /// Waits for the exit of the command, whose standard input may stay open.
    pub(crate) async fn exit(mut self) -> Outcome {
        let mut stdout = String::new();
        let all = async {
            while let Some(line) = self.stdout.next_line().await.expect("UTF-8") {
                stdout.push_str(&line);
                stdout.push('\n');
            }
            (
                self.child.wait().await.expect("the command was started"),
                self.stderr.await.expect("read"),
            )
        };
        let (status, stderr) = timeout(PATIENCE, all).await.expect("the command ends");
        Outcome { code: status.code(), stdout, stderr }
    }
}

/// Runs `tailwater` to its end.
pub(crate) async fn tailwater(args: &[&str]) -> Outcome {
    Cli::start(args).finish().await
}

/// Runs `tailwater` to its end with `stdin` as its standard input.
pub(crate) async fn tailwater_reading(stdin: impl AsRef<[u8]>, args: &[&str]) -> Outcome {
    let mut cli = Cli::start(args);
    cli.write(stdin).await;
    cli.finish().await
}

impl Outcome {
    /// Asserts that the command succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Outcome {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// Asserts exit code 1, a message that contains `words`, and no panic.
    #[track_caller]
    pub(crate) fn failure(self, words: &[&str]) -> Outcome {
        assert_eq!(self.code, Some(1), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in {:?}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }
}
