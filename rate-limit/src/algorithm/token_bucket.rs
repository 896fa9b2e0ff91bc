//! The token bucket, as one word.

use seawall_core::{ConfigError, Instant};

use super::{Algorithm, SharedBucket, scale::Scale, sealed::Sealed};
use crate::{Allowed, Quota, Rejected, decision::Standing};

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
/// allocation. A limiter whose quota was changed reads one word more.
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
    pub(super) fn pass(&self, tat: u64, now_units: u64, cost: u32, spare: u32) -> Option<u64> {
        // Nothing passes at any time, also while bookings are ahead of the clock.
        if cost == 0 {
            return Some(tat);
        }
        let asked = u64::from(cost) + u64::from(spare);
        if asked > u64::from(self.quota.capacity()) {
            return None;
        }
        let start = tat.max(now_units);
        // Neither side overflows, whatever the word holds: a closed one is later than any latest.
        let latest = now_units + (self.capacity - asked * self.per_cell());
        (start <= latest).then(|| start + self.units(cost))
    }

    /// Units for each cell.
    #[inline]
    pub(super) fn per_cell(&self) -> u64 {
        self.scale.per_cell.get()
    }

    #[inline]
    pub(super) fn units_at(&self, now: Instant) -> u64 {
        self.scale.units(now.as_nanos())
    }

    #[inline]
    fn units(&self, cost: u32) -> u64 {
        u64::from(cost) * self.per_cell()
    }

    #[inline]
    fn standing(&self, tat: u64, now: Instant, now_units: u64) -> Standing {
        Standing {
            limit: self.quota.capacity().into(),
            room: self.capacity.saturating_sub(tat.saturating_sub(now_units)),
            unit: self.scale.per_cell,
            reset_nanos: self.nanos_until(tat, now),
        }
    }

    #[inline]
    fn nanos_until(&self, units: u64, now: Instant) -> u64 {
        self.scale.nanos(units).saturating_sub(now.as_nanos())
    }

    /// How long a call has to wait for so many cells, which are at most the burst.
    #[inline]
    fn wait_nanos(&self, tat: u64, now: Instant, now_units: u64, asked: u64) -> u64 {
        let after = tat.max(now_units) + asked * self.per_cell();
        self.nanos_until(after.saturating_sub(self.capacity), now)
    }

    /// Whether the bucket is full, as if it had never been used.
    pub(crate) fn is_at_rest(&self, tat: u64, now: Instant) -> bool {
        tat <= self.units_at(now)
    }

    /// For how long the bucket has been full, if it is.
    pub(crate) fn rested_nanos(&self, tat: u64, now: Instant) -> Option<u64> {
        let full = || self.scale.nanos(tat);
        self.is_at_rest(tat, now).then(|| now.as_nanos().saturating_sub(full()))
    }

    /// How long until the bucket is full.
    pub(crate) fn nanos_to_rest(&self, tat: u64, now: Instant) -> u64 {
        self.nanos_until(tat, now)
    }

    /// A refusal, for want of a place, by a bucket that is full.
    pub(crate) fn refuse_at_rest(&self, wait_nanos: u64, now: Instant) -> Rejected {
        Rejected::after(wait_nanos, self.standing(0, now, self.units_at(now)))
    }

    /// A refusal by a bucket that is full.
    pub(crate) fn refuse_for_good(&self, now: Instant) -> Rejected {
        Rejected::never(self.standing(0, now, self.units_at(now)))
    }

    /// The answer to a call that passed and made this the TAT.
    #[inline]
    pub(super) fn allow(&self, tat: u64, now: Instant, now_units: u64) -> Allowed {
        Allowed::new(self.standing(tat, now, now_units))
    }

    /// The answer to a call that may not pass.
    // Out of line, so that it writes its answer where the caller wants it, in place of a copy.
    #[inline(never)]
    pub(super) fn refuse<T>(
        &self,
        tat: u64,
        now: Instant,
        now_units: u64,
        (cost, spare): (u32, u32),
    ) -> Result<T, Rejected> {
        let asked = u64::from(cost) + u64::from(spare);
        if let Some(whole) = self.scale.whole() {
            // Most rates count in nanoseconds: nothing is left to convert.
            return Self { scale: whole, ..*self }.refusal(tat, now, now_units, asked);
        }
        self.refuse_stretched(tat, now, now_units, asked)
    }

    #[inline(never)]
    fn refuse_stretched<T>(
        &self,
        tat: u64,
        now: Instant,
        now_units: u64,
        asked: u64,
    ) -> Result<T, Rejected> {
        self.refusal(tat, now, now_units, asked)
    }

    #[inline(always)]
    fn refusal<T>(
        &self,
        tat: u64,
        now: Instant,
        now_units: u64,
        asked: u64,
    ) -> Result<T, Rejected> {
        let standing = self.standing(tat, now, now_units);
        Err(if asked > u64::from(self.quota.capacity()) {
            Rejected::never(standing)
        } else {
            Rejected::after(self.wait_nanos(tat, now, now_units, asked), standing)
        })
    }

    /// Takes `cost` cells now or in turn, and says when they pass and whether that is later.
    pub(crate) fn book(
        &self,
        tat: &mut u64,
        now: Instant,
        cost: u32,
        patience_nanos: u64,
    ) -> Result<(Instant, bool), Rejected> {
        let now_units = self.units_at(now);
        if let Some(after) = self.pass(*tat, now_units, cost, 0) {
            *tat = after;
            return Ok((now, false));
        }
        if cost > self.quota.capacity() {
            return self.refuse(*tat, now, now_units, (cost, 0));
        }
        let after = (*tat).max(now_units) + self.units(cost);
        let wait_nanos = self.wait_nanos(*tat, now, now_units, cost.into());
        if wait_nanos > patience_nanos || after - now_units > self.capacity + AHEAD_MAX {
            return self.refuse(*tat, now, now_units, (cost, 0));
        }
        *tat = after;
        Ok((Instant::from_nanos(now.as_nanos().saturating_add(wait_nanos)), wait_nanos > 0))
    }
}

impl Sealed for TokenBucket {}

impl Algorithm for TokenBucket {
    /// The TAT, in units of the scale.
    type State = u64;
    type Shared = SharedBucket;

    fn rest(&self) -> u64 {
        0
    }

    fn look(&self, tat: &u64, now: Instant, cost: u32, spare: u32) -> Result<Allowed, Rejected> {
        let now_units = self.units_at(now);
        match self.pass(*tat, now_units, cost, spare) {
            Some(after) => Ok(self.allow(after, now, now_units)),
            None => self.refuse(*tat, now, now_units, (cost, spare)),
        }
    }

    #[inline]
    fn take(
        &self,
        tat: &mut u64,
        now: Instant,
        cost: u32,
        spare: u32,
    ) -> Result<Allowed, Rejected> {
        let now_units = self.units_at(now);
        match self.pass(*tat, now_units, cost, spare) {
            Some(after) => {
                *tat = after;
                Ok(self.allow(after, now, now_units))
            }
            None => self.refuse(*tat, now, now_units, (cost, spare)),
        }
    }

    fn charge(&self, tat: &mut u64, now: Instant, cost: u32) {
        let now_units = self.units_at(now);
        let cost = u64::from(cost).saturating_mul(self.per_cell());
        let most = now_units + self.capacity + AHEAD_MAX;
        *tat = (*tat).max(now_units).saturating_add(cost).min(most);
    }

    /// As `SetLimit` and `SetBurst` of golang's x/time/rate: what is left stays, as far as the burst
    /// has room for it, and what is owed stays owed. Parts of a cell are rounded against the caller,
    /// by less than a unit.
    fn adopt(&self, before: &Self, tat: &mut u64, now: Instant) {
        let (was, is) = (before.units_at(now), self.units_at(now));
        let (old, new) = (u128::from(before.per_cell()), u128::from(self.per_cell()));
        let full = was + before.capacity;
        *tat = if *tat <= full {
            let left = u128::from(full - (*tat).max(was)) * new / old;
            let left = u64::try_from(left).unwrap_or(u64::MAX).min(self.capacity);
            is + self.capacity - left
        } else {
            let owed = (u128::from(*tat - full) * new).div_ceil(old);
            let owed = u64::try_from(owed).unwrap_or(u64::MAX).min(AHEAD_MAX);
            is + self.capacity + owed
        };
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
