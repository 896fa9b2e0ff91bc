//! How many calls a client may make.

use std::{num::NonZeroU32, time::Duration};

use seawall_core::{ConfigError, duration};
use serde::{Deserialize, Serialize};

/// How many calls a client may make; retries of a call do not count again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Calls per period.
    pub(crate) limit: NonZeroU32,
    /// The time in which they may be made; 1s unless set.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(default = "one_second", with = "duration")]
    pub(crate) period: Duration,
    /// Calls that may come at once; as many as `limit` unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) burst: Option<NonZeroU32>,
    /// How long a call waits for its turn before it is refused.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(default, with = "duration")]
    pub(crate) wait: Duration,
    /// What calls leave over that may be shed; a fifth of the burst unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reserve: Option<u32>,
    /// Shares the limit with other processes through Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shared: Option<Shared>,
}

fn one_second() -> Duration {
    Duration::from_secs(1)
}

impl RateLimit {
    /// `limit` calls a second, as many of them at once, and a refusal for those above.
    pub fn per_second(limit: NonZeroU32) -> Self {
        Self {
            limit,
            period: one_second(),
            burst: None,
            wait: Duration::ZERO,
            reserve: None,
            shared: None,
        }
    }

    /// The time in which `limit` calls may be made; 1 s unless set.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// How many calls may come at once; as many as the limit unless set.
    #[must_use]
    pub fn burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// How long a call waits for its turn before it is refused; not at all unless set.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How many of the burst are kept for critical calls: one that may be shed
    /// ([`Policy::priority`](super::Policy::priority)) passes only while more are left, and does not
    /// wait. A fifth of the burst unless set: enough that calls of users get through while others are
    /// shed, and little enough to be no waste while there are none.
    #[must_use]
    pub fn reserve(mut self, calls: u32) -> Self {
        self.reserve = Some(calls);
        self
    }

    /// Shares the limit with all processes whose clients have the same name, through Redis. Feature
    /// `redis`.
    #[must_use]
    pub fn shared(mut self, shared: Shared) -> Self {
        self.shared = Some(shared);
        self
    }

    /// How many calls may come at once.
    pub(crate) fn burst_of(&self) -> u32 {
        self.burst.unwrap_or(self.limit).get()
    }

    /// What calls leave over that may be shed.
    pub(crate) fn reserve_of(&self) -> u32 {
        self.reserve.unwrap_or_else(|| self.burst_of().div_ceil(5))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(shared) = &self.shared {
            shared.check().map_err(|error| error.within("shared"))?;
        }
        if let Some(reserve) = self.reserve.filter(|reserve| *reserve >= self.burst_of()) {
            let want = format!("below the burst of {}", self.burst_of());
            return Err(ConfigError::new("reserve", reserve, want));
        }
        if self.period.is_zero() {
            return Err(ConfigError::new("period", "0s", "above 0s"));
        }
        Ok(())
    }
}

/// A limit that many processes share through Redis: the clients of one name, and the routes of one
/// title in them.
///
/// ```
/// # #[cfg(feature = "redis")] {
/// let policy = seawall::policy::Policy::from_yaml("
/// rate_limit: { limit: 100, burst: 200, shared: { url: 'redis://10.0.0.9', on_failure: open } }
/// ").unwrap();
/// policy.check().unwrap();
/// # }
/// ```
///
/// The address is part of the policy, and shown wherever that is shown. One with a password stands in
/// the environment, and its name here: `url: env:ORDERS_REDIS`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Where Redis is: `redis://`, or `rediss://` for TLS; or `env:` and the name of the variable in
    /// the environment that says it.
    pub(crate) url: String,
    /// What happens while Redis does not answer; no default, because either is wrong for somebody.
    pub(crate) on_failure: OnFailure,
    /// How long a decision may take; 50ms unless set.
    #[cfg_attr(feature = "schema", schemars(with = "super::schema::Time"))]
    #[serde(default = "fifty_millis", with = "duration")]
    pub(crate) timeout: Duration,
}

/// What a shared limit does while Redis does not answer. There is no default, because either is wrong
/// for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(with = "Written"))]
#[serde(from = "Written", into = "Written")]
#[non_exhaustive]
pub enum OnFailure {
    /// Lets every call through: for limits that keep order, where to refuse is worse.
    Open,
    /// Refuses every call: for limits that protect what would break.
    Closed,
    /// Keeps to this many percent of the limit by itself, 1 to 100: with four processes 25, so that
    /// all of them together keep to the whole. In YAML `on_failure: { local: 25 }`.
    Local(u8),
}

/// How a policy says it: YAML has another way to write a variant with a value.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected `open`, `closed` or `{ local: PERCENT }`")]
enum Written {
    Word(Word),
    Share(Share),
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Every call passes.
    Open,
    /// No call passes.
    Closed,
}

/// A share of the limit passes.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct Share {
    /// In percent.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100)))]
    local: u8,
}

impl From<Written> for OnFailure {
    fn from(written: Written) -> Self {
        match written {
            Written::Word(Word::Open) => Self::Open,
            Written::Word(Word::Closed) => Self::Closed,
            Written::Share(Share { local }) => Self::Local(local),
        }
    }
}

impl From<OnFailure> for Written {
    fn from(on_failure: OnFailure) -> Self {
        match on_failure {
            OnFailure::Open => Self::Word(Word::Open),
            OnFailure::Closed => Self::Word(Word::Closed),
            OnFailure::Local(local) => Self::Share(Share { local }),
        }
    }
}

fn fifty_millis() -> Duration {
    Duration::from_millis(50)
}

impl Shared {
    /// Through the Redis at `url`: `redis://`, or `rediss://` for TLS; or `env:` and the name of a
    /// variable in the environment that says it, which is read when a client is built and when a
    /// policy is checked.
    pub fn new(url: impl Into<String>, on_failure: OnFailure) -> Self {
        Self { url: url.into(), on_failure, timeout: fifty_millis() }
    }

    /// How long a decision may take before `on_failure` decides, 1 ms to 1 minute; 50 ms unless set,
    /// which is long for a server near by and short for a caller.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[cfg(not(feature = "redis"))]
    #[allow(clippy::unused_self, reason = "as with the feature")]
    fn check(&self) -> Result<(), ConfigError> {
        Err(ConfigError::new("url", "present", "absent: seawall was built without `redis`"))
    }

    #[cfg(feature = "redis")]
    fn check(&self) -> Result<(), ConfigError> {
        let one = seawall_rate_limit::Quota::per_second(1);
        self.limiter("check", one).map(drop)
    }

    /// The limiter of this name.
    #[cfg(feature = "redis")]
    pub(crate) fn limiter(
        &self,
        name: &str,
        quota: seawall_rate_limit::Quota,
    ) -> Result<seawall_rate_limit::redis::RedisLimiter, ConfigError> {
        use seawall_rate_limit::redis::{ConnectError, RedisLimiter};
        let url = match self.url.strip_prefix("env:") {
            None => self.url.clone(),
            Some(name) => std::env::var(name).map_err(|_| {
                let want = "the name of a variable that is set in the environment";
                ConfigError::new("url", &self.url, want)
            })?,
        };
        let builder = match self.on_failure {
            OnFailure::Open => RedisLimiter::fail_open(quota),
            OnFailure::Closed => RedisLimiter::fail_closed(quota),
            OnFailure::Local(percent @ 1..=100) => {
                RedisLimiter::fail_local(quota, f64::from(percent) / 100.0)
            }
            OnFailure::Local(percent) => {
                let wrong = format!("local: {percent}");
                return Err(ConfigError::new("on_failure", wrong, "1 to 100 percent"));
            }
        };
        builder.named(name).timeout(self.timeout).connect(&url).map_err(|error| match error {
            ConnectError::Config(error) => error,
            // It may have a password in it.
            error => ConfigError::new("url", "no address", format!("one of Redis ({error})")),
        })
    }
}
