//! What the tests with real agents share.

#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use futures::StreamExt as _;
use seawall_core::Change;
use seawall_discovery::Watch;
use seawall_test_support::ConsulServer;
use tokio::time::timeout;

pub(crate) const SOON: Duration = Duration::from_secs(5);

/// The next batch: `+` inserts and `~` updates a port, `-` removes an id.
pub(crate) async fn next(watch: &mut Watch) -> Vec<String> {
    let name = |change: Change| match change {
        Change::Insert(e) => format!("+{}", e.address().port()),
        Change::Update(e) => format!("~{}", e.address().port()),
        Change::Remove(id) => format!("-{id}"),
    };
    let batch = timeout(SOON, watch.next()).await.expect("a change in time").unwrap();
    batch.into_iter().map(name).collect()
}

/// Waits until what `look` sees is so.
pub(crate) async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..500 {
        if look() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never {what}");
}

/// Asks the agent behind the back of the client.
pub(crate) fn ask(server: &ConsulServer, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
