//! A real redis-server.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{Data, Kind, Server, ServerError, blocking, local};

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
        self.server.address(0)
    }

    /// Its address as clients of Redis spell it, such as `redis://127.0.0.1:6379/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// Kills it (SIGKILL): connections are closed and new ones refused. Its data stays.
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Makes it hang (SIGSTOP): connections stay, new ones are accepted, nothing is answered.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Kills it if it runs, starts it again on the same port, and waits until it answers.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`].
    pub async fn restart(&self, data: Data) {
        let server = Arc::clone(&self.server);
        blocking(move || server.restart(data)).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The id of its process, or `None` after [`RedisServer::kill`].
    pub fn process_id(&self) -> Option<u32> {
        self.server.process_id()
    }

    /// The file with what it prints.
    pub fn log_path(&self) -> PathBuf {
        self.server.log_path()
    }
}

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
    const PORTS: usize = 1;

    fn configure(&self, command: &mut Command, ports: &[u16], data: &Path) -> io::Result<()> {
        command.args(["--bind", "127.0.0.1", "--port", &ports[0].to_string()]);
        command.arg("--dir").arg(data);
        // Each write reaches the kernel before its answer, so a kill loses none of them.
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        command.args(&self.args);
        Ok(())
    }

    fn is_ready(&self, ports: &[u16], pid: u32) -> io::Result<bool> {
        let address = local::address(ports[0]);
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
