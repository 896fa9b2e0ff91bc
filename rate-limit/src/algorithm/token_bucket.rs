//! The token bucket, as one word.

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

    /// What a call would do; `None` when it costs more than a full bucket holds.
    #[inline]
    fn plan(&self, tat: u64, now: Instant, cost: u32) -> Option<Plan> {
        if cost > self.quota.capacity() {
            return None;
        }
        let cost_units = u64::from(cost) * self.scale.per_cell.get();
        let now_units = self.scale.units(now.as_nanos());
        let tat = tat.max(now_units) + cost_units;
        Some(Plan { tat, used: tat - now_units })
    }

    #[inline]
    fn standing(&self, tat: u64, used: u64, now: Instant) -> Standing {
        Standing {
            limit: self.quota.capacity(),
            room: self.capacity.saturating_sub(used),
            unit: self.scale.per_cell,
            reset_nanos: self.nanos_until(tat, now),
        }
    }

    /// The standing before a call that does not pass.
    fn standing_at(&self, tat: u64, now: Instant) -> Standing {
        let used = tat.saturating_sub(self.scale.units(now.as_nanos()));
        self.standing(tat, used, now)
    }

    #[inline]
    fn nanos_until(&self, units: u64, now: Instant) -> u64 {
        self.scale.nanos(units).saturating_sub(now.as_nanos())
    }

    /// The TAT after the call, if it passes.
    #[inline]
    fn decide(&self, tat: u64, now: Instant, cost: u32) -> Result<(u64, Allowed), Rejected> {
        match self.plan(tat, now, cost) {
            // Nothing passes at any time, also while bookings are ahead of the clock.
            Some(_) if cost == 0 => Ok((tat, Allowed::new(self.standing_at(tat, now)))),
            Some(plan) if plan.used <= self.capacity => {
                Ok((plan.tat, Allowed::new(self.standing(plan.tat, plan.used, now))))
            }
            plan => Err(self.refuse(plan, tat, now)),
        }
    }

    #[inline]
    fn refuse(&self, plan: Option<Plan>, tat: u64, now: Instant) -> Rejected {
        let standing = self.standing_at(tat, now);
        match plan {
            Some(plan) => {
                Rejected::after(self.nanos_until(plan.tat - self.capacity, now), standing)
            }
            None => Rejected::never(standing),
        }
    }
}

struct Plan {
    tat: u64,
    /// How much of the capacity is in use after the call.
    used: u64,
}

impl Sealed for TokenBucket {}

impl Algorithm for TokenBucket {
    /// The TAT, in units of the scale.
    type State = u64;
    type Shared = AtomicU64;

    fn rest(&self) -> u64 {
        0
    }

    #[inline]
    fn look(&self, tat: &u64, now: Instant, cost: u32) -> Result<Allowed, Rejected> {
        self.decide(*tat, now, cost).map(|(_, allowed)| allowed)
    }

    #[inline]
    fn take(&self, tat: &mut u64, now: Instant, cost: u32) -> Result<Allowed, Rejected> {
        let (next, allowed) = self.decide(*tat, now, cost)?;
        *tat = next;
        Ok(allowed)
    }

    #[inline]
    fn book(
        &self,
        tat: &mut u64,
        now: Instant,
        cost: u32,
        patience_nanos: u64,
    ) -> Result<Booked, Rejected> {
        let Some(plan) = self.plan(*tat, now, cost) else {
            return Err(self.refuse(None, *tat, now));
        };
        let wait_nanos = if cost == 0 || plan.used <= self.capacity {
            0
        } else {
            self.nanos_until(plan.tat - self.capacity, now)
        };
        if wait_nanos > patience_nanos || plan.used > self.capacity + AHEAD_MAX {
            return Err(self.refuse(Some(plan), *tat, now));
        }
        let allowed = Allowed::new(self.standing(plan.tat, plan.used, now));
        if cost > 0 {
            *tat = plan.tat;
        }
        Ok(Booked {
            asked: now,
            ready: Instant::from_nanos(now.as_nanos().saturating_add(wait_nanos)),
            allowed,
            end: plan.tat,
            size: u64::from(cost) * self.scale.per_cell.get(),
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
