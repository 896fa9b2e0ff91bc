//! Endpoints that begin with a part of their share.

use std::time::Duration;

use seawall_core::ConfigError;

/// Lets a new endpoint, and one that returns from ejection, grow into its share of the calls.
///
/// The endpoints of a balancer's first batch are not new: there is nobody else to take the calls.
///
/// # Algorithm
///
/// Envoy's slow start: the share is `max(minimum, (age / window)^(1 / aggression))`. Envoy counts an
/// age below a second as one; here it counts as what it is, so that short windows are of use. The
/// share is the part of its turns or draws that the endpoint takes, whatever the policy.
///
/// Also for endpoints whose breaker closes again ([`BalancerBuilder::admits`]) and whose active
/// checks pass again.
///
/// [`BalancerBuilder::admits`]: crate::BalancerBuilder::admits
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_load_balance::SlowStart;
///
/// let slow_start = SlowStart::new(Duration::from_secs(30)).with_min_percent(5);
/// # let _ = slow_start;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SlowStart {
    window: Duration,
    min_percent: u8,
    aggression: f64,
}

impl SlowStart {
    /// Grows in a straight line from 10 percent to all of its share in `window`.
    pub const fn new(window: Duration) -> Self {
        Self { window, min_percent: 10, aggression: 1.0 }
    }

    /// The share to begin with; 1 to 100 percent, 10 unless set.
    #[must_use]
    pub const fn with_min_percent(mut self, percent: u8) -> Self {
        self.min_percent = percent;
        self
    }

    /// How fast the share grows at first: above 1 it starts steep, below 1 it starts flat; above 0,
    /// 1 unless set.
    #[must_use]
    pub const fn with_aggression(mut self, aggression: f64) -> Self {
        self.aggression = aggression;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.window.is_zero() {
            return Err(ConfigError::new("window", "0s", "more than 0"));
        }
        if self.min_percent == 0 || self.min_percent > 100 {
            return Err(ConfigError::new("min_percent", self.min_percent, "1 to 100"));
        }
        if !self.aggression.is_finite() || self.aggression <= 0.0 {
            return Err(ConfigError::new("aggression", self.aggression, "a number above 0"));
        }
        Ok(())
    }

    /// The share of an endpoint that is this old, from 0 to 1.
    pub(crate) fn share(&self, age: Duration) -> f64 {
        let part = (age.as_secs_f64() / self.window.as_secs_f64()).min(1.0);
        part.powf(1.0 / self.aggression).max(f64::from(self.min_percent) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start>
    /// has the formula, a minimum of 10 percent and pictures without figures; these are worked out.
    #[test]
    fn the_share_follows_the_formula() {
        let linear = SlowStart::new(Duration::from_secs(60));
        let steep = linear.clone().with_aggression(2.0);
        for (age, straight, bent) in
            [(0, 0.1, 0.1), (6, 0.1, 0.316), (15, 0.25, 0.5), (30, 0.5, 0.707), (60, 1.0, 1.0)]
        {
            let age = Duration::from_secs(age);
            assert!((linear.share(age) - straight).abs() < 0.001, "{age:?} {}", linear.share(age));
            assert!((steep.share(age) - bent).abs() < 0.001, "{age:?} {}", steep.share(age));
        }
        assert_eq!(linear.share(Duration::MAX), 1.0);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |rules: SlowStart| rules.check().unwrap_err().field().to_owned();
        let minute = SlowStart::new(Duration::from_secs(60));
        assert_eq!(field(SlowStart::new(Duration::ZERO)), "window");
        assert_eq!(field(minute.clone().with_min_percent(0)), "min_percent");
        assert_eq!(field(minute.clone().with_aggression(f64::NAN)), "aggression");
        assert_eq!(field(minute.with_aggression(0.0)), "aggression");
    }
}
