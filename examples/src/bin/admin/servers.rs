//! Servers that answer, and fall ill in turn.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use tokio::{net::TcpListener, time::sleep};

const WELL: u8 = 0;
const SLOW: u8 = 1;
const FAILING: u8 = 2;

pub(crate) struct Servers(Vec<Server>);

#[derive(Clone)]
struct Server {
    address: SocketAddr,
    health: Arc<AtomicU8>,
    calls: Arc<AtomicU64>,
}

impl Servers {
    pub(crate) async fn start(number: usize) -> io::Result<Self> {
        let mut servers = Vec::new();
        for _ in 0..number {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let (health, calls) = Default::default();
            let server = Server { address: listener.local_addr()?, health, calls };
            let router = Router::new().route("/", get(answer)).with_state(server.clone());
            tokio::spawn(async move { axum::serve(listener, router).await });
            servers.push(server);
        }
        Ok(Self(servers))
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.0.iter().map(|server| server.address.to_string()).collect()
    }

    pub(crate) fn calls(&self) -> u64 {
        self.0.iter().map(|server| server.calls.load(Relaxed)).sum()
    }

    /// One after the other is slow for a while, then fails, and then is well again.
    pub(crate) async fn fall_ill(&self) {
        for server in self.0.iter().cycle() {
            for (health, seconds) in [(WELL, 6), (SLOW, 6), (FAILING, 8), (WELL, 0)] {
                server.health.store(health, Relaxed);
                sleep(Duration::from_secs(seconds)).await;
            }
        }
    }
}

async fn answer(State(server): State<Server>) -> (StatusCode, &'static str) {
    server.calls.fetch_add(1, Relaxed);
    let slow = server.health.load(Relaxed) == SLOW;
    // Between 2 and 8 ms, as if there were something to do.
    let micros = fastrand::u64(2_000..8_000) * if slow { 10 } else { 1 };
    sleep(Duration::from_micros(micros)).await;
    match server.health.load(Relaxed) {
        FAILING => (StatusCode::SERVICE_UNAVAILABLE, "ill\n"),
        _ => (StatusCode::OK, "well\n"),
    }
}
