//! One limit in whole numbers that a double holds.

use std::{num::NonZeroU64, time::Duration};

use seawall_core::ConfigError;

use crate::{Allowed, Quota, Rejected, decision::Standing};

/// From here on a double skips whole numbers.
const WHOLE_MAX: u64 = 1 << 53;
/// The most cells that a log remembers.
const LOG_MAX: u32 = 1 << 20;

/// How a limit decides. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `rate` units flow off in each microsecond, a cell is `cell` units: limit and period over
    /// their common divisor. So neither a rate above a million a second nor one that does not divide
    /// its period is rounded.
    Bucket { rate: NonZeroU64, cell: NonZeroU64, size: u64, quota: Quota },
    /// The limit in any period.
    Log { period: u64, quota: Quota },
    /// About that.
    Counter { period: u64, quota: Quota },
    /// The limit in each window of the clock.
    Fixed { period: u64, quota: Quota },
}

/// How a limit stood before a question, in the three numbers of the script.
pub(crate) type State = [u64; 3];

impl Rule {
    pub(crate) fn bucket(quota: Quota) -> Result<Self, ConfigError> {
        let period = micros(quota)?;
        let limit = u64::from(quota.limit());
        let divisor = common_divisor(limit, period);
        let (rate, cell) = (limit / divisor, period / divisor);
        let most = (WHOLE_MAX - 1) / cell;
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
        match (NonZeroU64::new(rate), NonZeroU64::new(cell)) {
            (Some(rate), Some(cell)) => {
                Ok(Self::Bucket { rate, cell, size: burst * cell.get(), quota })
            }
            _ => Err(ConfigError::new("limit", quota.limit(), "1 or more")),
        }
    }

    pub(crate) fn log(quota: Quota) -> Result<Self, ConfigError> {
        let period = window(quota)?;
        if quota.limit() > LOG_MAX {
            let allowed = format!("1 to {LOG_MAX}: a log remembers every call");
            return Err(ConfigError::new("limit", quota.limit(), allowed));
        }
        Ok(Self::Log { period, quota })
    }

    pub(crate) fn counter(quota: Quota) -> Result<Self, ConfigError> {
        let period = window(quota)?;
        if u64::from(quota.limit()) > (WHOLE_MAX - 1) / period {
            let allowed = format!("1 to {} per {:?}", (WHOLE_MAX - 1) / period, quota.period());
            return Err(ConfigError::new("limit", quota.limit(), allowed));
        }
        Ok(Self::Counter { period, quota })
    }

    pub(crate) fn fixed(quota: Quota) -> Result<Self, ConfigError> {
        Ok(Self::Fixed { period: window(quota)?, quota })
    }

    pub(crate) fn quota(&self) -> Quota {
        match self {
            Self::Bucket { quota, .. }
            | Self::Log { quota, .. }
            | Self::Counter { quota, .. }
            | Self::Fixed { quota, .. } => *quota,
        }
    }

    /// The name of the algorithm, rate, cell and size, as the script takes them. The name is in the
    /// key too, because states of different algorithms are not alike.
    pub(crate) fn arguments(&self) -> (char, u64, u64, u64) {
        let window = |name, period, quota: Quota| (name, period, 1, u64::from(quota.limit()));
        match *self {
            Self::Bucket { rate, cell, size, .. } => ('b', rate.get(), cell.get(), size),
            Self::Log { period, quota } => window('l', period, quota),
            Self::Counter { period, quota } => window('c', period, quota),
            Self::Fixed { period, quota } => window('f', period, quota),
        }
    }

    /// What a question that passes is answered: `before` cells passed before it since `state`, and
    /// `cost` are its own.
    pub(crate) fn allow(&self, state: State, now: u64, before: u64, cost: u64) -> Allowed {
        Allowed::new(self.standing(state, now, before, cost))
    }

    /// What a question is answered that is refused once `before` cells passed since `state`; unless
    /// another limit refused it, and this one would let it through.
    pub(crate) fn refuse(
        &self,
        state: State,
        now: u64,
        before: u64,
        asked: u64,
    ) -> Option<Rejected> {
        let standing = self.standing(state, now, before, 0);
        if asked > u64::from(standing.limit()) {
            return Some(Rejected::never(standing));
        }
        let wait = self.wait_nanos(state, now, before, asked);
        (wait > 0).then(|| Rejected::after(wait, standing))
    }

    fn standing(&self, state: State, now: u64, before: u64, cost: u64) -> Standing {
        let limit = self.quota().capacity();
        let cells = before + cost;
        match *self {
            Self::Bucket { rate, cell, size, .. } => {
                let [level, at, _] = state;
                let level = level.saturating_add(cells.saturating_mul(cell.get()));
                Standing {
                    limit: limit.into(),
                    room: size.saturating_sub(level),
                    unit: cell,
                    reset_nanos: nanos(at.saturating_sub(now)) + flow_nanos(level, rate),
                }
            }
            Self::Log { period, .. } => {
                let [used, last, _] = state;
                let last = if cells > 0 { now.max(last) } else { last };
                let used = used.saturating_add(cells);
                let end = if used > 0 { last + period } else { now };
                window_standing(limit, used, end, now)
            }
            Self::Counter { period, .. } => {
                let [current, index, previous] = state;
                let current = current.saturating_add(cells);
                let windows = if current > 0 { 2 } else { u64::from(previous > 0) };
                let end = if windows > 0 { (index + windows) * period } else { now };
                let used = current + weighted(previous, index, period, now);
                window_standing(limit, used, end, now)
            }
            Self::Fixed { period, .. } => {
                let [used, index, _] = state;
                let used = used.saturating_add(cells);
                let end = if used > 0 { (index + 1) * period } else { now };
                window_standing(limit, used, end, now)
            }
        }
    }

    /// How long until so many cells pass, which are at most the limit; none when they do now.
    fn wait_nanos(&self, state: State, now: u64, before: u64, asked: u64) -> u64 {
        match *self {
            Self::Bucket { rate, cell, size, .. } => {
                let [level, at, _] = state;
                let level = level.saturating_add((before + asked).saturating_mul(cell.get()));
                let over = level.saturating_sub(size);
                if over == 0 { 0 } else { nanos(at.saturating_sub(now)) + flow_nanos(over, rate) }
            }
            Self::Log { .. } => nanos(state[2].saturating_sub(now)),
            Self::Counter { period, quota } => {
                let [current, index, previous] = state;
                let current = current + before;
                let room = u64::from(quota.limit()).saturating_sub(asked);
                if current + weighted(previous, index, period, now) <= room {
                    return 0;
                }
                let start = nanos(index * period);
                let ready = match room.checked_sub(current) {
                    // Enough of the previous window leaves before this one ends.
                    Some(room) => start + until_nanos(previous, room, period),
                    // This window is the previous one by then.
                    None => start + nanos(period) + until_nanos(current, room, period),
                };
                ready.saturating_sub(nanos(now))
            }
            Self::Fixed { period, quota } => {
                let [used, index, _] = state;
                if used + before + asked <= u64::from(quota.limit()) {
                    return 0;
                }
                nanos(((index + 1) * period).saturating_sub(now))
            }
        }
    }
}

fn window_standing(limit: u32, used: u64, end: u64, now: u64) -> Standing {
    Standing {
        limit: limit.into(),
        room: u64::from(limit).saturating_sub(used),
        unit: NonZeroU64::MIN,
        reset_nanos: nanos(end.saturating_sub(now)),
    }
}

/// How many cells of the window before `index` count, rounded up.
fn weighted(previous: u64, index: u64, period: u64, now: u64) -> u64 {
    let left = ((index + 1) * period).saturating_sub(now).min(period);
    (previous * left).div_ceil(period)
}

/// How long after the end of a window at most `room` of its `cells` count.
fn until_nanos(cells: u64, room: u64, period: u64) -> u64 {
    let nanos = u128::from(period) * 1_000;
    let left = nanos * u128::from(room) / u128::from(cells.max(1));
    u64::try_from(nanos.saturating_sub(left)).unwrap_or(u64::MAX)
}

/// How long so many units take to flow off, rounded up.
fn flow_nanos(units: u64, rate: NonZeroU64) -> u64 {
    let nanos = (u128::from(units) * 1_000).div_ceil(u128::from(rate.get()));
    u64::try_from(nanos).unwrap_or(u64::MAX / 2)
}

fn nanos(micros: u64) -> u64 {
    micros.saturating_mul(1_000)
}

fn micros(quota: Quota) -> Result<u64, ConfigError> {
    let period = quota.period();
    // As much as leaves room to add a window to the time of day.
    const MOST: Duration = Duration::from_micros(WHOLE_MAX / 4);
    let nanos = period.as_nanos();
    if nanos == 0 || period > MOST || !nanos.is_multiple_of(1_000) {
        let allowed = "whole microseconds, 1us to 71 years: Redis tells no smaller ones";
        return Err(ConfigError::new("period", format!("{period:?}"), allowed));
    }
    if quota.limit() == 0 {
        return Err(ConfigError::new("limit", quota.limit(), "1 or more"));
    }
    Ok(u64::try_from(nanos / 1_000).unwrap_or(u64::MAX))
}

fn window(quota: Quota) -> Result<u64, ConfigError> {
    let period = micros(quota)?;
    if quota.capacity() != quota.limit() {
        let allowed = format!("the limit, {}: a window has no burst", quota.limit());
        return Err(ConfigError::new("burst", quota.capacity(), allowed));
    }
    Ok(period)
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
