//! What a balancer tells those who watch it.

use std::{fmt, sync::Arc, time::Duration};

use seawall_core::{EndpointId, Outcome, Rejection};

/// Watches a balancer: [`ConfigBuilder::observer`](crate::ConfigBuilder::observer).
///
/// Every method does nothing unless implemented. `name` is the balancer's. They run on the thread
/// that caused the event, outside any lock of the balancer, so they may use it; they should be quick
/// and must not panic.
///
/// # Cost
///
/// Without an observer, none. [`answered`](Self::answered) and [`ended`](Self::ended) cost each call
/// a reading of the clock, and so are told only where [`watches_calls`](Self::watches_calls) asks.
pub trait Observer: Send + Sync {
    /// Whether each call is told. Asked once, when the balancer is made.
    fn watches_calls(&self) -> bool {
        false
    }

    /// An endpoint answered this long after it was picked.
    fn answered(&self, name: Option<&str>, endpoint: &EndpointId, latency: Duration) {
        let _ = (name, endpoint, latency);
    }

    /// A call ended; `None` when its caller abandoned it.
    fn ended(&self, name: Option<&str>, endpoint: &EndpointId, outcome: Option<Outcome>) {
        let _ = (name, endpoint, outcome);
    }

    /// An endpoint was taken out.
    fn ejected(&self, name: Option<&str>, ejected: &Ejected<'_>) {
        let _ = (name, ejected);
    }

    /// An endpoint that was out is back.
    fn returned(&self, name: Option<&str>, returned: &Returned<'_>) {
        let _ = (name, returned);
    }

    /// Panic began or ended. Where the set is in parts (priorities, subsets), it is that of a part that
    /// gets calls, and told by the first pick after it.
    fn panic(&self, name: Option<&str>, panic: &Panic) {
        let _ = (name, panic);
    }

    /// The active checks of an endpoint changed their mind.
    fn checked(&self, name: Option<&str>, endpoint: &EndpointId, passing: bool) {
        let _ = (name, endpoint, passing);
    }

    /// The service of an endpoint could not be made.
    fn not_made(&self, name: Option<&str>, endpoint: &EndpointId, error: &str) {
        let _ = (name, endpoint, error);
    }

    /// There was no connection to an endpoint to send a call on: it could not be made, it closed
    /// before it took the call, or the endpoint's service failed before it was ready. Told for each
    /// endpoint that a call meets so, as far as [`JudgeUnsent`](crate::JudgeUnsent) knows.
    ///
    /// The address may be out of date: a reason to ask its source again.
    fn unreachable(&self, name: Option<&str>, endpoint: &EndpointId) {
        let _ = (name, endpoint);
    }

    /// A call was refused, because there was no endpoint for it.
    fn rejected(&self, name: Option<&str>, rejection: &Rejection) {
        let _ = (name, rejection);
    }
}

/// An endpoint that was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ejected<'a> {
    /// Which one.
    pub endpoint: &'a EndpointId,
    /// Why.
    pub cause: EjectCause,
    /// For how long.
    pub time: Duration,
}

/// Why an endpoint was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EjectCause {
    /// It failed in a row.
    ConsecutiveFailures,
    /// It answered in a row that a gateway or it itself cannot serve.
    ConsecutiveGatewayFailures,
    /// In a row, no whole answer came from it.
    ConsecutiveLocalFailures,
    /// Its share of successes was far below that of the others.
    SuccessRate,
    /// Too large a part of its calls failed.
    FailurePercentage,
    /// It asked to be left alone. This is no ejection that counts.
    RetryAfter,
    /// Somebody took it out.
    ByHand,
}

impl EjectCause {
    /// The form that logs and metrics use, such as `success_rate`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::ConsecutiveGatewayFailures => "consecutive_gateway_failures",
            Self::ConsecutiveLocalFailures => "consecutive_local_failures",
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::RetryAfter => "retry_after",
            Self::ByHand => "by_hand",
        }
    }
}

/// An endpoint that is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Returned<'a> {
    /// Which one.
    pub endpoint: &'a EndpointId,
    /// Somebody brought it back before its time was over.
    pub by_hand: bool,
}

/// A change of panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// It began: endpoints that are not well are used again.
    pub began: bool,
    /// Endpoints that are well.
    pub well: usize,
    /// All endpoints that are not drained.
    pub endpoints: usize,
}

/// An observer in a configuration, with the name that it is told.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Watch {
    /// Tells the observer, if there is one.
    #[inline]
    pub(crate) fn tell(&self, tell: impl FnOnce(&dyn Observer, Option<&str>)) {
        if let Some(observer) = &self.observer {
            tell(&**observer, self.name.as_deref());
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("name", &self.name)
            .field("observed", &self.observer.is_some())
            .finish()
    }
}
