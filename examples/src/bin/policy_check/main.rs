//! Explains a policy: what it does in words, and what applies to a route.
//!
//! ```console
//! $ cargo run -p seawall-examples --bin policy_check -- examples/reference-policy.yaml
//! $ cargo run -p seawall-examples --bin policy_check -- manifest.yaml --istio
//! $ cargo run -p seawall-examples --bin policy_check -- policy.yaml --at "GET /api/v1/users"
//! ```

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use seawall::policy::{Policy, PolicyError};

/// Explains a policy, or says what is wrong with it.
#[derive(Parser)]
#[command(name = "policy_check")]
struct Args {
    /// The policy: YAML, or what its extension says (`toml`, `json`)
    file: PathBuf,
    /// The file holds Istio's DestinationRule and VirtualService
    #[arg(long)]
    istio: bool,
    /// Shows the effective values of one call, such as "GET /api/v1/users"
    #[arg(long, value_name = "METHOD PATH")]
    at: Option<String>,
}

fn main() -> ExitCode {
    match check(&Args::parse()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("policy_check: {error}");
            ExitCode::from(2)
        }
    }
}

fn check(args: &Args) -> Result<String, Box<dyn std::error::Error>> {
    let (report, policy) = if args.istio {
        let text = std::fs::read_to_string(&args.file)?;
        let read = Policy::from_istio(&text)?;
        (format!("{read}\n"), read.policy)
    } else {
        (String::new(), Policy::from_file(&args.file)?)
    };
    policy.check().map_err(PolicyError::from)?;
    match &args.at {
        None => Ok(format!("{report}{}", policy.explain())),
        Some(call) => {
            let (method, path) = call.split_once(' ').ok_or("--at is a method and a path")?;
            let effective = policy.at(method, path)?;
            Ok(format!("{report}{}", serde_json::to_string_pretty(&effective)? + "\n"))
        }
    }
}
