//! The `loadtest` program: a scenario from the command line, and its verdict as the exit code.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use loadtest::cost::reference::Reference;
use loadtest::scenario::{
    bench, chaos, copies, drain, failover, hold, intake, interop, lb, mixed, presence, relay,
    siege, skew, soak, sources, storm, styles, vanish, watch, wire,
};

/// Drives real Tailwater processes under load, breaks them, and reports the effect on subscribers.
///
/// Every scenario except `watch` starts its own servers on free ports. Each writes report.html and
/// report.json, prints a table, and exits with 0 if it passed, 1 if it failed, and 2 if it could
/// not run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    Chaos(chaos::Options),
    Copies(copies::Options),
    Drain(drain::Options),
    Failover(failover::Options),
    Watch(Box<watch::Options>),
    Storm(storm::Options),
    /// A part of the storm's subscribers, in a process of its own.
    #[command(hide = true)]
    StormCrowd(storm::worker::Options),
    Bench(bench::Options),
    Mixed(mixed::Options),
    Presence(presence::Options),
    Relay(relay::Options),
    Siege(siege::Options),
    Skew(skew::Options),
    Soak(soak::Options),
    Sources(sources::Options),
    Styles(styles::Options),
    Vanish(vanish::Options),
    Wire(wire::Options),
    Intake(intake::Options),
    Interop(interop::Options),
    Lb(lb::Options),
    Hold(hold::Options),
    /// The readers of one gateway, in a process of their own.
    #[command(hide = true)]
    HoldCrowd(hold::worker::Options),
    #[command(hide = true)]
    Reference(Reference),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let has_verdict = match &arguments.scenario {
        Scenario::Chaos(options) => !options.is_list(),
        Scenario::HoldCrowd(_) | Scenario::Reference(_) | Scenario::StormCrowd(_) => false,
        _ => true,
    };
    match run(&arguments) {
        Ok(_) if !has_verdict => ExitCode::SUCCESS,
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

/// Runs the scenario and returns its failures.
#[tokio::main]
async fn run(arguments: &Arguments) -> Result<Vec<String>> {
    // Every subscriber is a socket here and two in the load balancer, which inherits the limit.
    rlimit::increase_nofile_limit(u64::MAX).context("cannot raise the limit of open files")?;
    match &arguments.scenario {
        Scenario::Bench(options) => Ok(Box::pin(bench::run(options)).await?.failures),
        Scenario::Chaos(options) => Box::pin(chaos::run(options)).await,
        Scenario::Copies(options) => {
            let sheet = Box::pin(copies::run(options)).await?;
            println!("{}", sheet.table());
            Ok(sheet.failures())
        }
        Scenario::Storm(options) => Ok(Box::pin(storm::run(options)).await?.failures),
        Scenario::StormCrowd(options) => Box::pin(storm::worker::run(options)).await,
        Scenario::Drain(options) => Ok(Box::pin(drain::run(options)).await?.failures),
        Scenario::Failover(options) => Ok(Box::pin(failover::run(options)).await?.failures),
        Scenario::Mixed(options) => Ok(Box::pin(mixed::run(options)).await?.failures),
        Scenario::Relay(options) => Ok(Box::pin(relay::run(options)).await?.failures),
        Scenario::Styles(options) => Ok(Box::pin(styles::run(options)).await?.failures),
        Scenario::Wire(options) => Ok(Box::pin(wire::run(options)).await?.failures),
        Scenario::Intake(options) => Ok(Box::pin(intake::run(options)).await?.failures),
        Scenario::Sources(options) => Box::pin(sources::run(options)).await,
        Scenario::Hold(options) => Box::pin(hold::run(options)).await,
        Scenario::HoldCrowd(options) => hold::worker::run(options),
        Scenario::Siege(options) => {
            let sheet = Box::pin(siege::run(options)).await?;
            println!("{}", sheet.table());
            Ok(sheet.failures())
        }
        Scenario::Presence(options) => Ok(Box::pin(presence::run(options)).await?.failures()),
        Scenario::Interop(options) => {
            let sheet = Box::pin(interop::run(options)).await?;
            println!("{}", sheet.table());
            Ok(sheet.failures())
        }
        Scenario::Lb(options) => {
            let sheet = Box::pin(lb::run(options)).await?;
            println!("{}", sheet.table());
            Ok(sheet.failures())
        }
        Scenario::Vanish(options) => {
            let sheet = Box::pin(vanish::run(options)).await?;
            println!("{}", sheet.table());
            Ok(sheet.failures())
        }
        Scenario::Skew(options) => Ok(Box::pin(skew::run(options)).await?.failures),
        Scenario::Soak(options) => Ok(Box::pin(soak::run(options)).await?.failures),
        Scenario::Watch(options) => Ok(Box::pin(watch::run(options)).await?.failures),
        Scenario::Reference(reference) => reference.serve().await,
    }
}
