//! What a breaker tells those who watch it.

use std::time::Duration;

use seawall_core::Instant;

use crate::{Counts, Mode, Rejected, State};

/// Watches a breaker: [`Builder::observer`](crate::CircuitBreakerBuilder::observer).
///
/// Every method does nothing unless implemented. They run on the thread whose call caused the event,
/// outside any lock of the breaker, so they may use it; they should be quick and must not panic.
/// Two threads may tell of two transitions in either order: their generations say which was first.
pub trait Observer: Send + Sync {
    /// The breaker changed its state or its mode.
    fn transition(&self, name: Option<&str>, transition: &Transition) {
        let _ = (name, transition);
    }

    /// The breaker refused a call; in [`Mode::Shadow`], it would have.
    fn rejected(&self, name: Option<&str>, rejected: &Rejected, shadow: bool) {
        let _ = (name, rejected, shadow);
    }
}

/// A change of state or mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state from now on.
    pub to: State,
    /// Who decides from now on.
    pub mode: Mode,
    /// The generation that begins: greater than every one before it.
    pub generation: u64,
    /// When it happened, by the breaker's clock.
    pub at: Instant,
    /// Why it happened.
    pub cause: Cause,
    /// How long calls will be refused, when that is known.
    pub wait: Option<Duration>,
    /// What the window held when the breaker opened; empty for other changes.
    pub counts: Counts,
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Enough failures without a success between them.
    ConsecutiveFailures,
    /// The window held too many failures.
    Failures,
    /// Too large a share of the calls failed.
    FailureRate,
    /// Too large a share of the calls was slow, with those in flight where they count.
    SlowCallRate,
    /// A policy of the user's own.
    Policy,
    /// The wait was over, and a call became the first probe.
    WaitOver,
    /// Enough probes succeeded.
    Recovered,
    /// A probe failed or did not answer, or too many did.
    ProbesFailed,
    /// Somebody reset the breaker or changed its mode.
    ByHand,
    /// A configuration with another window; the state stays.
    Reconfigured,
}

impl Cause {
    /// The form that logs and metrics use, such as `consecutive_failures`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::Failures => "failures",
            Self::FailureRate => "failure_rate",
            Self::SlowCallRate => "slow_call_rate",
            Self::Policy => "policy",
            Self::WaitOver => "wait_over",
            Self::Recovered => "recovered",
            Self::ProbesFailed => "probes_failed",
            Self::ByHand => "by_hand",
            Self::Reconfigured => "reconfigured",
        }
    }
}
