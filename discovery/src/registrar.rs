//! Putting an instance into a registry.

use std::{error::Error as StdError, fmt, sync::Arc};

use futures_core::future::BoxFuture;
use seawall_core::{BoxError, ConfigError};

use crate::{Lease, Registration};

/// A registry that instances can be registered with.
///
/// The trait is object-safe: an `Arc<dyn Registrar>` is a registrar too.
pub trait Registrar: Send + Sync + 'static {
    /// Registers an instance and keeps it registered for as long as the lease lives.
    ///
    /// Must be called in a tokio runtime, which then carries the lease's heartbeats.
    ///
    /// # Errors
    ///
    /// When the registry does not take the registration now. Nothing is tried again: the caller
    /// knows best whether to start without it.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it resolves may leave the registration in the registry,
    /// until its TTL and [`forget_after`](crate::RegistrationBuilder::forget_after) have passed.
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>>;
}

impl<R: Registrar + ?Sized> Registrar for Arc<R> {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Lease, RegisterError>> {
        (**self).register(registration)
    }
}

/// Why a registry did not do what it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// The registration holds something that this registry cannot do.
    Config(ConfigError),
    /// No connection, or no answer in time.
    Unreachable {
        /// Which registry.
        registry: String,
        /// What went wrong on the way.
        source: BoxError,
    },
    /// The registry answered that it cannot serve right now, such as without a leader.
    Unavailable {
        /// Which registry.
        registry: String,
        /// What it said.
        message: String,
    },
    /// The credentials do not suffice.
    Denied {
        /// Which registry.
        registry: String,
        /// What it said.
        message: String,
    },
    /// The registry does not know the instance, or the check that belongs to it.
    Unknown {
        /// Which registry.
        registry: String,
        /// What it said.
        message: String,
    },
    /// The registry refused the request for what it says.
    Refused {
        /// Which registry.
        registry: String,
        /// What it said.
        message: String,
    },
    /// The registry answered what cannot be understood.
    Garbled {
        /// Which registry.
        registry: String,
        /// What is wrong with the answer.
        source: BoxError,
    },
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Unreachable { registry, .. } => write!(f, "{registry} is unreachable"),
            Self::Unavailable { registry, message } => {
                write!(f, "{registry} is unavailable: {message}")
            }
            Self::Denied { registry, message } => write!(f, "{registry} denies access: {message}"),
            Self::Unknown { registry, message } => {
                write!(f, "{registry} does not know the instance: {message}")
            }
            Self::Refused { registry, message } => write!(f, "{registry} refused: {message}"),
            Self::Garbled { registry, .. } => {
                write!(f, "{registry} answered what cannot be understood")
            }
        }
    }
}

impl StdError for RegisterError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Unreachable { source, .. } | Self::Garbled { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

impl From<ConfigError> for RegisterError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl RegisterError {
    /// The whole story on one line: the message and what caused it, joined by `: `.
    ///
    /// ```
    /// use seawall_discovery::RegisterError;
    ///
    /// let error = RegisterError::Unreachable {
    ///     registry: "consul at http://127.0.0.1:8500".into(),
    ///     source: std::io::Error::other("connection refused").into(),
    /// };
    /// assert_eq!(
    ///     error.line(),
    ///     "consul at http://127.0.0.1:8500 is unreachable: connection refused",
    /// );
    /// ```
    pub fn line(&self) -> String {
        let mut line = self.to_string();
        // The message of a bad configuration is its cause's.
        let mut next = if matches!(self, Self::Config(_)) { None } else { self.source() };
        while let Some(error) = next {
            let text = error.to_string();
            // Wrappers often repeat what they wrap.
            if !line.ends_with(&text) {
                line = format!("{line}: {text}");
            }
            next = error.source();
        }
        line
    }
}
