//! Kills, hangs, slows, flaps, partitions and restarts one of three servers under the load of 32
//! callers, and counts what the callers see: with `seawall`, and with what they would use instead.
//!
//! `fleet` is the servers as processes, the faulted one behind a proxy; `fault` says what is done and
//! when; `clients` are those under test and `load` makes them busy.

#![forbid(unsafe_code)]

mod clients;
mod fault;
mod fleet;
mod load;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use clients::{Client, Contender};
use fault::Scenario;
use fleet::Fleet;
use load::{CALLERS, Report};
use seawall_examples::server::serve;
use tokio::runtime::Builder;

/// Kills servers under load and counts what the callers see.
#[derive(Debug, Parser)]
#[command(name = "failover")]
struct Args {
    /// What happens to one of the three servers
    #[arg(long, value_enum, default_value = "all")]
    scenario: Scenario,
    /// How long each client is watched; the fault comes after a quarter of it
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Writes the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Be one of the servers, on this port
    #[arg(long, hide = true, value_name = "PORT")]
    serve: Option<u16>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failover: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(port) = args.serve {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let served = runtime.block_on(serve("failover".to_owned(), port));
        // The thread that reads standard input cannot be interrupted.
        runtime.shutdown_background();
        return Ok(served?);
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    // On this thread, which lasts as long as the process: the servers end with it.
    let reports = runtime.block_on(measure(args.scenario, Duration::from_secs(args.seconds)))?;
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&reports)?)?;
    }
    Ok(())
}

async fn measure(scenario: Scenario, time: Duration) -> Result<Vec<Report>, Box<dyn Error>> {
    println!(
        "Three servers, {CALLERS} callers, {} s for each client; the fault comes after {} s.\n",
        time.as_secs(),
        time.as_secs_f32() / 4.0
    );
    println!("{}", Report::HEADINGS);
    let mut reports = Vec::new();
    for scenario in scenario.each() {
        for contender in Contender::ALL {
            let mut fleet = Fleet::start().await?;
            let client = Client::new(contender, &fleet.addresses())?;
            let load = load::drive(&client, time);
            let faults = scenario.happen(&mut fleet, time);
            let (seen, happened) = tokio::join!(load, faults);
            happened?;
            let report = Report::new(scenario, contender, &seen);
            println!("{report}");
            reports.push(report);
            fleet.end().await?;
        }
    }
    Ok(reports)
}
