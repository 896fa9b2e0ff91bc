//! The shared handle.

mod build;
mod change;
mod snapshot;

use std::{fmt, sync::Arc, time::Duration};

use seawall_core::{Clock, Instant, Rejection};

pub use self::snapshot::Snapshot;

use crate::{
    Allowed, Quota, Rejected, Reservation, TokenBucket, UntilReady,
    algorithm::{Algorithm, Booked, Share},
    watch::Watch,
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
    state: A::Shared,
    clock: Clock,
    watch: Watch,
}

impl<A: Algorithm> RateLimiter<A> {
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
    pub fn until_ready(&self, cost: u32) -> UntilReady<'_, A> {
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
    /// A cost above the burst or the limit never passes. In a bucket, neither does one whose turn
    /// would come in more than 73 years; in a window, nothing is booked while calls are due at 65,536
    /// instants.
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
    pub fn reserve(&self, cost: u32) -> Result<Reservation<A>, Rejected> {
        self.reserve_within(cost, Duration::MAX)
    }

    pub(crate) fn reserve_within(
        &self,
        cost: u32,
        patience: Duration,
    ) -> Result<Reservation<A>, Rejected> {
        let booked = match self.acquire(cost, patience)? {
            Acquired::Now(_) => Booked::now(self.now(), cost),
            Acquired::Later(booked) => booked,
        };
        Ok(Reservation::new(self.clone(), booked))
    }

    /// Takes one cell, or says when there is one.
    ///
    /// # Errors
    ///
    /// When there is none; nothing has changed then.
    #[inline(always)]
    pub fn check(&self) -> Result<Allowed, Rejected> {
        self.check_n(1)
    }

    /// Takes `cost` cells, all or none. A cost of 0 takes nothing and always passes.
    ///
    /// # Errors
    ///
    /// When there are too few; nothing has changed then. A cost above what the limiter can ever hold
    /// [never](Rejected::is_never) passes.
    #[inline(always)]
    pub fn check_n(&self, cost: u32) -> Result<Allowed, Rejected> {
        // Kept apart, so that an answer that nobody is told of is not copied.
        if self.shared.watch.is_watching() { self.tell(cost) } else { self.take(cost) }
    }

    /// Takes `cost` cells for a call that is not important: only when as many as the
    /// [reserve](Self::set_reserve) would be left.
    ///
    /// ```
    /// use seawall_rate_limit::{Quota, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(Quota::per_minute(10))?;
    /// limiter.set_reserve(4);
    /// assert!(limiter.check_sheddable(6).is_ok());
    /// assert!(limiter.check_sheddable(1).is_err());
    /// assert!(limiter.check_n(4).is_ok());
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When too few would be left; nothing has changed then. It says when the same call passes, which
    /// is never when the cost and the reserve are more than the limiter can ever hold.
    pub fn check_sheddable(&self, cost: u32) -> Result<Allowed, Rejected> {
        let Shared { state, clock, watch } = &*self.shared;
        watch.tell(cost, state.take(clock.now(), cost, watch.reserve()))
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
    ///
    /// In [shadow mode](Self::set_shadow) too, because it refuses nothing.
    pub fn check_at_most(&self, cost: u32) -> u32 {
        self.shared.state.take_at_most(self.now(), cost)
    }

    /// What [`check`](Self::check) would answer; takes nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn peek(&self) -> Result<Allowed, Rejected> {
        self.look(1)
    }

    /// What it limits to.
    pub fn quota(&self) -> Quota {
        self.shared.state.algorithm().quota()
    }

    /// All quotas that it keeps: more than one where it keeps
    /// [several](crate::algorithm::Several).
    pub fn quotas(&self) -> Vec<Quota> {
        self.shared.state.algorithm().quotas()
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.shared.watch.name()
    }

    /// `rejected` in the words that all crates share, in the name of this limiter.
    pub fn rejection(&self, rejected: Rejected) -> Rejection {
        self.shared.watch.rejection(rejected)
    }

    pub(crate) fn look(&self, cost: u32) -> Result<Allowed, Rejected> {
        self.shared.state.look(self.now(), cost, 0)
    }

    /// Decides, and tells nobody.
    #[inline(always)]
    pub(crate) fn take(&self, cost: u32) -> Result<Allowed, Rejected> {
        let Shared { state, clock, .. } = &*self.shared;
        state.take(clock.now(), cost, 0)
    }

    #[inline(never)]
    fn tell(&self, cost: u32) -> Result<Allowed, Rejected> {
        self.shared.watch.tell(cost, self.take(cost))
    }

    /// Takes `cost` cells now or, in turn, within `patience`.
    #[inline]
    pub(crate) fn acquire(&self, cost: u32, patience: Duration) -> Result<Acquired, Rejected> {
        // Where somebody waits, this does not pass either.
        match self.take(cost) {
            Ok(allowed) if !self.is_watching() => Ok(Acquired::Now(allowed)),
            taken => self.acquire_after(taken, cost, patience),
        }
    }

    #[inline]
    pub(crate) fn is_watching(&self) -> bool {
        self.shared.watch.is_watching()
    }

    /// The same after [`take`](Self::take) said this.
    #[inline(never)]
    pub(crate) fn acquire_after(
        &self,
        taken: Result<Allowed, Rejected>,
        cost: u32,
        patience: Duration,
    ) -> Result<Acquired, Rejected> {
        let Shared { state, watch, .. } = &*self.shared;
        if taken.is_ok() || watch.is_shadow() || patience.is_zero() {
            return watch.tell(cost, taken).map(Acquired::Now);
        }
        let now = self.now();
        let patience_nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        match state.book(now, cost, patience_nanos) {
            // Somebody in front has just given up.
            Ok(booked) if !booked.waits() => {
                let allowed = state.look(now, 0, 0).unwrap_or_else(Allowed::despite);
                watch.tell(cost, Ok(allowed)).map(Acquired::Now)
            }
            Ok(booked) => {
                watch.waits(cost, booked.ready().saturating_since(now));
                Ok(Acquired::Later(booked))
            }
            Err(rejected) => watch.tell(cost, Err(rejected)).map(Acquired::Now),
        }
    }

    pub(crate) fn unbook(&self, booked: &Booked) {
        self.shared.state.unbook(self.now(), booked);
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
        let Snapshot { name, quota, remaining, reset_after, .. } = self.snapshot();
        f.debug_struct("RateLimiter")
            .field("name", &name)
            .field("quota", &quota)
            .field("remaining", &remaining)
            .field("reset_after", &reset_after)
            .finish()
    }
}

/// What came of a call that may wait.
pub(crate) enum Acquired {
    Now(Allowed),
    Later(Booked),
}
