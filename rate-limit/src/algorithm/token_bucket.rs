//! The token bucket, as one word.

use std::sync::atomic::Ordering::Relaxed;

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, Booked, scale::Scale, sealed::Sealed};
use crate::{Allowed, Quota, Rejected, decision::Standing, sync::AtomicU64};

/// The longest time that a full bucket may stand for, in nanoseconds: 73 years. An eighth of the
/// word, so that the time, a full bucket and a cost add up without an overflow.
const SPAN_MAX: u64 = 1 << 61;

/// How far ahead of the clock bookings may reach, in units.
const AHEAD_MAX: u64 = SPAN_MAX;

/// Lets the rate through on average, and a burst after a rest.
///
/// # Algorithm
///
/// The generic cell rate algorithm in its virtual scheduling form (ITU-T I.371, 1996, annex A). The
/// state is the theoretical arrival time, TAT: the instant at which the bucket is full again. T, the
/// time for one cell, is `period / limit`; the tolerance τ is `T * (burst - 1)`. A call of cost n at
/// `now` passes when `max(TAT, now) + n * T` is at most `now + T * burst`, and makes that the new TAT.
///
/// All of it is integer arithmetic, in a unit of time of which T is a whole number: the cost of a
/// cell is never rounded, so that the rate does not drift, however it divides. Where T is a whole
/// number of nanoseconds, decisions equal those of exact arithmetic. Elsewhere they equal those of
/// exact arithmetic less than a nanosecond away, which is less than the clock tells apart.
///
/// A clock that runs backward gives no cells, and none are lost: the bucket refills once the clock
/// has caught up.
///
/// # Cost
///
/// One word, one compare-exchange for each call that passes, none for one that does not; no lock, no
/// allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    scale: Scale,
    /// The burst, in units.
    capacity: u64,
    quota: Quota,
}

impl TokenBucket {
    /// A bucket that holds the burst of `quota` and fills at its rate.
    ///
    /// # Errors
    ///
    /// When `limit`, `period` or `burst` is zero, when there is more than one cell for each
    /// nanosecond, or when filling the bucket takes more than 73 years.
    pub fn new(quota: Quota) -> Result<Self, ConfigError> {
        let period_nanos = period_nanos(quota)?;
        let scale = Scale::new(quota.limit(), period_nanos);
        let most = SPAN_MAX / scale.per_cell;
        let burst = u64::from(quota.capacity());
        if burst == 0 || burst > most {
            let allowed = format!(
                "1 to {} at {} per {:?}",
                most.min(u64::from(u32::MAX)),
                quota.limit(),
                quota.period()
            );
            return Err(ConfigError::new("burst", burst, allowed));
        }
        Ok(Self { scale, capacity: burst * scale.per_cell.get(), quota })
    }

    /// The TAT after a call that comes when `now_units` have passed, if it may pass.
    #[inline]
    fn pass(&self, tat: u64, now_units: u64, cost: u32) -> Option<u64> {
        if cost > self.quota.capacity() {
            return None;
        }
        // Nothing passes at any time, also while bookings are ahead of the clock.
        if cost == 0 {
            return Some(tat);
        }
        let after = tat.max(now_units) + self.units(cost);
        (after - now_units <= self.capacity).then_some(after)
    }

    #[inline]
    fn units(&self, cost: u32) -> u64 {
        u64::from(cost) * self.scale.per_cell.get()
    }

    #[inline]
    fn standing(&self, tat: u64, now: Instant, now_units: u64) -> Standing {
        Standing {
            limit: self.quota.capacity(),
            room: self.capacity.saturating_sub(tat.saturating_sub(now_units)),
            unit: self.scale.per_cell,
            reset_nanos: self.nanos_until(tat, now),
        }
    }

    #[inline]
    fn nanos_until(&self, units: u64, now: Instant) -> u64 {
        self.scale.nanos(units).saturating_sub(now.as_nanos())
    }

    /// How long a call has to wait; the cost is at most the burst.
    #[inline]
    fn wait_nanos(&self, tat: u64, now: Instant, now_units: u64, cost: u32) -> u64 {
        let after = tat.max(now_units) + self.units(cost);
        self.nanos_until(after.saturating_sub(self.capacity), now)
    }

    /// Whether the bucket is full, as if it had never been used.
    pub(crate) fn is_at_rest(&self, tat: u64, now: Instant) -> bool {
        tat <= self.scale.units(now.as_nanos())
    }

    /// A refusal until the first of these buckets is full.
    pub(crate) fn refuse_until_rest(
        &self,
        tats: impl Iterator<Item = u64>,
        now: Instant,
    ) -> Rejected {
        let standing = self.standing(0, now, self.scale.units(now.as_nanos()));
        let first = tats.min().unwrap_or(0);
        Rejected::after(self.nanos_until(first, now), standing)
    }

    /// A refusal by a bucket that is full.
    #[cfg(feature = "http")]
    pub(crate) fn refuse_for_good(&self, now: Instant) -> Rejected {
        Rejected::never(self.standing(0, now, self.scale.units(now.as_nanos())))
    }

    // Out of line, so that it writes its answer where the caller wants it, in place of a copy.
    #[inline(never)]
    fn refuse<T>(&self, tat: u64, now: Instant, now_units: u64, cost: u32) -> Result<T, Rejected> {
        let standing = self.standing(tat, now, now_units);
        Err(if cost > self.quota.capacity() {
            Rejected::never(standing)
        } else {
            Rejected::after(self.wait_nanos(tat, now, now_units, cost), standing)
        })
    }
}

impl Sealed for TokenBucket {}

impl Algorithm for TokenBucket {
    /// The TAT, in units of the scale.
    type State = u64;
    type Shared = AtomicU64;

    fn rest(&self) -> u64 {
        0
    }

    fn look(&self, tat: &u64, now: Instant, cost: u32) -> Result<Allowed, Rejected> {
        let now_units = self.scale.units(now.as_nanos());
        match self.pass(*tat, now_units, cost) {
            Some(after) => Ok(Allowed::new(self.standing(after, now, now_units))),
            None => self.refuse(*tat, now, now_units, cost),
        }
    }

    #[inline]
    fn take(&self, tat: &mut u64, now: Instant, cost: u32) -> Result<Allowed, Rejected> {
        let now_units = self.scale.units(now.as_nanos());
        match self.pass(*tat, now_units, cost) {
            Some(after) => {
                *tat = after;
                Ok(Allowed::new(self.standing(after, now, now_units)))
            }
            None => self.refuse(*tat, now, now_units, cost),
        }
    }

    /// The same as [`take`](Algorithm::take), with the answer put together once it stands: the way
    /// of nearly every call.
    #[inline]
    fn take_shared(&self, tat: &AtomicU64, now: Instant, cost: u32) -> Result<Allowed, Rejected> {
        let now_units = self.scale.units(now.as_nanos());
        // Relaxed, here and below: the word is all that the handles share.
        let mut before = tat.load(Relaxed);
        loop {
            let Some(after) = self.pass(before, now_units, cost) else {
                return self.refuse(before, now, now_units, cost);
            };
            if after == before {
                return Ok(Allowed::new(self.standing(after, now, now_units)));
            }
            match tat.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(Allowed::new(self.standing(after, now, now_units))),
                Err(newer) => before = newer,
            }
        }
    }

    fn book(
        &self,
        tat: &mut u64,
        now: Instant,
        cost: u32,
        patience_nanos: u64,
    ) -> Result<Booked, Rejected> {
        let now_units = self.scale.units(now.as_nanos());
        let (after, wait_nanos) = match self.pass(*tat, now_units, cost) {
            Some(after) => (after, 0),
            None if cost > self.quota.capacity() => {
                return self.refuse(*tat, now, now_units, cost);
            }
            None => {
                let after = (*tat).max(now_units) + self.units(cost);
                (after, self.wait_nanos(*tat, now, now_units, cost))
            }
        };
        let ahead = after.saturating_sub(now_units);
        if wait_nanos > patience_nanos || ahead > self.capacity + AHEAD_MAX {
            return self.refuse(*tat, now, now_units, cost);
        }
        *tat = after;
        Ok(Booked {
            ready: Instant::from_nanos(now.as_nanos().saturating_add(wait_nanos)),
            waits: wait_nanos > 0,
            end: after,
            size: self.units(cost),
        })
    }

    fn unbook(&self, tat: &mut u64, now: Instant, booked: &Booked) {
        // What has passed is used.
        if now < booked.ready {
            let built_on = tat.saturating_sub(booked.end);
            *tat = tat.saturating_sub(booked.size.saturating_sub(built_on));
        }
    }

    fn quota(&self) -> Quota {
        self.quota
    }
}

/// The period of a quota whose rate can be kept.
pub(super) fn period_nanos(quota: Quota) -> Result<u64, ConfigError> {
    let period = quota.period();
    let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 || nanos > SPAN_MAX {
        return Err(ConfigError::new("period", format!("{period:?}"), "1ns to 73 years"));
    }
    let most = nanos.min(u64::from(u32::MAX));
    if quota.limit() == 0 || u64::from(quota.limit()) > most {
        let allowed = format!("1 to {most} per {period:?}, at most one a nanosecond");
        return Err(ConfigError::new("limit", quota.limit(), allowed));
    }
    Ok(nanos)
}
