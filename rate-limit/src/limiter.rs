//! The shared handle.

use std::{fmt, sync::Arc, time::Duration};

use seawall_core::{Clock, ConfigError, Instant, Rejection};

use crate::{
    Allowed, Quota, Rejected, Reservation, TokenBucket, UntilReady,
    algorithm::{Algorithm, Booked, Share},
};

/// Says whether a call may go on now, and if not, when. Clones share one quota.
///
/// ```
/// use seawall_rate_limit::{Quota, RateLimiter};
///
/// let limiter = RateLimiter::new(Quota::per_second(10).burst(2))?.named("orders");
/// assert_eq!(limiter.check().map(|allowed| allowed.remaining()).ok(), Some(1));
/// assert!(limiter.check().is_ok());
///
/// let rejected = limiter.check().unwrap_err();
/// assert!(rejected.retry_after() <= Some(std::time::Duration::from_millis(100)));
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
pub struct RateLimiter<A: Algorithm = TokenBucket> {
    shared: Arc<Shared<A>>,
}

struct Shared<A: Algorithm> {
    state: Apart<A::Shared>,
    algorithm: A,
    clock: Clock,
    name: Option<Arc<str>>,
}

/// Keeps what every call writes on cache lines of its own, away from what every call only reads.
/// 128 bytes, because current x86-64 processors fetch lines in pairs.
#[repr(align(128))]
struct Apart<T>(T);

impl RateLimiter<TokenBucket> {
    /// A full token bucket, on the fast clock.
    ///
    /// # Errors
    ///
    /// When `quota` cannot be kept: see [`TokenBucket::new`].
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        Ok(Self::of(TokenBucket::new(quota)?))
    }

    /// Waits until `cost` cells pass, after all who asked before.
    ///
    /// The place in the queue is taken at the first poll, and nobody who asks later, however little,
    /// gets in front. Without [`within`](UntilReady::within) it waits as long as it takes.
    ///
    /// # Errors
    ///
    /// A cost above the burst never passes. With a deadline: a wait that would be too long fails at
    /// once, and changes nothing.
    ///
    /// # Panics
    ///
    /// When it has to wait outside of a tokio runtime with a timer.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it gives back what later callers have not built on: all of its cells
    /// if it was the last in the queue.
    ///
    /// # Cost
    ///
    /// Where nothing is to wait for, that of [`check_n`](Self::check_n). The wait itself is tokio's
    /// timer, which counts milliseconds: a caller wakes up late rather than early.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use seawall_rate_limit::{Clock, Quota, RateLimiter};
    /// use tokio::time::Instant;
    ///
    /// let limiter = RateLimiter::new(Quota::per_second(10).burst(1))?.with_clock(Clock::tokio());
    /// let start = Instant::now();
    /// for _ in 0..5 {
    ///     limiter.until_ready(1).await?;
    /// }
    /// assert_eq!(start.elapsed(), Duration::from_millis(400));
    ///
    /// let late = limiter.until_ready(1).within(Duration::from_millis(99)).await.unwrap_err();
    /// assert_eq!(late.retry_after(), Some(Duration::from_millis(100)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn until_ready(&self, cost: u32) -> UntilReady<'_> {
        UntilReady::new(self, cost)
    }

    /// Takes `cost` cells now and says when the caller may act on them: for callers with a timer of
    /// their own.
    ///
    /// Semantics are those of `ReserveN` in golang's x/time/rate: dropping a reservation keeps its
    /// cells, [`cancel`](Reservation::cancel) gives back what later ones have not built on.
    ///
    /// # Errors
    ///
    /// A cost above the burst never passes. Neither does one whose turn would come in more than 73
    /// years.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall_rate_limit::{Clock, Quota, RateLimiter};
    ///
    /// let (clock, _hand) = Clock::manual();
    /// let limiter = RateLimiter::new(Quota::per_second(1))?.with_clock(clock);
    /// assert_eq!(limiter.reserve(1)?.delay(), Duration::ZERO);
    /// let second = limiter.reserve(1)?;
    /// assert_eq!(second.delay(), Duration::from_secs(1));
    /// second.cancel();
    /// assert_eq!(limiter.reserve(1)?.delay(), Duration::from_secs(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, cost: u32) -> Result<Reservation, Rejected> {
        let booked = self.book(cost, Duration::MAX)?;
        Ok(Reservation::new(self.clone(), booked))
    }
}

impl<A: Algorithm> RateLimiter<A> {
    /// A limiter at rest that decides as `algorithm` does, on the fast clock.
    pub fn of(algorithm: A) -> Self {
        Self::from_parts(algorithm, Clock::fast(), None)
    }

    fn from_parts(algorithm: A, clock: Clock, name: Option<Arc<str>>) -> Self {
        let state = Apart(A::Shared::new(algorithm.rest()));
        Self { shared: Arc::new(Shared { state, algorithm, clock, name }) }
    }

    /// Tells the time by `clock`.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self::from_parts(self.shared.algorithm.clone(), clock, self.shared.name.clone())
    }

    /// Names the limiter in its refusals, headers and snapshots.
    ///
    /// Part of building a limiter: what comes back is at rest and shares nothing with clones that
    /// were made before.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        let Shared { algorithm, clock, .. } = &*self.shared;
        Self::from_parts(algorithm.clone(), clock.clone(), Some(name.into()))
    }

    /// Takes one cell, or says when there is one.
    ///
    /// # Errors
    ///
    /// When there is none; nothing has changed then.
    #[inline]
    pub fn check(&self) -> Result<Allowed, Rejected> {
        self.check_n(1)
    }

    /// Takes `cost` cells, all or none. A cost of 0 takes nothing and always passes.
    ///
    /// # Errors
    ///
    /// When there are too few; nothing has changed then. A cost above what the limiter can ever hold
    /// [never](Rejected::is_never) passes.
    #[inline]
    pub fn check_n(&self, cost: u32) -> Result<Allowed, Rejected> {
        let now = self.now();
        self.shared.algorithm.take_shared(&self.shared.state.0, now, cost)
    }

    /// Takes as many cells as there are, at most `cost`, and says how many that were.
    ///
    /// ```
    /// use seawall_rate_limit::{Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_minute(10))?;
    /// assert_eq!(limiter.check_at_most(7), 7);
    /// assert_eq!(limiter.check_at_most(7), 3);
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    pub fn check_at_most(&self, cost: u32) -> u32 {
        let now = self.now();
        let algorithm = &self.shared.algorithm;
        self.shared.state.0.update(|state| {
            let left = algorithm.look(state, now, 0).map_or(0, |allowed| allowed.remaining());
            let cost = cost.min(left);
            algorithm.take(state, now, cost).map_or(0, |_| cost)
        })
    }

    /// What [`check`](Self::check) would answer; takes nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peek(&self) -> Result<Allowed, Rejected> {
        self.look(1)
    }

    /// How the limiter stands.
    pub fn snapshot(&self) -> Snapshot {
        let (remaining, reset_after) = match self.look(0) {
            Ok(allowed) => (allowed.remaining(), allowed.reset_after()),
            Err(rejected) => (rejected.remaining(), rejected.reset_after()),
        };
        let quota = self.quota();
        Snapshot { name: self.shared.name.clone(), quota, remaining, reset_after }
    }

    /// What it limits to.
    pub fn quota(&self) -> Quota {
        self.shared.algorithm.quota()
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// `rejected` in the words that all crates share, in the name of this limiter.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        let rejection = Rejection::from(rejected);
        match &self.shared.name {
            Some(name) => rejection.by(name.clone()),
            None => rejection,
        }
    }

    pub(crate) fn look(&self, cost: u32) -> Result<Allowed, Rejected> {
        let now = self.now();
        self.shared.state.0.read(|state| self.shared.algorithm.look(state, now, cost))
    }

    pub(crate) fn book(&self, cost: u32, patience: Duration) -> Result<Booked, Rejected> {
        let now = self.now();
        let patience_nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let Shared { state, algorithm, .. } = &*self.shared;
        state.0.update(|state| algorithm.book(state, now, cost, patience_nanos))
    }

    pub(crate) fn unbook(&self, booked: &Booked) {
        let now = self.now();
        let Shared { state, algorithm, .. } = &*self.shared;
        state.0.update(|state| algorithm.unbook(state, now, booked));
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.shared.clock.now()
    }
}

impl<A: Algorithm> Clone for RateLimiter<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<A: Algorithm> fmt::Debug for RateLimiter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Snapshot { name, quota, remaining, reset_after } = self.snapshot();
        f.debug_struct("RateLimiter")
            .field("name", &name)
            .field("quota", &quota)
            .field("remaining", &remaining)
            .field("reset_after", &reset_after)
            .finish()
    }
}

/// How a limiter stood when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// What it limits to.
    pub quota: Quota,
    /// How many cells are left.
    pub remaining: u32,
    /// How long until it is at rest, if nobody calls until then.
    pub reset_after: Duration,
}
