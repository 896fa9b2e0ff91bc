//! What a breaker is told when it is built.
//!
//! | setting | default | why |
//! |---|---|---|
//! | what trips: none of the settings below given | [`failure_rate`](Builder::failure_rate) 0.5 | half of the calls fail: trying on costs more than it gains (Hystrix, resilience4j) |
//! | [`consecutive_failures`](Builder::consecutive_failures) | none | right for few calls; at many a second, chance alone makes long rows |
//! | [`failures`](Builder::failures), [`slow_call_rate`](Builder::slow_call_rate), [`policy`](Builder::policy) | none | |
//! | [`window`](Builder::window) | the last 10 s | forgets a bad minute soon, and holds enough calls to judge by (Hystrix) |
//! | [`minimum_calls`](Builder::minimum_calls) | 20, or the whole of a smaller count window | fewer say little about a rate (Hystrix) |
//! | [`slow_calls_in_flight`](Builder::slow_calls_in_flight) | off | costs a shared write at both ends of a call |
//! | [`open_wait`](Builder::open_wait) | 5 s, always | long enough for a restart, short enough that a blip costs little (Hystrix, Polly) |
//! | [`probes`](Builder::probes) | 1 | a callee that has just come back gets one call, not a crowd (Hystrix, gobreaker) |
//! | [`half_open`](Builder::half_open) | first failure reopens, 1 success closes | the classic breaker |
//! | [`probe_timeout`](Builder::probe_timeout) | 10 s | the longest that a usual call is waited for |
//! | [`ramp`](Builder::ramp) | none | behind a balancer, its slow start does it |
//! | [`on_drop`](Builder::on_drop) | [`OnDrop::Ignore`] | callers drop calls for reasons of their own, such as a lost hedge |
//! | [`mode`](Builder::mode) | [`Mode::Automatic`] | |

mod builder;
pub(crate) mod check;
mod ramp;
mod rules;
#[cfg(feature = "serde")]
mod spec;
mod wait;

use std::time::Duration;

pub use builder::Builder;
pub(crate) use ramp::Growth;
pub use ramp::Ramp;
pub use rules::{HalfOpen, OnDrop, TripPolicy, Window};
#[cfg(feature = "serde")]
pub(crate) use spec::DropSpec;
pub use wait::OpenWait;

use crate::{Mode, trip::Trip};

/// The checked settings of a breaker.
///
/// The [module](self) has the table of defaults.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_circuit_breaker::{Config, Window};
///
/// let config = Config::builder()
///     .window(Window::Calls(100))
///     .failure_rate(0.5)
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
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "spec::Spec"))]
pub struct Config {
    pub(crate) trip: Trip,
    pub(crate) open_wait: OpenWait,
    pub(crate) probes: u16,
    pub(crate) half_open: HalfOpen,
    pub(crate) probe_timeout: Duration,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) on_drop: OnDrop,
    pub(crate) mode: Mode,
}

impl Config {
    /// Starts from the defaults.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

/// The defaults of the table.
impl Default for Config {
    fn default() -> Self {
        Self::builder().build().expect("the defaults are inside their ranges")
    }
}
