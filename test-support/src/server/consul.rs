//! A real Consul agent.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::{Data, Kind, Server, ServerError, blocking, controls, local};

/// Where each of the agent's ports stands in its list.
const HTTP: usize = 0;
const DNS: usize = 1;
const SERF: usize = 2;
const RPC: usize = 3;
const HTTPS: usize = 4;

/// A real `consul` agent, a cluster of one server, on spare loopback ports and with its data in a
/// folder of its own.
///
/// It is killed when dropped, also when the test panics, and when the test process is killed.
///
/// # Examples
///
/// ```no_run
/// # async fn example() {
/// use seawall_test_support::{ConsulServer, Data};
///
/// let consul = ConsulServer::start().await;
/// println!("{}", consul.http_url());
/// consul.pause();
/// consul.resume();
/// consul.restart(Data::Lose).await;
/// # }
/// ```
#[derive(Debug)]
pub struct ConsulServer {
    server: Arc<Server<Consul>>,
}

impl ConsulServer {
    /// Starts an agent and waits until it has a leader and answers.
    ///
    /// # Panics
    ///
    /// When it does not start; the message says why, and shows the end of its log.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// An agent with configuration of the caller's.
    pub fn builder() -> ConsulServerBuilder {
        ConsulServerBuilder { config: Vec::new(), https: false }
    }

    /// Starts a cluster of `count` servers and waits until all of them know its leader.
    ///
    /// # Panics
    ///
    /// As [`ConsulServer::start`].
    pub async fn cluster(count: usize) -> Vec<Self> {
        let ports = (0..count).map(|_| Server::<Consul>::ports());
        let ports = ports.collect::<Result<Vec<_>, _>>().unwrap_or_else(|e| panic!("{e}"));
        let serfs: Vec<_> = ports.iter().map(|ports| ports[SERF]).collect();
        // Neither answers before it knows a leader, which takes most of them.
        let starts: Vec<_> = ports
            .into_iter()
            .map(|ports| {
                let kind = Consul { peers: serfs.clone(), ..Consul::new(Vec::new(), false) };
                tokio::spawn(blocking(move || Server::start_on(kind, ports)))
            })
            .collect();
        let mut servers = Vec::with_capacity(count);
        for start in starts {
            let server = start.await.unwrap_or_else(|error| panic!("{error}"));
            let server = Arc::new(server.unwrap_or_else(|error| panic!("{error}")));
            servers.push(Self { server });
        }
        servers
    }

    /// Where its HTTP API listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address(HTTP)
    }

    /// Its HTTP API, without a slash at the end, such as `http://127.0.0.1:8500`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its HTTP API over TLS, if [`ConsulServerBuilder::https`] turned that on, by the name
    /// `localhost`.
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.server.address(HTTPS).port())
    }

    /// Where it answers DNS, over UDP and TCP.
    pub fn dns_address(&self) -> SocketAddr {
        self.server.address(DNS)
    }

    /// The name of its node.
    pub fn node_name(&self) -> &str {
        &self.server.kind.node
    }
}

controls!(ConsulServer, "agent");

/// Makes a [`ConsulServer`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConsulServerBuilder {
    config: Vec<String>,
    https: bool,
}

impl ConsulServerBuilder {
    /// Listens for HTTPS too, on a port of its own. Certificates go through
    /// [`config`](Self::config).
    pub fn https(mut self) -> Self {
        self.https = true;
        self
    }

    /// Adds a configuration file in JSON, such as `{"acl": {"enabled": true}}`. It is merged over
    /// what the agent needs anyway.
    pub fn config(mut self, json: impl Into<String>) -> Self {
        self.config.push(json.into());
        self
    }

    /// Starts the agent and waits until it has a leader and answers.
    ///
    /// # Panics
    ///
    /// As [`ConsulServer::start`].
    pub async fn start(self) -> ConsulServer {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the agent and waits until it has a leader and answers.
    ///
    /// # Errors
    ///
    /// When the program is missing, ends, or never answers.
    pub async fn try_start(self) -> Result<ConsulServer, ServerError> {
        let kind = Consul::new(self.config, self.https);
        let server = blocking(move || Server::start(kind)).await?;
        Ok(ConsulServer { server: Arc::new(server) })
    }
}

#[derive(Debug)]
struct Consul {
    node: String,
    config: Vec<String>,
    https: bool,
    /// Where the servers of its cluster, itself among them, listen for each other.
    peers: Vec<u16>,
}

impl Consul {
    fn new(config: Vec<String>, https: bool) -> Self {
        let mut node = String::from("seawall-");
        // Names the agent apart from one of another test on a port that both wanted.
        let _ = write!(node, "{:016x}", fastrand::u64(..));
        Self { node, config, https, peers: Vec::new() }
    }

    /// `-dev` would be quicker to start, but keeps its data in memory only.
    fn settings(&self, ports: &[u16], version: (u32, u32)) -> String {
        // From this version on a server opens one more port, which older ones refuse to hear of.
        let grpc_tls = if version >= (1, 14) { r#", "grpc_tls": -1"# } else { "" };
        let (http, dns, serf, rpc) = (ports[HTTP], ports[DNS], ports[SERF], ports[RPC]);
        let node = &self.node;
        let https = if self.https { i32::from(ports[HTTPS]) } else { -1 };
        let servers = self.peers.len().max(1);
        let peers: Vec<_> = self.peers.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
        let peers = peers.join(", ");
        format!(
            r#"{{
    "node_name": "{node}",
    "server": true,
    "bootstrap_expect": {servers},
    "retry_join": [{peers}],
    "retry_interval": "200ms",
    "bind_addr": "127.0.0.1",
    "client_addr": "127.0.0.1",
    "ports": {{
        "http": {http}, "dns": {dns}, "serf_lan": {serf}, "server": {rpc},
        "serf_wan": -1, "https": {https}, "grpc": -1{grpc_tls}
    }},
    "performance": {{ "raft_multiplier": 1 }},
    "disable_update_check": true
}}"#
        )
    }
}

impl Kind for Consul {
    const PROGRAM: &'static str = "consul";
    const PORTS: usize = 5;

    fn configure(&self, command: &mut Command, ports: &[u16], data: &Path) -> io::Result<()> {
        // Beside the data, so that losing that leaves these.
        let dir = data.with_file_name("config");
        fs::create_dir_all(&dir)?;
        command.arg("agent").arg("-data-dir").arg(data);
        let version = Command::new(command.get_program()).arg("version").output()?.stdout;
        let settings = self.settings(ports, parse_version(&String::from_utf8_lossy(&version)));
        for (number, json) in [&settings].into_iter().chain(&self.config).enumerate() {
            let file = dir.join(format!("{number}.json"));
            fs::write(&file, json)?;
            command.arg("-config-file").arg(file);
        }
        Ok(())
    }

    fn is_ready(&self, ports: &[u16], _pid: u32) -> io::Result<bool> {
        let http = local::address(ports[HTTP]);
        let (status, leader) = get(http, "/v1/status/leader")?;
        if status != 200 || !leader.contains(':') {
            return Ok(false);
        }
        let (status, agent) = get(http, "/v1/agent/self")?;
        // Where access is controlled, the agent does not say who it is.
        if status != 403 && !agent.contains(&self.node) {
            return Ok(false);
        }
        // A consistent read makes the leader prove that it leads. There is no such key.
        let (status, _) = get(http, "/v1/kv/seawall?consistent")?;
        Ok(matches!(status, 403 | 404))
    }
}

/// The status and body of an answer. HTTP/1.0 keeps it free of chunks.
fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    let answer = local::ask(address, request.as_bytes(), |_| false)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// The major and minor version in the output of `consul version`; of none, the oldest.
fn parse_version(output: &str) -> (u32, u32) {
    let version = output.split_whitespace().find_map(|word| word.strip_prefix('v'));
    let mut numbers = version.unwrap_or_default().split('.').map_while(|word| word.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_agent_is_told_to_leave_its_further_port_alone() {
        let consul = Consul::new(Vec::new(), false);
        for (output, told) in [
            ("Consul v1.8.7\n", false),
            ("Consul v1.14.0-dev\n", true),
            ("Consul v2.0\n", true),
            ("", false),
        ] {
            let settings = consul.settings(&[1, 2, 3, 4, 5], parse_version(output));
            assert_eq!(settings.contains("grpc_tls"), told, "{output:?}: {settings}");
        }
    }
}
