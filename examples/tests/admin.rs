//! The program that shows two clients.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Ends the program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn both_clients_are_shown_while_they_call() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_admin"))
        .args(["--address", &address.to_string(), "--seconds", "60"])
        .stdout(Stdio::null())
        .spawn();
    let _running = Running(program.unwrap());
    let url = format!("http://{address}/");
    // Three endpoints of each client, all of them called without an error.
    let served = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let Ok(response) = reqwest::get(format!("{url}metrics")).await else { continue };
            let text = response.text().await.unwrap();
            let attempts = text.lines().filter(|l| l.starts_with("seawall_attempts_total{"));
            let called = attempts.filter(|line| !line.ends_with(" 0")).count();
            if called == 6 {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(Duration::from_secs(20), served).await.unwrap();
    let failed = text.lines().filter(|l| l.starts_with("seawall_attempts_failed_total{"));
    assert!(failed.clone().count() == 6 && failed.clone().all(|l| l.ends_with(" 0")), "{text}");
    let page = reqwest::get(url).await.unwrap().text().await.unwrap();
    assert!(page.contains("EventSource"));
}
