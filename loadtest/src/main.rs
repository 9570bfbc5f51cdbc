//! The `loadtest` program: a scenario from the command line, and its verdict as the exit code.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use loadtest::scenario::{bench, failover};

/// Drives real Tailwater processes under load, breaks them, and reports what subscribers noticed.
///
/// Each scenario starts its own Redis, Tailwater and HAProxy on free ports, writes report.html and
/// report.json, prints a table, and exits with 0 when nothing went wrong, 1 when something did,
/// and 2 when it could not run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    Failover(failover::Options),
    Bench(bench::Options),
    #[command(hide = true)]
    Reference(bench::Reference),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(failures) if failures.is_empty() => {
            println!("PASSED");
            ExitCode::SUCCESS
        }
        Ok(failures) => {
            println!("FAILED: {}", failures.join("; "));
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("loadtest could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs the scenario and returns what went wrong.
#[tokio::main]
async fn run(arguments: &Arguments) -> Result<Vec<String>> {
    // Every subscriber is a socket here and two in the load balancer, which inherits the limit.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    let report = match &arguments.scenario {
        Scenario::Failover(options) => failover::run(options).await?,
        Scenario::Bench(options) => bench::run(options).await?,
        Scenario::Reference(reference) => return reference.serve().await,
    };
    Ok(report.failures)
}
