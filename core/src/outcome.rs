//! How a call ended, and who is told.

use std::time::Duration;

/// How a call ended, as far as the callee's health is concerned.
///
/// A call that its caller dropped has none of these: its [`Guard`] is dropped instead, and the
/// policy of whoever made the guard decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The callee answered as it should, be it with "not found".
    Success,
    /// The callee failed, or nothing came back from it.
    Failure,
    /// Says nothing about the callee, such as a refusal by a layer of ours.
    Ignored,
}

/// Where the failure of a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The callee answered that it failed.
    Answer,
    /// A gateway answered in the callee's place, or the callee that it cannot serve: HTTP 502, 503
    /// and 504, gRPC UNAVAILABLE.
    Gateway,
    /// No whole answer came: the connection was refused or reset, or the time was over.
    Local,
}

/// The right to make one call, held until the call has ended.
///
/// Breakers, balancers and concurrency limiters each hand out one. Whoever follows the call tells
/// it the outcome, exactly once; dropping it untold means that the caller abandoned the call.
///
/// # Cancel safety
///
/// A guard lives inside the future of the call, then inside the body of its response. Both can be
/// dropped at any point, so whatever it holds is given back in `Drop`, not in
/// [`finish`](Self::finish) alone.
///
/// # Examples
///
/// A guard of your own: one that counts what is in flight and how calls end.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}};
/// use seawall_core::{AnyError, AtResult, Guard, Outcome, Track};
///
/// #[derive(Default)]
/// struct Gauge { in_flight: AtomicUsize, failures: AtomicUsize }
///
/// struct Permit(Arc<Gauge>);
///
/// impl Permit {
///     fn new(gauge: &Arc<Gauge>) -> Self {
///         gauge.in_flight.fetch_add(1, Relaxed);
///         Self(gauge.clone())
///     }
/// }
///
/// impl Guard for Permit {
///     fn finish(self, outcome: Outcome) {
///         if outcome == Outcome::Failure {
///             self.0.failures.fetch_add(1, Relaxed);
///         }
///         // Dropped here, which counts it out.
///     }
/// }
///
/// impl Drop for Permit {
///     fn drop(&mut self) {
///         self.0.in_flight.fetch_sub(1, Relaxed);
///     }
/// }
///
/// let gauge = Arc::new(Gauge::default());
/// let permit = Permit::new(&gauge);
/// assert_eq!(gauge.in_flight.load(Relaxed), 1);
/// // In a service this runs when the inner future resolves.
/// let result: Result<(), std::fmt::Error> = Err(std::fmt::Error);
/// let _ = AtResult(AnyError).track(result, permit);
/// assert_eq!((gauge.in_flight.load(Relaxed), gauge.failures.load(Relaxed)), (0, 1));
/// ```
pub trait Guard {
    /// The callee has answered: the head of an HTTP response, or the first frame of a gRPC one.
    ///
    /// Latency ends here; the call itself may go on in its body. Called at most once, before
    /// [`finish`](Self::finish), and not at all when the call fails before an answer.
    fn answered(&mut self) {}

    /// The callee asked to be left alone for `wait`, by `Retry-After`, gRPC pushback or RetryInfo.
    ///
    /// The callee's word as it came, without a bound. Called at most once, before
    /// [`finish`](Self::finish).
    fn retry_after(&mut self, wait: Duration) {
        let _ = wait;
    }

    /// Where the failure comes from that [`finish`](Self::finish) is about to tell; the last one told
    /// counts.
    ///
    /// Untold, a failure after [`answered`](Self::answered) is [`Fault::Answer`] and one before it
    /// is [`Fault::Local`].
    fn fault(&mut self, fault: Fault) {
        let _ = fault;
    }

    /// The call has ended.
    fn finish(self, outcome: Outcome);

    /// The callee has answered, and with that the call has ended: [`answered`](Self::answered), then
    /// [`finish`](Self::finish), for guards that can tell both in one step.
    fn finish_answered(mut self, outcome: Outcome)
    where
        Self: Sized,
    {
        self.answered();
        self.finish(outcome);
    }
}

/// Tells both, the first one first.
impl<A: Guard, B: Guard> Guard for (A, B) {
    fn answered(&mut self) {
        self.0.answered();
        self.1.answered();
    }

    fn retry_after(&mut self, wait: Duration) {
        self.0.retry_after(wait);
        self.1.retry_after(wait);
    }

    fn fault(&mut self, fault: Fault) {
        self.0.fault(fault);
        self.1.fault(fault);
    }

    fn finish(self, outcome: Outcome) {
        self.0.finish(outcome);
        self.1.finish(outcome);
    }

    fn finish_answered(self, outcome: Outcome) {
        self.0.finish_answered(outcome);
        self.1.finish_answered(outcome);
    }
}

/// `None` is a call that nobody watches.
impl<G: Guard> Guard for Option<G> {
    fn answered(&mut self) {
        if let Some(guard) = self {
            guard.answered();
        }
    }

    fn retry_after(&mut self, wait: Duration) {
        if let Some(guard) = self {
            guard.retry_after(wait);
        }
    }

    fn fault(&mut self, fault: Fault) {
        if let Some(guard) = self {
            guard.fault(fault);
        }
    }

    fn finish(self, outcome: Outcome) {
        if let Some(guard) = self {
            guard.finish(outcome);
        }
    }

    fn finish_answered(self, outcome: Outcome) {
        if let Some(guard) = self {
            guard.finish_answered(outcome);
        }
    }
}
