//! What a limiter looks like at one moment.

use std::{sync::Arc, time::Duration};

use super::RateLimiter;
use crate::{Quota, Totals, algorithm::Algorithm};

/// How a limiter stood when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// What it limits to.
    pub quota: Quota,
    /// How many cells are left.
    pub remaining: u32,
    /// How long until it is at rest, if nobody calls until then.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    pub reset_after: Duration,
    /// How many cells sheddable calls leave alone.
    pub reserve: u32,
    /// Whether it refuses nothing.
    pub shadow: bool,
    /// How many calls it decided on, where that is counted.
    pub totals: Option<Totals>,
}

impl<A: Algorithm> RateLimiter<A> {
    /// How the limiter stands.
    pub fn snapshot(&self) -> Snapshot {
        let (remaining, reset_after) = match self.look(0) {
            Ok(allowed) => (allowed.remaining(), allowed.reset_after()),
            Err(rejected) => (rejected.remaining(), rejected.reset_after()),
        };
        let watch = &self.shared.watch;
        Snapshot {
            name: watch.shared_name(),
            quota: self.quota(),
            remaining,
            reset_after,
            reserve: watch.reserve(),
            shadow: watch.is_shadow(),
            totals: watch.totals(),
        }
    }
}
