//! Why a test server did not start.

use std::fmt;
use std::io;

/// A test server did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// The program is neither on `PATH` nor in `target/servers`.
    Missing {
        /// The name of the program.
        program: &'static str,
    },
    /// The program ended, or never answered.
    NotReady {
        /// The name of the program.
        program: &'static str,
        /// What was seen of it.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// The system refused a file, a port or a process.
    Io {
        /// The name of the program.
        program: &'static str,
        /// The refusal.
        source: io::Error,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(
                f,
                "{program} is neither on PATH nor in target/servers/bin: run scripts/servers, \
                 which unpacks it there without root, or put {program} on PATH"
            ),
            Self::NotReady { program, reason, log } => {
                write!(f, "{program} did not start: {reason}; the end of its log:\n{log}")
            }
            Self::Io { program, .. } => write!(f, "the system refused to start {program}"),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl ServerError {
    /// Whether somebody else took a port between its choice and its use.
    pub(super) fn is_port_taken(&self) -> bool {
        matches!(self, Self::NotReady { log, .. }
            if log.to_lowercase().contains("address already in use"))
    }
}
