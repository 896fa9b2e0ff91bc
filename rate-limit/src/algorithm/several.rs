//! Several limits at once.

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, FromQuotas, Queue, sealed::Sealed};
use crate::{Allowed, Quota, Rejected, sync::Mutex};

/// Lets a call through when each of several limits does: all or nothing.
///
/// ```
/// use seawall_rate_limit::{Quota, RateLimiter, algorithm::{Several, TokenBucket}};
///
/// let limits = Several::new([
///     TokenBucket::new(Quota::per_second(10))?,
///     TokenBucket::new(Quota::per_hour(12))?,
/// ])?;
/// let limiter = RateLimiter::of(limits);
/// assert!(limiter.check_n(10).is_ok());
/// let rejected = limiter.check_n(3).unwrap_err();
/// assert_eq!(rejected.index(), 1, "the hour has too few left");
/// // The refusal took nothing, from neither.
/// assert_eq!(limiter.check_n(0).map(|allowed| allowed.remaining()).ok(), Some(0));
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
///
/// What is left is what is left of the scarcest, which the answer [names](Allowed::index); a refusal is that of the limit that is the last to
/// let the call through, and [names](Rejected::index) it.
///
/// # Cost
///
/// That of each limit, under one lock; no allocation.
#[derive(Clone, Debug)]
pub struct Several<A> {
    limits: Box<[A]>,
}

impl<A: Algorithm> Several<A> {
    /// All of `limits`, 1 to 65,536 of them.
    ///
    /// # Errors
    ///
    /// When there is none, or when there are more.
    pub fn new(limits: impl Into<Box<[A]>>) -> Result<Self, ConfigError> {
        let limits = limits.into();
        if limits.is_empty() || limits.len() > 1 << 16 {
            return Err(ConfigError::new("limits", limits.len(), "1 to 65536 limits"));
        }
        Ok(Self { limits })
    }

    #[cfg(feature = "redis")]
    pub(crate) fn limits(&self) -> &[A] {
        &self.limits
    }

    fn answer(
        &self,
        states: &[A::State],
        mut ask: impl FnMut(&A, &A::State) -> Result<Allowed, Rejected>,
    ) -> Result<Allowed, Rejected> {
        let mut scarcest: Option<Allowed> = None;
        let mut last: Option<Rejected> = None;
        for (index, (limit, state)) in (0..).zip(self.limits.iter().zip(states)) {
            match ask(limit, state) {
                Ok(allowed) => {
                    if scarcest.is_none_or(|least| allowed.remaining() < least.remaining()) {
                        scarcest = Some(allowed.at(index));
                    }
                }
                Err(rejected) => {
                    let rejected = rejected.at(index);
                    if last.is_none_or(|last| rejected.is_later_than(&last)) {
                        last = Some(rejected);
                    }
                }
            }
        }
        match (last, scarcest) {
            (Some(rejected), _) => Err(rejected),
            (None, allowed) => Ok(allowed.expect("there is a limit, checked when it was built")),
        }
    }
}

impl<A: Algorithm> Sealed for Several<A> {}

impl<A: Algorithm> Algorithm for Several<A> {
    type State = Box<[A::State]>;
    type Shared = Mutex<Queue<Self>>;

    fn rest(&self) -> Self::State {
        self.limits.iter().map(A::rest).collect()
    }

    fn look(
        &self,
        states: &Self::State,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        self.answer(states, |limit, state| limit.look(state, now, cost, spare))
    }

    fn take(
        &self,
        states: &mut Self::State,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let allowed = self.look(states, now, cost, spare)?;
        for (limit, state) in self.limits.iter().zip(states) {
            // It said yes a moment ago, and the lock is held since.
            let _ = limit.take(state, now, cost, 0);
        }
        Ok(allowed)
    }

    fn charge(&self, states: &mut Self::State, now: Instant, cost: u32) {
        for (limit, state) in self.limits.iter().zip(states) {
            limit.charge(state, now, cost);
        }
    }

    /// Limits follow each other by their place; those that are new begin at rest.
    fn adopt(&self, before: &Self, states: &mut Self::State, now: Instant) {
        let old = std::mem::take(states).into_iter().zip(&before.limits);
        let old = old.map(Some).chain(std::iter::repeat_with(|| None));
        *states = self
            .limits
            .iter()
            .zip(old)
            .map(|(limit, old)| {
                old.map_or_else(
                    || limit.rest(),
                    |(mut state, before)| {
                        limit.adopt(before, &mut state, now);
                        state
                    },
                )
            })
            .collect();
    }

    /// The first of the limits.
    fn quota(&self) -> Quota {
        self.limits.first().map_or(Quota::per_second(1), A::quota)
    }

    fn quotas(&self) -> Vec<Quota> {
        self.limits.iter().map(A::quota).collect()
    }
}

impl<A: FromQuotas> FromQuotas for Several<A> {
    fn from_quotas(quotas: &[Quota]) -> Result<Self, ConfigError> {
        let limits = quotas.iter().map(|quota| A::from_quotas(&[*quota]));
        Self::new(limits.collect::<Result<Vec<_>, _>>()?)
    }
}
