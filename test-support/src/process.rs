//! Child processes that are killed, paused and resumed, and that never outlive their test.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Waits for a line or the end of its input, which comes when the parent dies in whatever way, then
/// kills the process group and removes its folder.
///
/// Chosen over the parent-death signal of Linux, which needs `unsafe` code between fork and exec
/// and fires when the spawning thread ends, as the threads of a runtime do.
const WATCHDOG: &str = r#"read -r _; kill -9 "-$1"; [ -z "$2" ] || rm -rf "$2""#;

/// A child process in a process group of its own, killed when dropped.
///
/// It also dies with the process that started it, even when that one is killed: a second, tiny
/// process watches over it.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    watchdog: std::process::Child,
    exited: Option<ExitStatus>,
}

impl Child {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// When the program, or the shell that watches over it, does not start.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        Self::spawn_with(command, None)
    }

    /// Starts `command`, whose folder `dir` is removed should the parent die before it can do so
    /// itself.
    ///
    /// # Errors
    ///
    /// As [`Child::spawn`].
    pub fn spawn_in(command: &mut Command, dir: &Path) -> io::Result<Self> {
        Self::spawn_with(command, Some(dir))
    }

    fn spawn_with(command: &mut Command, dir: Option<&Path>) -> io::Result<Self> {
        // Its own group keeps a terminal's Ctrl-C away: the watchdog ends it in an orderly way.
        let mut process = command.process_group(0).spawn()?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &process.id().to_string()])
            .arg(dir.unwrap_or(Path::new("")))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { process, watchdog, exited: None }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error)
            }
        }
    }

    /// The id of the process, which is that of its group too.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the process (SIGKILL) and waits for its end. Also ends one that is paused.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent. A process that already ended is no error.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.try_wait()?.is_none() {
            self.signal(Signal::KILL)?;
            self.wait()?;
        }
        Ok(())
    }

    /// Asks the process to end (SIGTERM), without waiting for it.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops the process (SIGSTOP) and returns when it stands still: it then accepts connections,
    /// as the kernel does that, and answers nothing.
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // `NOWAIT` leaves the state in place, so that `wait` still finds an exit.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(WaitId::Pid(self.pid()), stopped)?;
        match status {
            Some(status) if status.stopped() => Ok(()),
            _ => Err(io::Error::other("the process ended before it could be paused")),
        }
    }

    /// Continues a paused process (SIGCONT).
    ///
    /// # Errors
    ///
    /// When the process has ended.
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits for the end of the process. Blocks the thread.
    ///
    /// # Errors
    ///
    /// When the system refuses to wait.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait()?;
        Ok(self.ended(status))
    }

    /// How the process ended, or `None` while it runs or is paused.
    ///
    /// # Errors
    ///
    /// When the system refuses to tell.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let status = self.process.try_wait()?;
        Ok(status.map(|status| self.ended(status)))
    }

    /// The process id is free from here on, so the watchdog goes before it could kill a stranger.
    fn ended(&mut self, status: ExitStatus) -> ExitStatus {
        if self.exited.replace(status).is_none() {
            let _ = self.watchdog.kill();
            let _ = self.watchdog.wait();
        }
        status
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.exited.is_some() {
            return Err(io::Error::other("the process has ended"));
        }
        Ok(rustix::process::kill_process_group(self.pid(), signal)?)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
