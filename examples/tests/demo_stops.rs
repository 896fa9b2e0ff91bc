//! However the demo ends, no server outlives it, and none stays registered.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{path::Path, process::Command};

use rustix::process::Signal;
use seawall_test_support::ConsulServer;
use serde_json::Value;
use support::{Running, all_end, demo};

fn long(folder: &Path) -> Command {
    demo(folder, &["--duration", "40", "--rps", "20", "--seed", "7"])
}

#[tokio::test]
async fn ctrl_c_leaves_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(long(folder.path()));
    running.says("1 s  gRPC");
    let servers = running.servers();
    assert_eq!(servers.len(), 3, "{servers:?}");

    running.signal(Signal::INT);
    let (said, code) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("No caller saw an error."), "{said}");
    assert!(all_end(&servers).await, "{servers:?} still run");
}

#[tokio::test]
async fn a_kill_leaves_no_server_though_one_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--duration", "8", "--rps", "20"];
    let mut running = Running::start(demo(folder.path(), &flags));
    running.says("<- hang");
    let servers = running.servers();
    assert_eq!(servers.len(), 3, "{servers:?}");

    running.signal(Signal::KILL);
    running.end();
    assert!(all_end(&servers).await, "{servers:?} still run");
}

async fn registered(consul: &ConsulServer) -> usize {
    let url = format!("{}/v1/agent/services", consul.http_url());
    let body = reqwest::get(url).await.unwrap().bytes().await.unwrap();
    let services: Value = serde_json::from_slice(&body).unwrap();
    services.as_object().unwrap().len()
}

#[tokio::test]
async fn ctrl_c_leaves_no_registration_in_consul() {
    let consul = ConsulServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = long(folder.path());
    command.args(["--registry", "consul", "--consul", &consul.http_url()]);
    let mut running = Running::start(command);
    // By then one is dead, and its registration is nobody's.
    running.says("<- kill");
    assert_eq!(registered(&consul).await, 3);
    let servers = running.servers();

    running.signal(Signal::INT);
    let (said, code) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(registered(&consul).await, 0);
    assert!(all_end(&servers).await, "{servers:?} still run");
}

#[tokio::test]
async fn a_run_with_consul_ends_without_errors_and_registrations() {
    let consul = ConsulServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--duration", "6", "--rps", "40", "--consul", &consul.http_url()];
    let (said, code) = Running::start(demo(folder.path(), &flags)).end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("No caller saw an error."), "{said}");
    assert_eq!(registered(&consul).await, 0);
}
