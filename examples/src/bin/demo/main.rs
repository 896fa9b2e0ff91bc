//! Starts three servers, kills, hangs and slows them, and shows what two clients make of it.
//!
//! `run` puts the parts together. `server` is a server, `fleet` its process, `registry` where it is
//! found; `faults` says what is done to it and when. `calls` are the two clients under test and
//! `load` makes them busy; `meter` hears how each call ended, `library` reads what the clients did,
//! and `record` holds it all as data. `view`, `plain`, `summary` and `report` show that data.

#![forbid(unsafe_code)]

mod args;
mod calls;
mod faults;
mod fleet;
mod library;
mod load;
mod meter;
mod plain;
mod record;
mod redis;
mod registry;
mod report;
mod run;
mod stop;
mod summary;
mod view;

use std::process::ExitCode;

use args::{Args, Refusal};
use tokio::runtime::Builder;

/// What is wrong with the flags, or with what they name.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let result = Args::read().and_then(|args| match &args.serve {
        Some(name) => {
            let runtime = Builder::new_current_thread().enable_all().build();
            let served = runtime.and_then(|runtime| {
                let served = runtime.block_on(seawall_examples::server::serve(name.clone(), 0));
                // The thread that reads standard input cannot be interrupted.
                runtime.shutdown_background();
                served
            });
            served.map_err(|error| Refusal::Failed(error.to_string()))
        }
        None => {
            let runtime = Builder::new_multi_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Refusal::Failed(error.to_string()))?;
            // On this thread, which lasts as long as the process: the servers end with it.
            runtime.block_on(run::run(args))
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal::Shown(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(Refusal::Wrong(line)) => {
            eprintln!("demo: {line}");
            ExitCode::from(USAGE)
        }
        Err(Refusal::Failed(line)) => {
            eprintln!("demo: {line}");
            ExitCode::FAILURE
        }
    }
}
