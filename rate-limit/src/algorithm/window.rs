//! What the windows have in common.

use std::{num::NonZeroU64, time::Duration};

use seawall_core::{ConfigError, Instant};

use super::token_bucket::period_nanos;
use crate::{Quota, decision::Standing};

/// The size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) nanos: u64,
    pub(super) limit: u32,
}

impl Window {
    pub(super) fn new(quota: Quota) -> Result<Self, ConfigError> {
        let nanos = period_nanos(quota)?;
        if quota.capacity() != quota.limit() {
            let allowed = format!("the limit, {}: a window has no burst", quota.limit());
            return Err(ConfigError::new("burst", quota.capacity(), allowed));
        }
        Ok(Self { nanos, limit: quota.limit() })
    }

    /// What has to be left for a call: nothing for one that takes nothing.
    pub(super) fn asked(&self, cost: u32, spare: u32) -> u32 {
        if cost == 0 { 0 } else { cost.saturating_add(spare) }
    }

    pub(super) fn quota(&self) -> Quota {
        Quota::new(self.limit, Duration::from_nanos(self.nanos))
    }

    pub(super) fn standing(&self, used: u32, reset: Instant, now: Instant) -> Standing {
        Standing {
            limit: self.limit.into(),
            room: self.limit.saturating_sub(used).into(),
            unit: NonZeroU64::MIN,
            reset_nanos: reset.as_nanos().saturating_sub(now.as_nanos()),
        }
    }
}
