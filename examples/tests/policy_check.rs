//! The program that explains a policy.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_policy_check"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(args)
        .output()
        .expect("the program runs")
}

#[test]
fn a_policy_is_explained_in_words() {
    let output = run(&["reference-policy.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for says in [
        "A call takes at most 30s",
        "tried up to 4 times, after: unavailable, deadline-exceeded",
        "up to 100ms",
        "100 calls pass per 1s, 200 at once",
        "consecutive_failures 5",
        "half_open.first_failure.successes 3",
        "open_wait 60s",
        "out for 30s after 3 errors",
        "20 % go to the subset v1",
    ] {
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn the_values_of_one_route_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.toml");
    let policy = "timeout = '2s'\n[[routes]]\nmatch = [{ path = '/slow' }]\ntimeout = '9s'\n";
    std::fs::write(&file, policy).expect("a file");
    let file = file.to_str().expect("a path");
    let at = |call: &str| {
        let output = run(&[file, "--at", call]);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        value["timeout"].clone()
    };
    assert_eq!((at("GET /slow"), at("GET /")), ("9s".into(), "2s".into()));
}

#[test]
fn a_manifest_is_read_and_what_is_wrong_is_told_in_one_line() {
    let output = run(&["../seawall/src/policy/istio/orders.yaml", "--istio"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("honoured  VirtualService/orders: spec.http[0].timeout"), "{text}");
    assert!(text.contains("connectionPool.http.maxRequestsPerConnection"), "{text}");
    assert!(!text.contains("ignored"), "{text}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("policy.yaml");
    std::fs::write(&file, "{ timeout: 1s, retries: { per_try_timeout: 2s } }").expect("a file");
    let output = run(&[file.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("`retries.per_try_timeout` is 2s"), "{text}");
    assert!(text.contains("at most the timeout of 1s"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}
