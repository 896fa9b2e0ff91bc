//! What a throttle is told when it is built.

use std::time::Duration;

use seawall_core::ConfigError;

use super::{Priority, odds::Multiplier};
use crate::{OnDrop, config::check};

/// The checked settings of a throttle.
///
/// | setting | default | why |
/// |---|---|---|
/// | [`window`](Builder::window) | 2 min | the book's; shorter ones react and recover faster, and need more calls |
/// | [`k`](Builder::k), critical | 2 | the book's: sheds once less than half is accepted |
/// | critical plus | 3 | sheds once less than a third is |
/// | sheddable plus | 1.75 | sheds once less than 57 % is |
/// | sheddable | 1.5 | sheds once less than two thirds are. Much smaller ones come back slowly: at 1.1, from one call in a thousand to all of them takes more than an hour |
/// | [`padding`](Builder::padding) | 1 | the book's |
/// | [`on_drop`](Builder::on_drop) | [`OnDrop::Ignore`] | callers drop calls for reasons of their own |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_circuit_breaker::throttle::{Config, Priority};
///
/// let config = Config::builder()
///     .window(Duration::from_secs(30))
///     .k(Priority::Sheddable, 1.3)
///     .build()?;
/// # let _ = config;
///
/// let error = Config::builder().k(Priority::Critical, 1.0).build().unwrap_err();
/// assert_eq!(error.to_string(), "`k.critical` is 1, but must be above 1, at most 1000");
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::spec::Spec"))]
pub struct Config {
    pub(super) window: Duration,
    /// By priority.
    pub(super) k: [Multiplier; 4],
    pub(super) padding: u32,
    pub(super) on_drop: OnDrop,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder {
            window: Duration::from_secs(120),
            k: [3.0, 2.0, 1.75, 1.5],
            padding: 1,
            on_drop: OnDrop::Ignore,
        }
    }
}

/// The defaults of the table.
impl Default for Config {
    fn default() -> Self {
        Self::builder().build().expect("the defaults are inside their ranges")
    }
}

/// Sets up a [`Config`].
#[derive(Clone, Debug)]
#[must_use = "call `build`"]
pub struct Builder {
    window: Duration,
    k: [f64; 4],
    padding: u32,
    on_drop: OnDrop,
}

impl Builder {
    /// How far back requests and accepts are counted; 10 ms to a day, default 2 min.
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many times what is accepted may be sent, for calls of this priority; above 1, at most
    /// 1000, rounded to thousandths; default 3, 2, 1.75 and 1.5 from the most critical on.
    ///
    /// At 1 a throttle would never come back: it sends what was accepted, and no more is accepted
    /// than was sent.
    pub fn k(mut self, priority: Priority, k: f64) -> Self {
        self.k[priority as usize] = k;
        self
    }

    /// What is added to the requests below the line, so that a few refusals among few calls weigh
    /// less; at least 1, default 1.
    ///
    /// gRPC's own throttle for route look-ups takes 8.
    pub fn padding(mut self, requests: u32) -> Self {
        self.padding = requests;
        self
    }

    /// What a call counts as that its caller dropped: nothing, or as not accepted; default
    /// [`OnDrop::Ignore`].
    pub fn on_drop(mut self, policy: OnDrop) -> Self {
        self.on_drop = policy;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range, its value and the range.
    pub fn build(self) -> Result<Config, ConfigError> {
        check::window_time(self.window)?;
        check::at_least_one("padding", self.padding)?;
        check::on_drop(self.on_drop)?;
        let mut k = [Multiplier(0); 4];
        for priority in Priority::ALL {
            k[priority as usize] = multiplier(priority, self.k[priority as usize])?;
        }
        Ok(Config { window: self.window, k, padding: self.padding, on_drop: self.on_drop })
    }
}

fn multiplier(priority: Priority, k: f64) -> Result<Multiplier, ConfigError> {
    let thousandths = (k * 1_000.0).round();
    // Not a number fails both comparisons.
    if thousandths >= 1_001.0 && k <= 1_000.0 {
        Ok(Multiplier(thousandths as u32))
    } else {
        Err(ConfigError::new(format!("k.{priority}"), k, "above 1, at most 1000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_out_of_range_is_refused_by_name() {
        let builder = Config::builder;
        for (builder, field, value) in [
            (builder().window(Duration::ZERO), "window", "0ns"),
            (builder().window(Duration::from_secs(86_401)), "window", "86401s"),
            (builder().k(Priority::Sheddable, 1.0), "k.sheddable", "1"),
            (builder().k(Priority::CriticalPlus, f64::NAN), "k.critical_plus", "NaN"),
            (builder().k(Priority::SheddablePlus, 1_001.0), "k.sheddable_plus", "1001"),
            (builder().padding(0), "padding", "0"),
            (builder().on_drop(OnDrop::FailureAfter(Duration::ZERO)), "on_drop", "0ns"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!((error.field(), error.value()), (field, value));
        }
    }
}
