//! How long an open breaker refuses.

use std::time::Duration;

use fastrand::Rng;
use seawall_core::ConfigError;

use super::check::above_zero;

/// How long an open breaker refuses calls before the first probe.
///
/// # Algorithm
///
/// The wait after the n-th opening in a row is `initial · 2ⁿ⁻¹`, at most `max`; a random part of it,
/// up to the share `jitter`, is taken off, so that many clients of one callee do not probe it at once.
/// A recovery that lasts at least as long as the last wait ends the row.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_circuit_breaker::{Config, OpenWait};
///
/// let wait = OpenWait::exponential(Duration::from_secs(1), Duration::from_secs(60));
/// let config = Config::builder().open_wait(wait).build()?;
/// # let _ = config;
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OpenWait {
    pub(super) initial: Duration,
    pub(super) max: Duration,
    pub(super) jitter: f64,
    pub(super) server: Option<(Duration, Duration)>,
}

/// A fifth spreads the probes of many clients, and a wait stays about as long as it was set.
const JITTER: f64 = 0.2;

impl OpenWait {
    /// Always `wait`, without jitter unless that is set.
    pub const fn constant(wait: Duration) -> Self {
        Self { initial: wait, max: wait, jitter: 0.0, server: None }
    }

    /// `initial`, and twice as long each time that the breaker opens again, up to `max`; up to a fifth
    /// is taken off by chance.
    pub const fn exponential(initial: Duration, max: Duration) -> Self {
        Self { initial, max, jitter: JITTER, server: None }
    }

    /// The share of a wait that chance may take off, 0 to 1.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// Where the call that opened the breaker was told how long to wait, by `Retry-After`,
    /// `grpc-retry-pushback-ms` or `google.rpc.RetryInfo`, waits that long, but at least `min` and at
    /// most `max`.
    ///
    /// The layers that judge HTTP and gRPC hear of it by themselves; a permit of your own is told with
    /// [`Permit::retry_after`](crate::Permit::retry_after).
    #[must_use]
    pub const fn from_server(mut self, min: Duration, max: Duration) -> Self {
        self.server = Some((min, max));
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        above_zero("open_wait", self.initial)?;
        if self.max < self.initial {
            let max = format_args!("{:?}", self.max).to_string();
            return Err(ConfigError::new("open_wait.max", max, "at least the initial wait"));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(ConfigError::new("open_wait.jitter", self.jitter, "0 to 1"));
        }
        if let Some((min, max)) = self.server {
            above_zero("open_wait.server_min", min)?;
            if max < min {
                let max = format_args!("{max:?}").to_string();
                return Err(ConfigError::new("open_wait.server_max", max, "at least the minimum"));
            }
        }
        Ok(())
    }

    /// The wait after `before` openings in a row.
    pub(crate) fn after(&self, before: u32, told: Option<Duration>, rng: &mut Rng) -> Duration {
        if let (Some((min, max)), Some(told)) = (self.server, told) {
            return told.clamp(min, max);
        }
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        let wait = self.initial.saturating_mul(factor).min(self.max);
        if self.jitter == 0.0 {
            return wait;
        }
        let kept = 1.0 - self.jitter * rng.f64();
        // At least a nanosecond: the clock must pass it.
        Duration::try_from_secs_f64(wait.as_secs_f64() * kept)
            .unwrap_or(wait)
            .clamp(Duration::from_nanos(1), wait)
    }
}

/// A constant wait.
impl From<Duration> for OpenWait {
    fn from(wait: Duration) -> Self {
        Self::constant(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_exponential_wait_doubles_up_to_its_cap() {
        let wait = OpenWait::exponential(SECOND, 10 * SECOND).jitter(0.0);
        let mut rng = Rng::with_seed(1);
        let waits: Vec<_> = (0..6).map(|n| wait.after(n, None, &mut rng).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(wait.after(u32::MAX, None, &mut rng), 10 * SECOND);
    }

    #[test]
    fn jitter_takes_off_no_more_than_its_share_and_differs_between_clients() {
        let wait = OpenWait::exponential(SECOND, 10 * SECOND);
        let waits: Vec<_> =
            (0..50).map(|seed| wait.after(0, None, &mut Rng::with_seed(seed))).collect();
        assert!(waits.iter().all(|wait| (SECOND * 4 / 5..=SECOND).contains(wait)), "{waits:?}");
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn what_the_server_says_is_kept_within_bounds_and_only_if_asked_for() {
        let plain = OpenWait::constant(SECOND);
        let asked = plain.from_server(2 * SECOND, 30 * SECOND);
        let mut rng = Rng::with_seed(1);
        for (wait, told, expected) in [
            (plain, Some(7 * SECOND), SECOND),
            (asked, Some(7 * SECOND), 7 * SECOND),
            (asked, Some(SECOND), 2 * SECOND),
            (asked, Some(Duration::MAX), 30 * SECOND),
            (asked, None, SECOND),
        ] {
            assert_eq!(wait.after(0, told, &mut rng), expected);
        }
    }
}
