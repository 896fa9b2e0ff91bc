//! What is limited to, and who may wait.

use std::time::Duration;

use seawall_core::ConfigError;

use super::{
    aimd::Aimd,
    bounds::{MOST, at_most},
    gradient::Gradient,
};

#[cfg(feature = "serde")]
mod spec;

/// How many calls may be in flight, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Limit {
    /// So many, 1 to 1,000,000, until it is changed.
    Fixed(u32),
    /// As many as are answered in time.
    Aimd(Aimd),
    /// As many as make no queue.
    Gradient(Gradient),
}

impl From<u32> for Limit {
    fn from(limit: u32) -> Self {
        Self::Fixed(limit)
    }
}

impl From<Aimd> for Limit {
    fn from(rule: Aimd) -> Self {
        Self::Aimd(rule)
    }
}

impl From<Gradient> for Limit {
    fn from(rule: Gradient) -> Self {
        Self::Gradient(rule)
    }
}

/// What a [`ConcurrencyLimit`](super::ConcurrencyLimit) goes by: checked, and cheap to copy.
///
/// With the feature `serde` it is read from a configuration: `{"limit": 100}`, or
///
/// ```json
/// {
///   "limit": { "aimd": { "threshold": "250ms", "max": 200 } },
///   "queue": { "calls": 50, "wait": "100ms" }
/// }
/// ```
///
/// with `gradient` in place of `aimd` for the other rule, and the fields named as the setters.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "spec::Spec"))]
pub struct Config {
    pub(crate) limit: Limit,
    pub(crate) queue: Queueing,
}

/// Who may wait for how long. Nobody, when `calls` is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queueing {
    pub(crate) calls: u32,
    pub(crate) wait: Duration,
}

impl Config {
    /// Begins with `limit`; nobody waits unless that is set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use seawall_rate_limit::concurrency::{ConcurrencyLimit, Config};
    ///
    /// let config = Config::builder(100).queue(50, Duration::from_millis(200)).build()?;
    /// let limit = ConcurrencyLimit::of(config).named("orders");
    /// # let _ = limit;
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    pub fn builder(limit: impl Into<Limit>) -> Builder {
        Builder { limit: limit.into(), queue: None }
    }

    /// What is limited to.
    pub fn limit(&self) -> Limit {
        self.limit
    }
}

/// Sets up a [`Config`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `build`"]
pub struct Builder {
    limit: Limit,
    queue: Option<Queueing>,
}

impl Builder {
    /// Lets calls wait in turn: at most so many at once, 1 to 1,000,000, each for at most so long,
    /// which is above zero. [`Duration::MAX`] waits as long as it takes.
    ///
    /// Short is better: what waits is late already, and its caller may give up.
    pub fn queue(mut self, calls: u32, wait: Duration) -> Self {
        self.queue = Some(Queueing { calls, wait });
        self
    }

    /// Checks it.
    ///
    /// # Errors
    ///
    /// Names the field that is outside of what its setter says.
    pub fn build(self) -> Result<Config, ConfigError> {
        self.limit.check()?;
        let queue = match self.queue {
            None => Queueing { calls: 0, wait: Duration::ZERO },
            Some(queue) => {
                at_most("queue.calls", queue.calls, MOST)?;
                if queue.wait.is_zero() {
                    return Err(ConfigError::new("queue.wait", "0ns", "above zero"));
                }
                queue
            }
        };
        Ok(Config { limit: self.limit, queue })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_with_its_name_and_what_can() {
        let second = Duration::from_secs(1);
        let error = |limit: Limit| Config::builder(limit).build().unwrap_err().to_string();
        for (limit, message) in [
            (0.into(), "`limit` is 0, but must be 1 to 1000000"),
            (1_000_001.into(), "`limit` is 1000001, but must be 1 to 1000000"),
            (Aimd::new(Duration::ZERO).into(), "`threshold` is 0ns, but must be above zero"),
            (Aimd::new(second).backoff(1.0).into(), "`backoff` is 1, but must be 0.1 to 0.99"),
            (
                Aimd::new(second).backoff(f64::NAN).into(),
                "`backoff` is NaN, but must be 0.1 to 0.99",
            ),
            (Aimd::new(second).min(0).into(), "`min` is 0, but must be 1 to 1000"),
            (Aimd::new(second).max(10).into(), "`initial` is 20, but must be 1 to 10"),
            (Gradient::new().min(21).into(), "`initial` is 20, but must be 21 to 1000"),
            (Gradient::new().max(2_000_000).into(), "`max` is 2000000, but must be 1 to 1000000"),
            (Gradient::new().tolerance(0.9).into(), "`tolerance` is 0.9, but must be 1 to 1.9"),
            (
                Gradient::new().smoothing(0.0).into(),
                "`smoothing` is 0, but must be above 0, at most 1",
            ),
            (
                Gradient::new().window(Duration::ZERO).into(),
                "`window` is 0ns, but must be above zero",
            ),
            (Gradient::new().samples(0).into(), "`samples` is 0, but must be 1 to 100000"),
            (
                Gradient::new().window(second).probe_every(second * 9).into(),
                "`probe_every` is 9s, but must be at least 10s",
            ),
        ] {
            assert_eq!(error(limit), message);
        }
        let queue = |calls, wait| Config::builder(1).queue(calls, wait).build();
        let error = queue(0, second).unwrap_err().to_string();
        assert_eq!(error, "`queue.calls` is 0, but must be 1 to 1000000");
        let error = queue(1, Duration::ZERO).unwrap_err().to_string();
        assert_eq!(error, "`queue.wait` is 0ns, but must be above zero");
        assert!(queue(1_000_000, Duration::MAX).is_ok());
    }
}
