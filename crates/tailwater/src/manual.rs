//! `tailwater completions` and `tailwater man`: the command line, as shells and `man` read it.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Args;

/// Prints the completions of a shell.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "tailwater", &mut script);
    io::stdout().write_all(&script).context("the completions cannot be printed")
}

/// Writes a page for each command into a folder.
pub(crate) fn pages(dir: &Path) -> Result<()> {
    let mut program = Args::command().disable_help_subcommand(true);
    program.build();
    write(program, dir)
        .with_context(|| format!("the manual pages cannot be written to {}", dir.display()))
}

/// Writes the page of a command and those of its commands.
fn write(command: Command, dir: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write(below.clone(), dir)?;
    }
    let version = concat!("tailwater ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(version).generate_to(dir).map(drop)
}
