//! What a limiter answers.

use std::{error::Error as StdError, fmt, num::NonZeroU64, time::Duration};

use seawall_core::{Reason, Rejection, Retry};

/// A wait that never ends, in nanoseconds.
const NEVER: u64 = u64::MAX;
/// Beside a limit: it was not the shared limit that decided.
const DEGRADED: u64 = 1 << 32;
/// Beside a limit, in 16 bits: of several limits, the one that is spoken of.
const INDEX_SHIFT: u32 = 33;
/// Beside a limit: the shared limit may have taken the cells, and did not say so.
const UNSURE: u64 = 1 << 49;

/// How a limiter stood when it answered.
///
/// The divisions are left to whoever asks, because most callers do not.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    /// The most cells that can pass at once, 32 bits; above them [`DEGRADED`] and the index.
    // Here and in `Rejected` all are whole words: an answer is copied by words, and to read one that
    // was written in parts stalls the processor for longer than the decision takes.
    pub(crate) limit: u64,
    /// What is left, `unit` for each cell.
    pub(crate) room: u64,
    pub(crate) unit: NonZeroU64,
    /// Until everything is back.
    pub(crate) reset_nanos: u64,
}

impl Standing {
    /// How the limiter stands when all of it is spoken for until so much later.
    fn behind(self, delay_nanos: u64) -> Self {
        Self { room: 0, reset_nanos: self.reset_nanos.saturating_add(delay_nanos), ..self }
    }

    pub(crate) fn remaining(&self) -> u32 {
        (self.room / self.unit).min(u64::from(self.limit())) as u32
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit as u32
    }

    pub(crate) fn index(&self) -> usize {
        usize::from((self.limit >> INDEX_SHIFT) as u16)
    }

    fn at(self, index: u16) -> Self {
        let index = u64::from(index) << INDEX_SHIFT;
        Self { limit: self.limit & (DEGRADED | UNSURE | u64::from(u32::MAX)) | index, ..self }
    }

    fn is_degraded(&self) -> bool {
        self.limit & DEGRADED != 0
    }

    fn is_unsure(&self) -> bool {
        self.limit & UNSURE != 0
    }

    #[cfg(feature = "redis")]
    fn degraded(self, unsure: bool) -> Self {
        Self { limit: self.limit | DEGRADED | if unsure { UNSURE } else { 0 }, ..self }
    }

    pub(crate) fn reset_after(&self) -> Duration {
        Duration::from_nanos(self.reset_nanos)
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing")
            .field("limit", &self.limit())
            .field("remaining", &self.remaining())
            .field("reset_after", &self.reset_after())
            .finish()
    }
}

/// The right to go on, and how the limiter stands after it.
#[derive(Clone, Copy)]
pub struct Allowed {
    standing: Standing,
}

impl Allowed {
    pub(crate) fn new(standing: Standing) -> Self {
        Self { standing }
    }

    /// How the limiter stands where a call passed at another time.
    pub(crate) fn despite(rejected: Rejected) -> Self {
        Self { standing: rejected.standing }
    }

    /// The same seen from so long before, with others in front.
    pub(crate) fn behind(self, delay_nanos: u64) -> Self {
        Self { standing: self.standing.behind(delay_nanos) }
    }

    /// The most cells that can pass at once: the burst of a bucket, the limit of a window.
    pub fn limit(&self) -> u32 {
        self.standing.limit()
    }

    /// How many cells are left now.
    pub fn remaining(&self) -> u32 {
        self.standing.remaining()
    }

    /// How long until the limiter is back at rest, if nobody calls until then.
    pub fn reset_after(&self) -> Duration {
        self.standing.reset_after()
    }

    /// Which of [several](crate::algorithm::Several) limits has the least left, counted from 0.
    pub fn index(&self) -> usize {
        self.standing.index()
    }

    pub(crate) fn at(self, index: u16) -> Self {
        Self { standing: self.standing.at(index) }
    }

    /// Whether it was not the shared limit that decided, because Redis did not answer: see the policies
    /// of a limiter that is shared through Redis. Never for a local limiter.
    pub fn is_degraded(&self) -> bool {
        self.standing.is_degraded()
    }

    /// Whether Redis may have taken the cells all the same: it was asked, and did not answer in time or
    /// before the connection broke. Nobody asks for them twice. Never for a local limiter.
    pub fn may_have_taken(&self) -> bool {
        self.standing.is_unsure()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn degraded(self, unsure: bool) -> Self {
        Self { standing: self.standing.degraded(unsure) }
    }

    #[cfg(any(feature = "http", feature = "redis"))]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Allowed").field(&self.standing).finish()
    }
}

/// A refusal: it changed nothing, and it knows when the same call would pass, or that it never will.
///
/// ```
/// use seawall_rate_limit::{Quota, RateLimiter};
///
/// let limiter = RateLimiter::new(Quota::per_minute(2))?;
/// assert!(limiter.check_n(2).is_ok());
/// let not_yet = limiter.check().unwrap_err();
/// assert!(not_yet.retry_after() > Some(std::time::Duration::from_secs(29)));
/// let never = limiter.check_n(3).unwrap_err();
/// assert!(never.is_never());
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Copy)]
pub struct Rejected {
    standing: Standing,
    wait_nanos: u64,
}

impl Rejected {
    pub(crate) fn after(wait_nanos: u64, standing: Standing) -> Self {
        Self { standing, wait_nanos: wait_nanos.min(NEVER - 1) }
    }

    /// A refusal of a call that is `allowed` so much later, after all who wait.
    pub(crate) fn until(allowed: Allowed, wait_nanos: u64) -> Self {
        Self::after(wait_nanos, allowed.standing.behind(wait_nanos))
    }

    /// The same seen from so long before, with others in front.
    pub(crate) fn behind(self, delay_nanos: u64) -> Self {
        let standing = self.standing.behind(delay_nanos);
        match self.wait_nanos() {
            Some(wait) => Self { standing, ..self }.waiting(wait.saturating_add(delay_nanos)),
            None => Self { standing, ..self },
        }
    }

    fn waiting(self, wait_nanos: u64) -> Self {
        Self { wait_nanos: wait_nanos.min(NEVER - 1), ..self }
    }

    /// How long until the same call passes, unless it never does.
    pub(crate) fn wait_nanos(&self) -> Option<u64> {
        (!self.is_never()).then_some(self.wait_nanos)
    }

    pub(crate) fn never(standing: Standing) -> Self {
        Self { standing, wait_nanos: NEVER }
    }

    /// The most cells that can pass at once: the burst of a bucket, the limit of a window.
    pub fn limit(&self) -> u32 {
        self.standing.limit()
    }

    /// How many cells are left now; fewer than were asked for.
    pub fn remaining(&self) -> u32 {
        self.standing.remaining()
    }

    /// How long until the limiter is back at rest, if nobody calls until then.
    pub fn reset_after(&self) -> Duration {
        self.standing.reset_after()
    }

    /// How long until the same call passes, if nobody else calls until then; `None` when it never
    /// does.
    pub fn retry_after(&self) -> Option<Duration> {
        (!self.is_never()).then(|| Duration::from_nanos(self.wait_nanos))
    }

    /// Which of [several](crate::algorithm::Several) limits refused, counted from 0: the last one to
    /// let the call through.
    pub fn index(&self) -> usize {
        self.standing.index()
    }

    /// The same seen so much later, with nothing passed meanwhile.
    #[cfg(feature = "redis")]
    pub(crate) fn later_by(self, passed: Duration) -> Self {
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let reset_nanos = self.standing.reset_nanos.saturating_sub(nanos);
        Self { standing: Standing { reset_nanos, ..self.standing }, ..self }.sooner_by(passed)
    }

    pub(crate) fn at(self, index: u16) -> Self {
        Self { standing: self.standing.at(index), ..self }
    }

    pub(crate) fn is_later_than(&self, other: &Self) -> bool {
        self.wait_nanos > other.wait_nanos
    }

    /// The same for a call that may itself wait for so long.
    pub(crate) fn sooner_by(self, patience: Duration) -> Self {
        let patience_nanos = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        match self.wait_nanos() {
            Some(wait_nanos) => self.waiting(wait_nanos.saturating_sub(patience_nanos)),
            None => self,
        }
    }

    /// Whether the same call can never pass, because it costs more than the limiter holds.
    pub fn is_never(&self) -> bool {
        self.wait_nanos == NEVER
    }

    /// Whether it was not the shared limit that decided, because Redis did not answer: see the policies
    /// of a limiter that is shared through Redis. Never for a local limiter.
    pub fn is_degraded(&self) -> bool {
        self.standing.is_degraded()
    }

    /// Whether Redis may have taken the cells all the same: it was asked, and did not answer in time or
    /// before the connection broke. Nobody asks for them twice. Never for a local limiter.
    pub fn may_have_taken(&self) -> bool {
        self.standing.is_unsure()
    }

    #[cfg(feature = "redis")]
    pub(crate) fn degraded(self, unsure: bool) -> Self {
        Self { standing: self.standing.degraded(unsure), ..self }
    }

    #[cfg(feature = "http")]
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }
}

impl From<Rejected> for Rejection {
    fn from(rejected: Rejected) -> Self {
        let retry = rejected.retry_after().map_or(Retry::Never, Retry::After);
        Self::new(Reason::LimitReached).retry(retry)
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Rejection::from(*self).fmt(f)
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("retry_after", &self.retry_after())
            .field("standing", &self.standing)
            .finish()
    }
}

impl StdError for Rejected {}
