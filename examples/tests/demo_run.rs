//! The main job: no caller notices that a server is killed, hung and slowed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{collections::BTreeSet, fs};

use serde_json::Value;
use support::demo;

/// Few calls: other tests want the machine too.
const FLAGS: &[&str] = &["--plain", "--duration", "6", "--rps", "60", "--seed", "7"];

#[test]
fn no_caller_sees_an_error_through_kill_hang_and_slow_down() {
    let folder = tempfile::tempdir().unwrap();
    let figures = folder.path().join("figures.json");
    let output = demo(folder.path(), FLAGS).arg("--json").arg(&figures).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let figures: Value = serde_json::from_str(&fs::read_to_string(&figures).unwrap()).unwrap();
    let mut calls = 0;
    for client in ["grpc", "http"] {
        let client = &figures[client];
        assert_eq!(client["errors"], 0, "{said}");
        assert!(client["p50_ms"].as_f64() > Some(0.0), "{client}");
        calls += client["calls"].as_u64().unwrap();
    }
    // 360 are due, and some more when callers ask for too much.
    assert!((340..=440).contains(&calls), "{calls} calls\n{said}");

    let faults = figures["faults"].as_array().unwrap();
    let kinds: Vec<_> = faults.iter().map(|fault| fault["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["kill", "restart", "hang", "resume", "slow", "normal"]);
    let endpoints = figures["endpoints"].as_array().unwrap();
    let names = |list: &[Value], field| {
        list.iter().map(|item| item[field].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(faults, "endpoint"), names(endpoints, "id"));

    let attempts: u64 = endpoints.iter().map(|one| one["calls"].as_u64().unwrap()).sum();
    assert!(attempts >= calls, "{attempts} attempts for {calls} calls");
    assert_eq!(figures["limiter"]["allowed"], calls);
    assert!(figures["limiter"]["rejected"].as_u64() > Some(0), "{}", figures["limiter"]);

    // The restarted server was found at its new address.
    let events = figures["events"].as_array().unwrap();
    let killed = &faults[0]["endpoint"];
    let found = |event: &&Value| event["endpoint"] == *killed && event["by"] == "seawall";
    let deeds: Vec<_> = events.iter().filter(found).map(|event| &event["kind"]).collect();
    assert!(
        deeds.iter().any(|kind| ["found", "moved"].contains(&kind.as_str().unwrap())),
        "{deeds:?}"
    );
}

#[test]
fn it_tells_each_second_in_one_line_and_leaves_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--plain", "--duration", "3", "--rps", "20"];
    let output = demo(folder.path(), &flags).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let seconds = said.lines().filter(|line| line.contains(" s  gRPC")).count();
    assert_eq!(seconds, 3, "{said}");

    let report = folder.path().join("report.html").canonicalize().unwrap();
    assert!(said.contains(report.to_str().unwrap()), "{said}");
    assert!(fs::read_to_string(report).unwrap().contains("\"kind\":\"kill\""));
}
