//! Whether a service would take a call, asked before there is one.

/// What a service would do with a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It would take it.
    #[default]
    Open,
    /// It would take it to find out whether it can take others, as a half-open breaker does.
    Trial,
    /// It would refuse it.
    Refused,
}

impl Admission {
    /// Whether a call would be taken.
    pub const fn admits(self) -> bool {
        !matches!(self, Self::Refused)
    }
}

/// A service that can say beforehand whether it would refuse a call, such as one behind a breaker
/// or a concurrency limit.
///
/// A balancer asks it of the services of its endpoints and picks another one. The answer is of the
/// moment: a call that comes later may be refused all the same.
///
/// # Cost
///
/// Asked for each candidate of each pick, so it should be a few loads, without a lock.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering::Relaxed}};
/// use seawall_core::{Admission, Foretell};
///
/// /// A service that has room for a number of calls.
/// struct Limited<S> { inner: S, free: Arc<AtomicUsize> }
///
/// impl<S> Foretell for Limited<S> {
///     fn admission(&self) -> Admission {
///         if self.free.load(Relaxed) > 0 { Admission::Open } else { Admission::Refused }
///     }
/// }
///
/// let limited = Limited { inner: (), free: Arc::default() };
/// assert!(!limited.admission().admits());
/// ```
pub trait Foretell {
    /// What a call would meet now.
    fn admission(&self) -> Admission;
}
