//! A server ends with the test that started it, however that ends.

use std::io::{BufRead as _, BufReader};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::FutureExt as _;
use seawall_test_support::{Child, RedisServer};

/// Whether the process runs; one that ended and was not yet reaped does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn ends(pid: u32) -> bool {
    for _ in 0..500 {
        if !runs(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_server_ends_when_its_test_panics() {
    let (send, receive) = std::sync::mpsc::channel();
    let test = async move {
        let redis = RedisServer::start().await;
        send.send(redis.process_id().unwrap()).unwrap();
        panic!("the test fails");
    };
    AssertUnwindSafe(test).catch_unwind().await.unwrap_err();
    assert!(!runs(receive.recv().unwrap()));
}

#[tokio::test]
async fn a_server_ends_when_its_test_process_is_killed() {
    let mut test =
        Command::new(env!("CARGO_BIN_EXE_paused-redis")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| Some(line.split_once("redis ")?.1.to_owned())).unwrap();
    let (pid, log) = line.split_once(' ').unwrap();
    let (pid, log) = (pid.parse().unwrap(), Path::new(log));
    assert!(runs(pid) && log.exists());

    test.kill().unwrap();
    test.wait().unwrap();
    assert!(ends(pid).await, "a server outlives its killed test, though it was paused");
    for _ in 0..500 {
        if !log.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the folder of the server stays");
}

#[test]
fn a_child_reports_its_end_once_and_takes_no_signals_after_it() {
    let mut child = Child::spawn(Command::new("sh").args(["-c", "exit 3"])).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(3));
    child.resume().unwrap_err();
    child.kill().unwrap();
}

#[test]
fn a_child_that_ended_cannot_be_paused() {
    let mut child = Child::spawn(Command::new("sleep").arg("60")).unwrap();
    child.terminate().unwrap();
    child.pause().unwrap_err();
    assert!(!child.wait().unwrap().success());
}
