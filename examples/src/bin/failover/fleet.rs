//! Three servers as processes, the first one behind a proxy.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use seawall_test_support::{FaultProxy, Faults};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// A machine may be very busy.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The servers. Dropping them kills their processes.
#[derive(Debug)]
pub(crate) struct Fleet {
    servers: [Server; 3],
    proxy: FaultProxy,
}

#[derive(Debug)]
struct Server {
    child: Child,
    input: ChildStdin,
    address: SocketAddr,
}

impl Fleet {
    /// Starts them and waits until they listen.
    pub(crate) async fn start() -> io::Result<Self> {
        let servers = [Server::start(0).await?, Server::start(0).await?, Server::start(0).await?];
        let proxy = FaultProxy::start(servers[0].address).await;
        Ok(Self { servers, proxy })
    }

    /// Where clients find them: the first one at its proxy.
    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        [self.proxy.address(), self.servers[1].address, self.servers[2].address]
    }

    /// Kills the first one (SIGKILL).
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.servers[0].child.kill().await
    }

    /// Starts the first one again, on the same port.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.servers[0] = Server::start(self.servers[0].address.port()).await?;
        Ok(())
    }

    /// Hangs the first one (SIGSTOP): the kernel still accepts connections, and nobody answers.
    pub(crate) fn hang(&self) -> io::Result<()> {
        let id = self.servers[0].child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let id = id.ok_or_else(|| io::Error::other("the server does not run"))?;
        Ok(kill_process(id, Signal::STOP)?)
    }

    /// A call to the first one takes so many milliseconds more from now on.
    pub(crate) async fn slow(&mut self, millis: u64) -> io::Result<()> {
        self.servers[0].input.write_all(format!("{millis}\n").as_bytes()).await
    }

    /// Nothing passes to or from the first one.
    pub(crate) fn partition(&self) {
        self.proxy.set_both(Faults::BLACK_HOLE);
    }

    /// Ends all of them and waits for it.
    pub(crate) async fn end(self) -> io::Result<()> {
        for mut server in self.servers {
            server.child.kill().await?;
        }
        Ok(())
    }
}

impl Server {
    async fn start(port: u16) -> io::Result<Self> {
        // Its own group keeps the terminal's Ctrl-C away from it: the parent ends it.
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", &port.to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a server has no pipes"));
        };
        let mut lines = BufReader::new(output).lines();
        let line = timeout(START_TIMEOUT, lines.next_line())
            .await
            .map_err(|_| io::Error::other("a server does not start"))??;
        let port = line.and_then(|line| line.parse::<u16>().ok());
        let port = port.ok_or_else(|| io::Error::other("a server ended while it started"))?;
        Ok(Self { child, input, address: (Ipv4Addr::LOCALHOST, port).into() })
    }
}
