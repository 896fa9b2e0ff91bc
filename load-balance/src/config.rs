//! What a balancer is told once.

#[cfg(feature = "serde")]
pub(crate) mod spec;

use std::{sync::Arc, time::Duration};

use seawall_core::{Clock, ConfigError};

use crate::{
    ActiveChecks, Ejection, Failover, Observer, Policy, SlowStart, Split, Subset, ZoneAware,
    elsewhere::MOST_PICKS, events::Watch, route::Routes,
};

/// How a balancer behaves. Made by [`Config::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`policy`](ConfigBuilder::policy) | [`Policy::PowerOfTwo`] |
/// | [`subset`](ConfigBuilder::subset) | none: all endpoints |
/// | [`failover`](ConfigBuilder::failover) | [`Failover::new`] |
/// | [`zone_aware`](ConfigBuilder::zone_aware) | none |
/// | [`split`](ConfigBuilder::split) | none |
/// | [`wait_for_endpoints`](ConfigBuilder::wait_for_endpoints) | 5 s |
/// | [`max_picks`](ConfigBuilder::max_picks) | 5 |
/// | [`ejection`](ConfigBuilder::ejection) | [`Ejection::new`] |
/// | [`checks`](ConfigBuilder::checks) | none |
/// | [`slow_start`](ConfigBuilder::slow_start) | none |
/// | [`warm_up`](ConfigBuilder::warm_up) | none |
/// | [`panic_threshold`](ConfigBuilder::panic_threshold) | 50 percent |
/// | [`retry_after`](ConfigBuilder::retry_after) | up to 30 s |
/// | [`name`](ConfigBuilder::name) | none |
/// | [`observer`](ConfigBuilder::observer) | none |
/// | [`clock`](ConfigBuilder::clock) | [`Clock::fast`] |
/// | [`seed`](ConfigBuilder::seed) | random |
///
/// # In a file
///
/// With the feature `serde` it is read from the same names, durations as text; what is not known or
/// out of its range is refused with its path. A policy is a name (`p2c`, `peak_ewma`, `round_robin`,
/// `random`, `least_in_flight`, `ring`, `maglev`, `rendezvous`) or a map from it to its settings;
/// `false` turns ejection off, or its row of failures. Observer, checks, clock and rules of the
/// user's are code: add them to [`ConfigBuilder::from`] the configuration.
///
/// ```
/// # #[cfg(feature = "serde")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use seawall_load_balance::{ActiveChecks, Config, ConfigBuilder, TcpCheck};
///
/// let config: Config = serde_json::from_str(
///     r#"{
///         "policy": {"peak_ewma": {"decay": "5s"}},
///         "ejection": {"consecutive_failures": 3, "base_time": "10s"},
///         "slow_start": {"window": "30s"},
///         "wait_for_endpoints": "2s"
///     }"#,
/// )?;
/// let config = ConfigBuilder::from(config).checks(ActiveChecks::new(TcpCheck)).build()?;
/// # let _ = config;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "serde"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "spec::Spec"))]
pub struct Config {
    pub(crate) watch: Watch,
    pub(crate) retry_after: Duration,
    pub(crate) policy: Policy,
    pub(crate) subset: Option<Subset>,
    pub(crate) routes: Routes,
    pub(crate) wait_for_endpoints: Duration,
    pub(crate) max_picks: u8,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) checks: Option<ActiveChecks>,
    pub(crate) slow_start: Option<SlowStart>,
    pub(crate) warm_up: Option<Duration>,
    pub(crate) panic_percent: u8,
    pub(crate) clock: Clock,
    pub(crate) seed: Option<u64>,
}

impl Config {
    /// Begins with the defaults in the table above.
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { config: Self::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            watch: Watch::default(),
            // The first ejection is as long.
            retry_after: Duration::from_secs(30),
            policy: Policy::default(),
            subset: None,
            routes: Routes::default(),
            // As long as a resolver waits for one answer of a name server: a set that is empty for
            // longer than that is empty for good, as far as the caller is concerned.
            wait_for_endpoints: Duration::from_secs(5),
            // With half of the endpoints dead, 97 of 100 calls find a live one.
            max_picks: 5,
            ejection: Some(Ejection::new()),
            checks: None,
            slow_start: None,
            warm_up: None,
            // Envoy's.
            panic_percent: 50,
            clock: Clock::fast(),
            seed: None,
        }
    }
}

/// Sets what differs from the defaults of a [`Config`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ConfigBuilder {
    config: Config,
}

/// Goes on from a configuration, such as one from a file.
impl From<Config> for ConfigBuilder {
    fn from(config: Config) -> Self {
        Self { config }
    }
}

impl ConfigBuilder {
    /// What refusals and observers call it.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.watch.name = Some(name.into());
        self
    }

    /// Tells `observer` what happens.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.config.watch.observer = Some(observer);
        self
    }

    /// The longest that an endpoint is left alone at its own request (`Retry-After`, gRPC pushback or
    /// RetryInfo), in which it is used as an ejected one is; at most a day, 30 s unless set, 0 pays
    /// no heed.
    pub fn retry_after(mut self, longest: Duration) -> Self {
        self.config.retry_after = longest;
        self
    }

    /// By which rule endpoints are picked; the less loaded of two unless set.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.config.policy = policy;
        self
    }

    /// Uses a part of the endpoints, one of many that are chosen for as many clients; all unless
    /// set.
    pub fn subset(mut self, subset: impl Into<Option<Subset>>) -> Self {
        self.config.subset = subset.into();
        self
    }

    /// How calls move on to endpoints of a higher priority; with an over-provisioning factor of 140
    /// percent unless set.
    pub fn failover(mut self, failover: Failover) -> Self {
        self.config.routes.failover = failover;
        self
    }

    /// Keeps calls in the caller's zone; zones do not matter unless set.
    pub fn zone_aware(mut self, zones: impl Into<Option<ZoneAware>>) -> Self {
        self.config.routes.zones = zones.into();
        self
    }

    /// Splits calls among subsets of the endpoints; they are one set unless set.
    pub fn split(mut self, split: impl Into<Option<Split>>) -> Self {
        self.config.routes.split = split.into();
        self
    }

    /// How long a call waits for a first endpoint while the set is empty, before it is refused;
    /// 0 refuses at once, 5 s unless set.
    pub fn wait_for_endpoints(mut self, wait: Duration) -> Self {
        self.config.wait_for_endpoints = wait;
        self
    }

    /// How many endpoints one call may be sent to when the first ones cannot be reached; 1 to 8, 5
    /// unless set.
    pub fn max_picks(mut self, picks: u8) -> Self {
        self.config.max_picks = picks;
        self
    }

    /// When endpoints that keep failing are ejected; `None` never does.
    pub fn ejection(mut self, ejection: impl Into<Option<Ejection>>) -> Self {
        self.config.ejection = ejection.into();
        self
    }

    /// Asks endpoints whether they work, beside the calls; nobody asks unless set.
    pub fn checks(mut self, checks: impl Into<Option<ActiveChecks>>) -> Self {
        self.config.checks = checks.into();
        self
    }

    /// How new endpoints, and those that return from ejection, grow into their share; they have all
    /// of it at once unless set.
    pub fn slow_start(mut self, slow_start: impl Into<Option<SlowStart>>) -> Self {
        self.config.slow_start = slow_start.into();
        self
    }

    /// Connects to new endpoints, and those that moved, before they get calls; 1 ms to an hour, no
    /// connection beforehand unless set.
    ///
    /// An endpoint gets calls when it is connected. A connection that fails is tried again; after
    /// `limit` the endpoint gets calls all the same, so that one that cannot be warmed up is not
    /// kept out: whether it is fit then shows as for any other. Endpoints that are still being
    /// connected to are used when there are no others, and count neither as well nor as unwell for
    /// panic and failover. With [`slow_start`](Self::slow_start), the slow start follows.
    ///
    /// How to connect is what the factory says: [`MakeEndpoint::connect`](crate::MakeEndpoint),
    /// which `tonic::MakeChannel` has, and `reqwest::MakeClient` once it is told a URL; closures get
    /// it by a [`WarmUp`](crate::WarmUp) around them. Without a tokio runtime nobody connects
    /// beforehand, and new endpoints wait for the limit.
    pub fn warm_up(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.config.warm_up = limit.into();
        self
    }

    /// The part of the set that must be well: with less, ejected and critical endpoints are used
    /// again, because the few others would not bear it; 0 to 100 percent, 50 unless set.
    pub fn panic_threshold(mut self, percent: u8) -> Self {
        self.config.panic_percent = percent;
        self
    }

    /// The clock that ejection and slow start go by.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.config.clock = clock;
        self
    }

    /// Makes the picks of one thread repeatable.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = Some(seed);
        self
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// When a setting is out of its range, by its name.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        if config.max_picks == 0 || config.max_picks > MOST_PICKS {
            return Err(ConfigError::new("max_picks", config.max_picks, "1 to 8"));
        }
        if config.panic_percent > 100 {
            return Err(ConfigError::new("panic_threshold", config.panic_percent, "0 to 100"));
        }
        if config.retry_after > Duration::from_secs(24 * 60 * 60) {
            let value = format!("{:?}", config.retry_after);
            return Err(ConfigError::new("retry_after", value, "at most a day"));
        }
        if let Some(limit) = config.warm_up
            && !(Duration::from_millis(1)..=Duration::from_secs(60 * 60)).contains(&limit)
        {
            let value = format!("{limit:?}");
            return Err(ConfigError::new("warm_up", value, "1 ms to an hour"));
        }
        config.routes.check()?;
        config.policy.check().map_err(|error| error.within("policy"))?;
        if let Some(subset) = &config.subset {
            subset.check().map_err(|error| error.within("subset"))?;
        }
        if let Some(ejection) = &config.ejection {
            ejection.check().map_err(|error| error.within("ejection"))?;
        }
        if let Some(checks) = &config.checks {
            checks.validate().map_err(|error| error.within("checks"))?;
        }
        if let Some(slow_start) = &config.slow_start {
            slow_start.check().map_err(|error| error.within("slow_start"))?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let field = |builder: ConfigBuilder| builder.build().unwrap_err().field().to_owned();
        assert_eq!(field(Config::builder().max_picks(0)), "max_picks");
        assert_eq!(field(Config::builder().max_picks(9)), "max_picks");
        assert_eq!(field(Config::builder().panic_threshold(101)), "panic_threshold");
        let never = Ejection::new().with_consecutive_failures(0);
        assert_eq!(field(Config::builder().ejection(never)), "ejection.consecutive_failures");
        let none = SlowStart::new(Duration::ZERO);
        assert_eq!(field(Config::builder().slow_start(none)), "slow_start.window");
        assert_eq!(field(Config::builder().subset(Subset::new(0, 0))), "subset.size");
        assert!(Config::builder().ejection(None).max_picks(8).build().is_ok());
    }
}
