//! The demo as a child of a test.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// The program, with its report in `folder`.
pub(crate) fn demo(folder: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(flags).arg("--report").arg(folder.join("report.html"));
    command.stdin(Stdio::null());
    command
}

/// Runs it with flags that it refuses and gives its only line.
pub(crate) fn refusal(flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let Output { status, stdout, stderr } = demo(folder.path(), flags).output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{flags:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{flags:?}: {said}");
    assert!(stdout.is_empty(), "{flags:?}");
    said
}

/// A demo that runs until it is told not to.
pub(crate) struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.arg("--plain").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line of its output that holds `text`.
    pub(crate) fn says(&mut self, text: &str) {
        let said = self.lines.by_ref().map(Result::unwrap).any(|line| line.contains(text));
        assert!(said, "it ends without saying {text}");
    }

    /// The ids of its servers.
    pub(crate) fn servers(&self) -> Vec<u32> {
        let id = self.child.id();
        let tasks = fs::read_dir(format!("/proc/{id}/task")).unwrap();
        let children = tasks.map(|task| {
            fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default()
        });
        let children: String = children.collect();
        children.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The rest of what it says, and its exit code.
    pub(crate) fn end(mut self) -> (String, Option<i32>) {
        let rest: Vec<_> = self.lines.by_ref().map(Result::unwrap).collect();
        (rest.join("\n"), self.child.wait().unwrap().code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether none of these runs after a while. One that ended and was not yet reaped does not run.
pub(crate) async fn all_end(servers: &[u32]) -> bool {
    for _ in 0..500 {
        if !servers.iter().any(|id| runs(*id)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn runs(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
