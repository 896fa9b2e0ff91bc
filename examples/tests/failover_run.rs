//! The program that compares clients, as a stranger runs it.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{fs, process::Command};

use serde_json::Value;

#[test]
fn callers_of_seawall_notice_no_kill() {
    let folder = tempfile::tempdir().unwrap();
    let figures = folder.path().join("figures.json");
    let run = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["--scenario", "kill", "--seconds", "2", "--json"])
        .arg(&figures)
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    let reports: Vec<Value> = serde_json::from_slice(&fs::read(&figures).unwrap()).unwrap();
    let clients: Vec<_> = reports.iter().map(|report| report["client"].as_str().unwrap()).collect();
    assert_eq!(clients, ["tonic_balance_list", "seawall", "reqwest_dns", "seawall_http"]);
    for report in &reports {
        let client = report["client"].as_str().unwrap();
        assert_eq!(report["scenario"], "kill");
        assert!(report["calls"].as_u64().unwrap() > 100, "{report}");
        assert!(report["p50_ms"].as_f64().unwrap() >= 1.0, "a call takes 1 ms: {report}");
        assert!(said.contains(client), "{said}");
        if client.starts_with("seawall") {
            assert_eq!(report["errors"], 0, "{report}");
        }
    }
}

#[test]
fn an_unknown_scenario_is_refused_with_the_known_ones() {
    let run =
        Command::new(env!("CARGO_BIN_EXE_failover")).args(["--scenario", "x"]).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(!run.status.success() && said.contains("partition"), "{said}");
}
