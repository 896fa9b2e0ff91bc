//! A real redis-server.

mod cluster;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use self::cluster::Member;
use super::{Data, Kind, Server, ServerError, blocking, controls, local};

/// Where each of the server's ports stands in its list.
const CLIENTS: usize = 0;
const BUS: usize = 1;

/// A real `redis-server` on a spare loopback port, with its data in a folder of its own.
///
/// It is killed when dropped, also when the test panics, and when the test process is killed.
///
/// # Examples
///
/// ```no_run
/// # async fn example() {
/// use seawall_test_support::{Data, RedisServer};
///
/// let redis = RedisServer::start().await;
/// println!("{}", redis.url());
/// redis.kill();
/// redis.restart(Data::Keep).await;
/// # }
/// ```
#[derive(Debug)]
pub struct RedisServer {
    server: Arc<Server<Redis>>,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it does not start; the message says why, and shows the end of its log.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// A server with arguments of the caller's.
    pub fn builder() -> RedisServerBuilder {
        RedisServerBuilder { kind: Redis::default() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address(CLIENTS)
    }

    /// Its address as clients of Redis spell it, such as `redis://127.0.0.1:6379/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// Starts a replica of it and waits until that holds what it holds.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn replica(&self) -> Self {
        let port = self.address().port().to_string();
        let replica = Self::builder().arg("--replicaof").arg("127.0.0.1").arg(port).start().await;
        let address = replica.address();
        blocking(move || {
            until("the replica follows its primary", || {
                Ok(command(address, "INFO replication")?.contains("master_link_status:up"))
            });
        })
        .await;
        replica
    }

    /// Makes a replica a primary, with what it holds by then.
    ///
    /// # Panics
    ///
    /// When it does not answer, or refuses.
    pub async fn promote(&self) {
        let address = self.address();
        let answer = blocking(move || command(address, "REPLICAOF NO ONE")).await;
        let answer = answer.unwrap_or_else(|error| panic!("{address}: {error}"));
        assert!(answer.starts_with("+OK"), "{address}: {answer}");
    }

    /// Starts a cluster of `primaries` and as many replicas, and waits until each node serves all
    /// slots. The primaries come first, then their replicas in the same order. A dead primary is
    /// replaced by its replica after about a second.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn cluster(primaries: u16) -> Vec<Self> {
        let starts: Vec<_> = (0..2 * primaries)
            .map(|_| {
                let node = Self::builder().arg("--cluster-enabled").arg("yes");
                tokio::spawn(node.arg("--cluster-node-timeout").arg("500").start())
            })
            .collect();
        let mut nodes = Vec::with_capacity(starts.len());
        for start in starts {
            nodes.push(start.await.unwrap_or_else(|error| panic!("{error}")));
        }
        let members = nodes.iter().map(|node| {
            let server = &node.server;
            Member { address: server.address(CLIENTS), bus: server.address(BUS).port() }
        });
        let members: Vec<_> = members.collect();
        blocking(move || cluster::join(&members, usize::from(primaries))).await;
        nodes
    }
}

controls!(RedisServer, "server");

/// Makes a [`RedisServer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisServerBuilder {
    kind: Redis,
}

impl RedisServerBuilder {
    /// Adds an argument of the command line, such as `--maxmemory`, after those that the server
    /// needs anyway.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.kind.args.push(arg.into());
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn start(self) -> RedisServer {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    ///
    /// When the program is missing, ends, or never answers.
    pub async fn try_start(self) -> Result<RedisServer, ServerError> {
        let server = blocking(move || Server::start(self.kind)).await?;
        Ok(RedisServer { server: Arc::new(server) })
    }
}

#[derive(Clone, Debug, Default)]
struct Redis {
    args: Vec<String>,
}

impl Kind for Redis {
    const PROGRAM: &'static str = "redis-server";
    const PORTS: usize = 2;

    fn configure(&self, command: &mut Command, ports: &[u16], data: &Path) -> io::Result<()> {
        command.args(["--bind", "127.0.0.1", "--port", &ports[CLIENTS].to_string()]);
        // Else the bus of a cluster listens 10,000 above, where nobody kept the port free.
        command.args(["--cluster-port", &ports[BUS].to_string()]);
        command.arg("--dir").arg(data);
        // Each write reaches the kernel before its answer, so a kill loses none of them.
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        // Else a primary waits 5 s for more replicas before it sends the first one its data.
        command.args(["--repl-diskless-sync-delay", "0"]);
        command.args(&self.args);
        Ok(())
    }

    fn is_ready(&self, ports: &[u16], pid: u32) -> io::Result<bool> {
        let address = local::address(ports[CLIENTS]);
        let pong = local::ask(address, b"PING\r\n", |answer| answer.ends_with(b"\r\n"))?;
        if pong.starts_with(b"-NOAUTH") {
            return Ok(true);
        }
        if !pong.starts_with(b"+PONG") {
            // It is still loading its data.
            return Ok(false);
        }
        let info = local::ask(address, b"INFO server\r\n", |answer| {
            String::from_utf8_lossy(answer).contains("\r\nprocess_id:")
                && answer.ends_with(b"\r\n\r\n")
        });
        Ok(String::from_utf8_lossy(&info?).contains(&format!("\r\nprocess_id:{pid}\r\n")))
    }
}

/// The answer to one inline command.
fn command(address: SocketAddr, command: &str) -> io::Result<String> {
    let request = format!("{command}\r\n");
    let answer = local::ask(address, request.as_bytes(), is_whole)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether `answer` holds all of a line or a bulk string.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n") else { return false };
    match head.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(bytes)) => body.len() >= bytes + 2,
        _ => true,
    }
}

/// Blocks until `reached`, a small answer of a server that may still be starting.
fn until(what: &str, mut reached: impl FnMut() -> io::Result<bool>) {
    let mut seen = String::new();
    for _ in 0..super::READY_POLLS {
        match reached() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => seen = error.to_string(),
        }
        local::sleep(super::READY_POLL);
    }
    panic!("it never came to this: {what} {seen}");
}
