//! The servers as processes: started, killed, hung, slowed, and gone at the end in any case.

use std::{io, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::timeout,
};

/// A server says its port within milliseconds, unless the machine is very busy.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What was done to a server last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Condition {
    #[default]
    Running,
    Killed,
    Hung,
    Slow,
}

impl Condition {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Hung => "hung",
            Self::Slow => "slow",
        }
    }
}

/// One server. Dropping it kills its process.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    process: Option<Process>,
    condition: Condition,
}

#[derive(Debug)]
struct Process {
    child: Child,
    input: ChildStdin,
    port: u16,
}

impl Server {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(name: impl Into<String>) -> io::Result<Self> {
        let mut server = Self { name: name.into(), process: None, condition: Condition::Killed };
        server.restart().await?;
        Ok(server)
    }

    /// Starts it again, on another port, when it was killed.
    pub(crate) async fn restart(&mut self) -> io::Result<()> {
        self.kill().await?;
        // Its own group keeps the terminal's Ctrl-C away from it: the parent ends it.
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", &self.name])
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
            .map_err(|_| io::Error::other(format!("{} does not start", self.name)))??;
        let port = line.and_then(|line| line.parse().ok());
        let Some(port) = port else {
            return Err(io::Error::other(format!("{} ended while it started", self.name)));
        };
        self.process = Some(Process { child, input, port });
        self.condition = Condition::Running;
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn condition(&self) -> Condition {
        self.condition
    }

    /// Where it listens, while it runs.
    pub(crate) fn port(&self) -> Option<u16> {
        Some(self.process.as_ref()?.port)
    }

    /// Kills it (SIGKILL), also when it hangs, and waits for its end.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.child.kill().await?;
        }
        self.condition = Condition::Killed;
        Ok(())
    }

    /// Hangs it (SIGSTOP): the kernel still accepts connections, and nobody answers them.
    pub(crate) fn hang(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        self.condition = Condition::Hung;
        Ok(())
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)?;
        self.condition = Condition::Running;
        Ok(())
    }

    /// Makes every answer take longer by `by`; zero makes it normal again.
    pub(crate) async fn slow(&mut self, by: Duration) -> io::Result<()> {
        if let Some(process) = &mut self.process {
            process.input.write_all(format!("{}\n", by.as_millis()).as_bytes()).await?;
            self.condition = if by.is_zero() { Condition::Running } else { Condition::Slow };
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // The id is that of our child for as long as that was not waited for.
        let id = self.process.as_ref().and_then(|process| process.child.id());
        match id.and_then(|id| Pid::from_raw(id.try_into().ok()?)) {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Err(io::Error::other(format!("{} does not run", self.name))),
        }
    }
}
