//! How a call of a resilient client fails.

use std::{error::Error as StdError, fmt, time::Duration};

use seawall_core::{AddressError, BoxError, ConfigError, Rejection};

/// What a call ended in when there is no response.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// A layer of ours refused the call; nothing was sent.
    Rejected(Rejection),
    /// No response began within the time that the policy gives a call, or its last attempt.
    TimedOut(Duration),
    /// The last attempt failed under way.
    Transport(E),
    /// The request could not be sent even once, because its body was used up before.
    NotReplayable,
}

impl<E> Error<E> {
    /// The refusal, if a layer of ours made one.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::TimedOut(_) | Self::Transport(_) | Self::NotReplayable => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => rejection.fmt(f),
            Self::TimedOut(limit) => write!(f, "no response within {limit:?}"),
            Self::Transport(error) => error.fmt(f),
            Self::NotReplayable => f.write_str("request body was used up before it was sent"),
        }
    }
}

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Transport(error) => Some(error),
            Self::TimedOut(_) | Self::NotReplayable => None,
        }
    }
}

/// Why a client could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A value of the policy, or of the builder, is out of its range.
    Config(ConfigError),
    /// An endpoint's address is none.
    Address(AddressError),
    /// There is no tokio runtime here, in which to follow a resolver.
    NoRuntime,
    /// The client is shut down, and no policy can be put in force.
    ShutDown,
    /// The transport's own client could not be made, for want of a TLS backend for instance.
    Transport(BoxError),
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AddressError> for BuildError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Address(error) => error.fmt(f),
            Self::NoRuntime => f.write_str("a client with a resolver is built in a tokio runtime"),
            Self::ShutDown => f.write_str("the client is shut down"),
            Self::Transport(error) => error.fmt(f),
        }
    }
}

impl StdError for BuildError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Address(error) => Some(error),
            Self::Transport(error) => Some(&**error),
            Self::NoRuntime | Self::ShutDown => None,
        }
    }
}
