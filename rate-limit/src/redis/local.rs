//! What a process keeps to by itself while Redis does not answer: its share of the limit.

use std::{fmt, sync::Arc};

use seawall_core::ConfigError;

use super::{
    ask::{Answer, Ask, Kind},
    plan::Plan,
};
use crate::{Allowed, Full, KeyedLimiter, Quota, Rejected, sync::Swap};

/// The keys that are told apart; the others share a bucket.
const KEYS: usize = 1 << 16;

/// A share of each limit of a plan, for each key: token buckets, whatever the plan counts by.
pub(crate) struct Local {
    share: f64,
    buckets: Swap<Vec<KeyedLimiter<[u8]>>>,
}

impl Local {
    /// # Errors
    ///
    /// When the share is not above 0 and at most 1, or when a share of a limit cannot be counted.
    pub(crate) fn new(plan: &Plan, share: f64) -> Result<Self, ConfigError> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(ConfigError::new("share", share, "above 0, and 1 at most"));
        }
        let local = Self { share, buckets: Swap::default() };
        local.set_plan(plan)?;
        Ok(local)
    }

    /// Shares of other limits from now on, which begin full.
    pub(crate) fn set_plan(&self, plan: &Plan) -> Result<(), ConfigError> {
        let bucket = |quota| {
            let bucket = KeyedLimiter::new(part_of(quota, self.share), KEYS)?;
            Ok(bucket.when_full(Full::Share))
        };
        let buckets: Result<Vec<_>, ConfigError> = plan.quotas().into_iter().map(bucket).collect();
        self.buckets.set(Arc::new(buckets.map_err(|error| error.within("share"))?));
        Ok(())
    }

    pub(crate) fn answer(&self, key: &[u8], ask: Ask, unknown: Allowed) -> Answer {
        self.buckets.with(|buckets| {
            let buckets = buckets.map_or(&[][..], |buckets| &buckets[..]);
            let (cost, room) = (ask.cost, room(buckets, key));
            match ask.kind {
                Kind::Refund => Answer { result: Ok(unknown), cells: 0, now_micros: 0 },
                Kind::AtMost => {
                    let cells = cost.min(room);
                    let result = Ok(each(buckets, key, cells).unwrap_or(unknown));
                    Answer { result, cells, now_micros: 0 }
                }
                Kind::Take | Kind::Peek => {
                    let spare = u32::try_from(ask.spare).unwrap_or(u32::MAX);
                    let passes = u64::from(room) >= u64::from(cost) + u64::from(spare);
                    let taken = if ask.kind == Kind::Take && passes { cost } else { 0 };
                    let result = match (passes, each(buckets, key, taken)) {
                        (true, standing) => standing,
                        (false, _) => {
                            Err(refusal(buckets, key, cost.saturating_add(spare), unknown))
                        }
                    };
                    let cells = if result.is_ok() { taken } else { 0 };
                    Answer { result, cells, now_micros: 0 }
                }
            }
        })
    }
}

/// What all of the buckets have for `key`.
fn room(buckets: &[KeyedLimiter<[u8]>], key: &[u8]) -> u32 {
    // A cost of nothing looks.
    let room =
        |bucket: &KeyedLimiter<[u8]>| bucket.check_n(key, 0).map_or(0, |now| now.remaining());
    buckets.iter().map(room).min().unwrap_or(0)
}

/// Takes `cost` from each, and tells of the scarcest. Two calls at once may both find room for one of
/// them: then one is refused, and a bucket that had room for both has lost what it took.
fn each(buckets: &[KeyedLimiter<[u8]>], key: &[u8], cost: u32) -> Result<Allowed, Rejected> {
    let mut scarcest: Option<Allowed> = None;
    for (index, bucket) in (0..).zip(buckets) {
        let allowed = bucket.check_n(key, cost).map_err(|rejected| rejected.at(index))?.at(index);
        if scarcest.is_none_or(|scarcest| allowed.remaining() < scarcest.remaining()) {
            scarcest = Some(allowed);
        }
    }
    Ok(scarcest.expect("a plan has a limit, checked when it was built"))
}

/// Of the buckets without room for `cost`, the one that has it last.
fn refusal(buckets: &[KeyedLimiter<[u8]>], key: &[u8], cost: u32, unknown: Allowed) -> Rejected {
    let short =
        (0..).zip(buckets).filter(|(_, bucket)| room(std::slice::from_ref(*bucket), key) < cost);
    let refused = short.filter_map(|(index, bucket)| {
        // Takes nothing, as there is not that much.
        bucket.check_n(key, cost).err().map(|rejected| rejected.at(index))
    });
    let last = refused.reduce(|last, next| if next.is_later_than(&last) { next } else { last });
    last.unwrap_or_else(|| Rejected::after(1, unknown.standing()))
}

/// `share` of `quota`: the same number in a longer time, and less at once.
fn part_of(quota: Quota, share: f64) -> Quota {
    let burst = (f64::from(quota.capacity()) * share) as u32;
    Quota::new(quota.limit(), quota.period().div_f64(share)).burst(burst.max(1))
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("share", &self.share).finish_non_exhaustive()
    }
}
