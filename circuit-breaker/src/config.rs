//! What a breaker is told when it is built.
//!
//! | setting | default | why |
//! |---|---|---|
//! | [`consecutive_failures`](Builder::consecutive_failures) | 5 | Envoy's `consecutive_5xx`: a healthy callee that fails one call in ten does so once in 100,000 calls |
//! | [`open_wait`](Builder::open_wait) | 5 s | long enough for a restart, short enough that a blip costs little (Hystrix, Polly) |
//! | [`probes`](Builder::probes) | 1 | a callee that has just come back gets one call, not a crowd (Hystrix, gobreaker) |
//! | [`half_open`](Builder::half_open) | first failure reopens, 1 success closes | the classic breaker |
//! | [`probe_timeout`](Builder::probe_timeout) | 10 s | the longest that a usual call is waited for |
//! | [`on_drop`](Builder::on_drop) | [`OnDrop::Ignore`] | callers drop calls for reasons of their own, such as a lost hedge |
//! | [`mode`](Builder::mode) | [`Mode::Automatic`] | |

use std::time::Duration;

use seawall_core::ConfigError;

use crate::{Mode, Ratio};

/// The checked settings of a breaker.
///
/// The [module](self) has the table of defaults.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_circuit_breaker::Config;
///
/// let config = Config::builder()
///     .consecutive_failures(3)
///     .open_wait(Duration::from_secs(2))
///     .probes(2)
///     .successes_to_close(2)
///     .build()?;
/// # let _ = config;
///
/// let error = Config::builder().probes(0).build().unwrap_err();
/// assert_eq!(error.to_string(), "`probes` is 0, but must be 1 to 1024");
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) consecutive: Option<u32>,
    pub(crate) open_wait: Duration,
    pub(crate) probes: u16,
    pub(crate) half_open: HalfOpen,
    pub(crate) probe_timeout: Duration,
    pub(crate) on_drop: OnDrop,
    pub(crate) mode: Mode,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder {
            config: Self {
                consecutive: Some(5),
                open_wait: Duration::from_secs(5),
                probes: 1,
                half_open: HalfOpen::FirstFailure { successes: 1 },
                probe_timeout: Duration::from_secs(10),
                on_drop: OnDrop::Ignore,
                mode: Mode::Automatic,
            },
        }
    }
}

/// The defaults of the table.
impl Default for Config {
    fn default() -> Self {
        Self::builder().config
    }
}

/// How probes decide whether the callee has recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HalfOpen {
    /// The first failure opens again; this many successes close.
    #[non_exhaustive]
    FirstFailure {
        /// At least 1.
        successes: u32,
    },
    /// A number of probes, then their failure rate.
    #[non_exhaustive]
    Rate {
        /// How many probes with a verdict, at least 1.
        calls: u32,
        /// The share of failures that opens again.
        failure_rate: Ratio,
        /// Decide as soon as the rest cannot change the result.
        early: bool,
    },
}

impl HalfOpen {
    /// The classic: the first failure opens again, and `successes` without one close.
    pub const fn first_failure(successes: u32) -> Self {
        Self::FirstFailure { successes }
    }

    /// Waits for the verdict of `calls` probes; opens again when the share of failures among them is
    /// at least `failure_rate`, else closes.
    pub const fn rate(calls: u32, failure_rate: Ratio) -> Self {
        Self::Rate { calls, failure_rate, early: false }
    }

    /// As [`rate`](Self::rate), but decides as soon as the missing verdicts cannot change the result.
    pub const fn early_rate(calls: u32, failure_rate: Ratio) -> Self {
        Self::Rate { calls, failure_rate, early: true }
    }
}

/// What a call counts as that its caller dropped before it ended.
///
/// A time-out outside the breaker drops the calls that it gives up on, so a breaker inside one needs
/// [`FailureAfter`](Self::FailureAfter) with a little less than that time-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// Nothing.
    #[default]
    Ignore,
    /// A failure.
    Failure,
    /// A failure when the call is at least this old, else nothing.
    ///
    /// Costs a reading of the clock for each call.
    FailureAfter(Duration),
}

/// Sets up a [`Config`].
#[derive(Clone, Debug)]
#[must_use = "call `build`"]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// Opens after this many failures without a success between them; at least 1, default 5.
    pub fn consecutive_failures(mut self, n: u32) -> Self {
        self.config.consecutive = Some(n);
        self
    }

    /// How long to refuse calls before the first probe; above 0, default 5 s.
    pub fn open_wait(mut self, wait: Duration) -> Self {
        self.config.open_wait = wait;
        self
    }

    /// How many probes may be in flight at once; 1 to 1024, default 1.
    pub fn probes(mut self, n: u16) -> Self {
        self.config.probes = n;
        self
    }

    /// Closes after this many successful probes; the first failed one opens again. At least 1,
    /// default 1.
    ///
    /// Short for [`half_open`](Self::half_open) with [`HalfOpen::first_failure`].
    pub fn successes_to_close(self, n: u32) -> Self {
        self.half_open(HalfOpen::first_failure(n))
    }

    /// How probes decide; default [`HalfOpen::first_failure`] with 1 success.
    pub fn half_open(mut self, rule: HalfOpen) -> Self {
        self.config.half_open = rule;
        self
    }

    /// How long a probe may go without an answer before it counts as a failure and its slot serves
    /// another call; above 0, default 10 s.
    ///
    /// A probe that has answered by then, such as a long stream, counts as a success.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.config.probe_timeout = timeout;
        self
    }

    /// What a call counts as that its caller dropped; default [`OnDrop::Ignore`].
    pub fn on_drop(mut self, policy: OnDrop) -> Self {
        self.config.on_drop = policy;
        self
    }

    /// Who decides to begin with; default [`Mode::Automatic`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range, its value and the range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        if config.consecutive == Some(0) {
            return Err(ConfigError::new("consecutive_failures", 0, "at least 1"));
        }
        above_zero("open_wait", config.open_wait)?;
        if !(1..=MAX_PROBES).contains(&config.probes) {
            return Err(ConfigError::new("probes", config.probes, "1 to 1024"));
        }
        match config.half_open {
            HalfOpen::FirstFailure { successes: 0 } => {
                return Err(ConfigError::new("successes_to_close", 0, "at least 1"));
            }
            HalfOpen::Rate { calls: 0, .. } => {
                return Err(ConfigError::new("half_open.calls", 0, "at least 1"));
            }
            _ => {}
        }
        above_zero("probe_timeout", config.probe_timeout)?;
        if let OnDrop::FailureAfter(age) = config.on_drop {
            above_zero("on_drop", age)?;
        }
        Ok(config)
    }
}

/// Slots are searched one by one under a lock; a thousand take about a microsecond.
const MAX_PROBES: u16 = 1024;

fn above_zero(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(field, format_args!("{value:?}"), "above 0"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_out_of_range_is_refused_by_name() {
        let zero = Duration::ZERO;
        for (builder, field, value) in [
            (Config::builder().consecutive_failures(0), "consecutive_failures", "0"),
            (Config::builder().open_wait(zero), "open_wait", "0ns"),
            (Config::builder().probes(0), "probes", "0"),
            (Config::builder().probes(1025), "probes", "1025"),
            (Config::builder().successes_to_close(0), "successes_to_close", "0"),
            (Config::builder().half_open(HalfOpen::rate(0, Ratio::ONE)), "half_open.calls", "0"),
            (Config::builder().probe_timeout(zero), "probe_timeout", "0ns"),
            (Config::builder().on_drop(OnDrop::FailureAfter(zero)), "on_drop", "0ns"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!((error.field(), error.value()), (field, value));
        }
    }

    #[test]
    fn the_edges_of_the_ranges_are_inside() {
        let config = Config::builder()
            .consecutive_failures(u32::MAX)
            .probes(1024)
            .open_wait(Duration::MAX)
            .probe_timeout(Duration::from_nanos(1))
            .build();
        assert!(config.is_ok(), "{config:?}");
        assert!(Config::builder().build().is_ok(), "the defaults are valid");
    }
}
