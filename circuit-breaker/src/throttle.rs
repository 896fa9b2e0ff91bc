//! Sends an overloaded callee less, as far as it refuses: adaptive throttling on the client's side.
//!
//! A callee that refuses a call has spent work on it all the same; when many clients go on asking, the
//! refusals alone keep it down. A [`Throttle`] counts what it sends and what is accepted, and refuses
//! a part of its calls itself, the greater the more the callee refuses. Unlike a breaker it has no
//! states: some calls always pass, and a callee that can serve half of the calls goes on serving them.
//!
//! # Algorithm
//!
//! Client-side throttling of Google's *Site Reliability Engineering*, chapter "Handling Overload"
//! (Alejandro Forero Cuervo, 2016, <https://sre.google/sre-book/handling-overload/>). A call is
//! refused with the probability
//!
//! ```text
//! max(0, (requests − K · accepts) / (requests + padding))
//! ```
//!
//! over the last two minutes. What this crate refuses counts as a request and not as an accept, so
//! that the share of refusals follows the load. With K = 2 a callee gets up to twice the calls that it
//! accepts: enough for it to show that it has recovered. `padding` is 1 in the book.
//!
//! - **A call counts when it ends**, not when it starts: one in flight was neither accepted nor
//!   refused, and a first burst of n calls would else be refused to (n − 1)/n.
//! - **Accepted** is what the callee took on, be it in vain: see [`Accepted`] for HTTP, and [`grpc`]
//!   for gRPC. An overload shows as a refusal; a bug that fails half of the calls is no reason to send
//!   less, and is a breaker's concern.
//! - **Priorities** are the book's four criticalities, and each is counted for itself, as there. In
//!   addition each has its own K, smaller for the less critical: a callee that knows nothing of
//!   priorities refuses them all alike, and the smaller K sheds first. Counted together, refusals of
//!   sheddable calls would weigh against the critical ones.
//! - **The window** moves in sixteenths, as a breaker's does.
//!
//! # When not to use this
//!
//! The formula takes for granted that a callee that is asked less refuses less. One that goes on to
//! refuse more than 1 − 1/K of the calls however few there are ends up with hardly any: where that is
//! not an overload, a [breaker](crate::CircuitBreaker) is the right tool. And a client that calls
//! once in a while learns too little to throttle by.
//!
//! # Cost
//!
//! A call reads the clock at each end and writes one shared word when it ends. While something in the
//! window was refused, an admission adds up sixteen buckets. Nothing is allocated; a lock is taken by
//! the first call of each bucket, for some dozens of instructions.
//!
//! # Examples
//!
//! ```
//! use seawall_circuit_breaker::throttle::{Config, Priority, Throttle};
//!
//! let throttle = Throttle::builder(Config::default()).named("orders").seed(7).build();
//! // The callee refuses everything.
//! let mut sent = 0;
//! for _ in 0..1_000 {
//!     if let Ok(permit) = throttle.admit(Priority::Critical) {
//!         sent += 1;
//!         permit.refused();
//!     }
//! }
//! assert!(sent < 20, "it was asked {sent} times in place of 1,000");
//! // Calls of another priority have not been refused, and pass.
//! throttle.admit(Priority::CriticalPlus)?.accepted();
//! # Ok::<(), seawall_circuit_breaker::throttle::Rejected>(())
//! ```

#[cfg(feature = "http")]
mod accepted;
mod builder;
mod config;
mod events;
mod layer;
mod odds;
mod permit;
mod priority;
mod rejected;
mod shared;
mod snapshot;
#[cfg(feature = "serde")]
mod spec;

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use seawall_core::Rejection;

use self::shared::Shared;

#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use accepted::Accepted;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub use accepted::grpc;
pub use builder::ThrottleBuilder;
pub use config::{Builder, Config};
pub use events::{Observer, Shedding};
pub use layer::{ByPriority, ThrottleLayer, ThrottleService};
pub use permit::ThrottlePermit;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use priority::InExtensions;
pub use priority::{Prioritize, Priority};
pub use rejected::Rejected;
pub use snapshot::{Class, Snapshot};

/// An adaptive throttle. Clones share its state.
///
/// The [module](self) says how it decides and what that costs.
#[derive(Clone)]
pub struct Throttle {
    shared: Arc<Shared>,
}

/// A panic in a call finds the throttle whole: it counts as a call that was not accepted.
impl UnwindSafe for Throttle {}
impl RefUnwindSafe for Throttle {}

impl Throttle {
    /// A throttle with the fast clock.
    pub fn new(config: Config) -> Self {
        Self::builder(config).build()
    }

    /// Sets up a throttle with a name, a clock, an observer or a seed.
    pub fn builder(config: Config) -> ThrottleBuilder {
        ThrottleBuilder::new(config)
    }

    /// Asks for the right to make one call.
    ///
    /// # Errors
    ///
    /// The throttle refuses, by chance.
    #[inline]
    pub fn admit(&self, priority: Priority) -> Result<ThrottlePermit, Rejected> {
        self.shared.admit(priority).map(|ticket| ThrottlePermit::new(self.shared.clone(), ticket))
    }

    /// What it has seen, and with which probability it refuses.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// The name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Takes over `config` while calls are running.
    ///
    /// Another window begins to count anew, and calls in flight count no more; everything else applies
    /// from the next call on to what was counted.
    pub fn reconfigure(&self, config: Config) {
        self.shared.reconfigure(config);
    }

    /// `rejected` with the throttle's name, as services return it.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        let rejection = Rejection::from(rejected);
        match &self.shared.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("name", &self.name()).finish_non_exhaustive()
    }
}
