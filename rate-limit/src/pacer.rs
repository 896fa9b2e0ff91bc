//! Calls that leave evenly spaced: the leaky bucket as a queue.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
use seawall_core::{Clock, ConfigError};

use crate::{Allowed, Quota, RateLimiter, Rejected, Reservation, UntilReady};

/// The longest queue, in time: as far as bookings of a bucket reach ahead.
const QUEUE_MAX_NANOS: u64 = 1 << 61;

/// Lets calls out one by one, each at exactly `period / limit` after the one before, and keeps those
/// that come sooner waiting in a bounded queue. Clones share one queue.
///
/// After a rest the next call leaves at once, and only that one: there is no burst, whatever the
/// quota says.
///
/// # Algorithm
///
/// The leaky bucket as a queue (J. S. Turner, "New Directions in Communications", 1986): as the
/// [token bucket](crate::TokenBucket) here with a burst of 1, where whoever does not pass takes the
/// next slot and waits for it, with a bound on that wait. A queue of `n` calls is a wait of at most
/// `n * period / limit`: the arithmetic is that of the bucket, so that slots do not drift, and a
/// refusal is exact to the nanosecond.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use seawall_rate_limit::{Clock, Pacer, Quota};
/// use tokio::time::Instant;
///
/// // One call each 20 ms, and at most 10 that wait for their turn.
/// let pacer = Pacer::new(Quota::per_second(50), 10)?.with_clock(Clock::tokio());
/// let start = Instant::now();
/// for slot in 0..5_u32 {
///     pacer.until_ready().await?;
///     assert_eq!(start.elapsed(), slot * Duration::from_millis(20));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    limiter: RateLimiter,
    queue_nanos: u64,
}

impl Pacer {
    /// Lets calls out at the rate of `quota`, whose burst does not matter, while at most `queue` wait.
    /// With a queue of 0 nobody waits, and a call that comes too soon is refused.
    ///
    /// # Errors
    ///
    /// When `quota` cannot be kept, see [`TokenBucket::new`](crate::TokenBucket::new), or when the last
    /// in the queue would wait for more than 73 years.
    pub fn new(quota: Quota, queue: u32) -> Result<Self, ConfigError> {
        let limiter = RateLimiter::new(quota.burst(1))?;
        // Rounded up, so that a call that is in time by less than a nanosecond is in time.
        let wait = |calls: u32| {
            (quota.period().as_nanos() * u128::from(calls)).div_ceil(quota.limit().into())
        };
        match u64::try_from(wait(queue)) {
            Ok(queue_nanos) if queue_nanos <= QUEUE_MAX_NANOS => Ok(Self { limiter, queue_nanos }),
            _ => {
                let most = u128::from(QUEUE_MAX_NANOS) / wait(1);
                let allowed = format!("0 to {most} at {} per {:?}", quota.limit(), quota.period());
                Err(ConfigError::new("queue", queue, allowed))
            }
        }
    }

    /// Tells the time by `clock`.
    ///
    /// Part of building a pacer: what comes back is at rest and shares nothing with clones that were
    /// made before.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { limiter: self.limiter.with_clock(clock), ..self }
    }

    /// Names the pacer in its refusals and snapshots.
    ///
    /// Part of building a pacer: what comes back is at rest and shares nothing with clones that were
    /// made before.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { limiter: self.limiter.named(name), ..self }
    }

    /// Waits for the next slot, after all who asked before.
    ///
    /// The slot is taken at the first poll. `retry_after` of a refusal is the instant at which the
    /// queue has room for this call, if nobody else comes until then.
    ///
    /// # Errors
    ///
    /// When the queue is full.
    ///
    /// # Panics
    ///
    /// When it has to wait outside of a tokio runtime with a timer.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, it gives its slot back if nobody took a later one; else the slot stays
    /// empty, because those behind it have been told theirs.
    pub fn until_ready(&self) -> Paced<'_> {
        let wait = self.limiter.until_ready(1).within(self.patience());
        Paced { wait, patience: self.patience() }
    }

    /// Takes the next slot and says when it is: for callers with a timer of their own.
    ///
    /// # Errors
    ///
    /// When the queue is full, as in [`until_ready`](Self::until_ready).
    pub fn reserve(&self) -> Result<Reservation, Rejected> {
        let reservation = self.limiter.reserve_within(1, self.patience());
        reservation.map_err(|rejected| rejected.sooner_by(self.patience()))
    }

    /// Takes the slot of this very moment, if it is free.
    ///
    /// # Errors
    ///
    /// When it is not; the refusal says when the next one is.
    pub fn check(&self) -> Result<Allowed, Rejected> {
        self.limiter.check()
    }

    /// The bucket beneath, for its snapshot and its other operations.
    pub fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    /// How long the last one in the queue waits.
    pub fn patience(&self) -> Duration {
        Duration::from_nanos(self.queue_nanos)
    }
}

pin_project! {
    /// Waits for a slot; see [`Pacer::until_ready`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Paced<'a> {
        #[pin]
        wait: UntilReady<'a>,
        patience: Duration,
    }
}

impl Future for Paced<'_> {
    type Output = Result<Allowed, Rejected>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.wait.poll(cx).map_err(|rejected| rejected.sooner_by(*this.patience))
    }
}
