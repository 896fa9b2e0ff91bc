//! What the real servers share: finding the program, spare ports, waiting until it answers.

mod consul;
mod controls;
mod error;
mod local;
mod redis;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Child;

pub(crate) use self::local::spare_ports;

pub use self::consul::{ConsulServer, ConsulServerBuilder};
use self::controls::controls;
pub use self::error::ServerError;
pub use self::redis::{RedisServer, RedisServerBuilder};

/// How often readiness is asked for, and how many times before the start has failed: 30 s in all.
const READY_POLL: Duration = Duration::from_millis(20);
const READY_POLLS: u32 = 1_500;
/// Starts on other ports after one was taken between its choice and its use.
const START_ATTEMPTS: u32 = 5;
/// As much of a server's log as a failure shows.
const LOG_TAIL_BYTES: usize = 4_000;

/// What becomes of a server's data when it is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// The server comes back with everything it had answered for.
    Keep,
    /// The server comes back empty.
    Lose,
}

/// What sets one kind of server apart from another.
trait Kind: fmt::Debug + Send + Sync + 'static {
    const PROGRAM: &'static str;
    const PORTS: usize;

    /// The arguments that make it listen on `ports` and keep its data in `data`.
    fn configure(&self, command: &mut Command, ports: &[u16], data: &Path) -> io::Result<()>;

    /// Whether this very process, and no stranger on its port, answers.
    fn is_ready(&self, ports: &[u16], pid: u32) -> io::Result<bool>;
}

/// A running server of one kind, with its ports and its folder.
#[derive(Debug)]
struct Server<K> {
    kind: K,
    program: PathBuf,
    ports: Vec<u16>,
    // Dropped in this order: the process first, then the folder that it writes to.
    child: Mutex<Option<Child>>,
    dir: TempDir,
}

impl<K: Kind> Server<K> {
    /// Blocks until the server answers.
    fn start(kind: K) -> Result<Self, ServerError> {
        let refused = |source| ServerError::Io { program: K::PROGRAM, source };
        let mut server = Self::new(kind, Self::ports()?)?;
        let mut attempt = 1;
        loop {
            match server.spawn(Data::Lose) {
                Err(error) if error.is_port_taken() && attempt < START_ATTEMPTS => {
                    attempt += 1;
                    server.ports = local::spare_ports(K::PORTS).map_err(refused)?;
                }
                result => return result.map(|()| server),
            }
        }
    }

    /// Blocks until the server answers on these very ports, which others were told of.
    fn start_on(kind: K, ports: Vec<u16>) -> Result<Self, ServerError> {
        let server = Self::new(kind, ports)?;
        server.spawn(Data::Lose).map(|()| server)
    }

    fn ports() -> Result<Vec<u16>, ServerError> {
        let refused = |source| ServerError::Io { program: K::PROGRAM, source };
        local::spare_ports(K::PORTS).map_err(refused)
    }

    fn new(kind: K, ports: Vec<u16>) -> Result<Self, ServerError> {
        let refused = |source| ServerError::Io { program: K::PROGRAM, source };
        let program =
            local::find(K::PROGRAM).ok_or(ServerError::Missing { program: K::PROGRAM })?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("seawall-{}-", K::PROGRAM))
            .tempdir()
            .map_err(refused)?;
        Ok(Self { kind, program, ports, child: Mutex::new(None), dir })
    }

    /// Kills what still runs, then starts on the same ports and blocks until that answers.
    fn restart(&self, data: Data) -> Result<(), ServerError> {
        self.kill();
        let mut attempt = 1;
        loop {
            match self.spawn(data) {
                // A connection of somebody else may hold the port for a moment.
                Err(error) if error.is_port_taken() && attempt < START_ATTEMPTS => {
                    attempt += 1;
                    local::sleep(Duration::from_millis(200));
                }
                result => return result,
            }
        }
    }

    fn spawn(&self, data: Data) -> Result<(), ServerError> {
        let refused = |source| ServerError::Io { program: K::PROGRAM, source };
        let child = self.launch(data).map_err(refused)?;
        let pid = child.id();
        *self.lock() = Some(child);

        let mut seen = String::from("it never answered");
        for _ in 0..READY_POLLS {
            // The lock is held only to look, so that `kill` and `pause` work meanwhile.
            match self.lock().as_mut().map(Child::try_wait) {
                Some(Ok(None)) => {}
                Some(Ok(Some(status))) => return Err(self.not_ready(format!("it ended: {status}"))),
                Some(Err(error)) => return Err(refused(error)),
                None => return Err(self.not_ready("it was killed while it started".into())),
            }
            match self.kind.is_ready(&self.ports, pid) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => seen = format!("the last attempt to reach it failed: {error}"),
            }
            local::sleep(READY_POLL);
        }
        self.kill();
        Err(self.not_ready(seen))
    }

    fn launch(&self, data: Data) -> io::Result<Child> {
        let files = self.dir.path().join("data");
        if data == Data::Lose && files.exists() {
            fs::remove_dir_all(&files)?;
        }
        fs::create_dir_all(&files)?;
        let log = File::create(self.log_path())?;
        let mut command = Command::new(&self.program);
        command.current_dir(&files).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        self.kind.configure(&mut command, &self.ports, &files)?;
        Child::spawn_in(&mut command, self.dir.path())
    }

    fn kill(&self) {
        if let Some(mut child) = self.lock().take() {
            child.kill().unwrap_or_else(|error| panic!("{} survives: {error}", K::PROGRAM));
        }
    }

    fn pause(&self) {
        self.with_child("pause", Child::pause);
    }

    fn resume(&self) {
        self.with_child("resume", Child::resume);
    }

    fn with_child(&self, what: &str, act: impl FnOnce(&Child) -> io::Result<()>) {
        let guard = self.lock();
        let Some(child) = guard.as_ref() else {
            panic!("cannot {what} {}: it does not run", K::PROGRAM);
        };
        act(child).unwrap_or_else(|error| panic!("cannot {what} {}: {error}", K::PROGRAM));
    }

    fn process_id(&self) -> Option<u32> {
        self.lock().as_ref().map(Child::id)
    }

    fn address(&self, port: usize) -> SocketAddr {
        local::address(self.ports[port])
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn not_ready(&self, reason: String) -> ServerError {
        let log = fs::read(self.log_path()).unwrap_or_default();
        let tail = &log[log.len().saturating_sub(LOG_TAIL_BYTES)..];
        let log = String::from_utf8_lossy(tail).into_owned();
        ServerError::NotReady { program: K::PROGRAM, reason, log }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `work` where blocking hurts nobody. A paused clock of tokio stands still meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("the runtime went away while a server started: {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Missing;

    impl Kind for Missing {
        const PROGRAM: &'static str = "a-server-that-nobody-has";
        const PORTS: usize = 1;

        fn configure(&self, _: &mut Command, _: &[u16], _: &Path) -> io::Result<()> {
            unreachable!("there is nothing to start");
        }

        fn is_ready(&self, _: &[u16], _: u32) -> io::Result<bool> {
            unreachable!("there is nothing to ask");
        }
    }

    #[test]
    fn a_missing_program_is_an_error_that_names_the_remedy() {
        let message = Server::start(Missing).unwrap_err().to_string();
        assert!(message.contains("a-server-that-nobody-has"), "{message}");
        assert!(message.contains("run scripts/servers"), "{message}");
    }

    /// Fails to listen the first time; holds the ports of each start.
    #[derive(Debug, Default)]
    struct Raced(Mutex<Vec<u16>>);

    impl Kind for Raced {
        const PROGRAM: &'static str = "sh";
        const PORTS: usize = 1;

        fn configure(&self, command: &mut Command, ports: &[u16], _: &Path) -> io::Result<()> {
            let mut starts = self.0.lock().unwrap();
            starts.extend(ports);
            let first = starts.len() == 1;
            let fails = "echo bind: Address already in use; exit 1";
            command.args(["-c", if first { fails } else { "sleep 60" }]);
            Ok(())
        }

        fn is_ready(&self, _: &[u16], _: u32) -> io::Result<bool> {
            Ok(self.0.lock().unwrap().len() > 1)
        }
    }

    #[test]
    fn a_port_that_was_taken_meanwhile_is_left_for_another() {
        let server = Server::start(Raced::default()).unwrap();
        let ports = server.kind.0.lock().unwrap().clone();
        assert_eq!(ports.len(), 2, "{ports:?}");
        assert_ne!(ports[0], ports[1]);
        assert_eq!(server.address(0).port(), ports[1]);
    }

    #[test]
    fn a_restart_waits_for_its_own_port() {
        let server = Server::start(Raced::default()).unwrap();
        let port = server.address(0).port();
        server.kind.0.lock().unwrap().clear();
        server.restart(Data::Keep).unwrap();
        assert_eq!(*server.kind.0.lock().unwrap(), [port, port]);
    }
}
