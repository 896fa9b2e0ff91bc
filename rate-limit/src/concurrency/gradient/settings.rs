//! The knobs.

use std::time::Duration;

use seawall_core::ConfigError;

use crate::concurrency::bounds::{Bounds, at_most};

/// Follows the latency: as long as calls take about as long as without a queue the limit grows, and
/// as they take longer it shrinks in proportion.
///
/// No threshold is to be known. In return it must see most of what its callee is asked: put it in
/// front of a server's own handlers, or where one client has the callee to itself. Many clients of
/// one server each measure the queue that the others make; for those take [`Aimd`](crate::concurrency::Aimd).
///
/// Calls that fail, and those whose outcome is [ignored](seawall_core::Outcome::Ignored), say nothing
/// about latency and do not move the limit. A call that its caller gave up counts with the time that
/// it had been in flight for, when that was already too long.
///
/// # Algorithm
///
/// `Gradient2Limit` of [Netflix's concurrency-limits](https://github.com/Netflix/concurrency-limits):
///
/// ```text
/// gradient = clamp(tolerance * unloaded / latency, 0.5, 1)
/// target   = limit * gradient + headroom
/// limit    = limit * (1 - smoothing) + target * smoothing
/// ```
///
/// once for each window, and only if half of the limit was in use. It rests where calls take
/// `tolerance` times as long as without a queue, and a little more for the headroom. What differs:
///
/// - **`unloaded`** is a long average there, which learns the queue that it causes: under a steady
///   overload the limit creeps up to its maximum. Here it is measured, as `minRTT` is in [Envoy's
///   gradient controller][envoy] and the propagation delay in BBR (Cardwell et al., 2016): from time
///   to time the limit goes down to a quarter for one round, or a few calls in flight happen to be
///   the measure themselves. That is done first thing, then every
///   [`probe_every`](Self::probe_every), and when the limit has halved since, because the callee may
///   have become slower for good.
/// - **`latency`** is the median of a window, not the average: one call in a hundred that takes a
///   hundred times as long is no queue.
/// - **A window** holds calls that began in it, and as many answers as calls were in flight, so that
///   it shows what the limit did that stands, and not only the quickest of a crowd.
/// - **`headroom`** is the square root of the limit, as in Envoy's, so that large limits are found
///   as soon as small ones.
///
/// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/adaptive_concurrency_filter
///
/// # Examples
///
/// ```
/// use seawall_rate_limit::concurrency::{ConcurrencyLimit, Gradient};
///
/// let limit = ConcurrencyLimit::new(Gradient::new().initial(50).max(500))?;
/// assert_eq!(limit.snapshot().limit, 50);
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradient {
    pub(crate) bounds: Bounds,
    pub(crate) tolerance: f64,
    pub(crate) smoothing: f64,
    pub(crate) window: Duration,
    pub(crate) samples: u32,
    pub(crate) probe_every: Duration,
}

impl Gradient {
    /// With the defaults that the setters name.
    pub const fn new() -> Self {
        Self {
            bounds: Bounds::new(),
            tolerance: 1.25,
            smoothing: 0.2,
            window: Duration::from_millis(100),
            samples: 20,
            probe_every: Duration::from_secs(30),
        }
    }

    /// The limit to begin with: between the bounds, 20 unless set.
    #[must_use]
    pub const fn initial(mut self, limit: u32) -> Self {
        self.bounds.initial = limit;
        self
    }

    /// The smallest limit: 1 to the largest, 1 unless set.
    #[must_use]
    pub const fn min(mut self, limit: u32) -> Self {
        self.bounds.min = limit;
        self
    }

    /// The largest limit: 1 to 1,000,000, and 1,000 unless set.
    #[must_use]
    pub const fn max(mut self, limit: u32) -> Self {
        self.bounds.max = limit;
        self
    }

    /// How many times as long as without a queue a call may take: 1 to 1.9, and 1.25 unless set.
    /// More suits latencies that vary by themselves.
    #[must_use]
    pub const fn tolerance(mut self, times: f64) -> Self {
        self.tolerance = times;
        self
    }

    /// The share of the way to its target that one window moves the limit: above 0 to 1, and 0.2
    /// unless set.
    #[must_use]
    pub const fn smoothing(mut self, share: f64) -> Self {
        self.smoothing = share;
        self
    }

    /// The shortest time between two moves: above zero, 100 ms unless set. It is longer for callees
    /// that take longer, by itself.
    #[must_use]
    pub const fn window(mut self, time: Duration) -> Self {
        self.window = time;
        self
    }

    /// The fewest answers between two moves: 1 to 100,000, and 20 unless set.
    #[must_use]
    pub const fn samples(mut self, calls: u32) -> Self {
        self.samples = calls;
        self
    }

    /// How long until the latency without a queue is measured again: at least ten windows, 30 s
    /// unless set. A measure takes about one round of calls at a quarter of the limit.
    #[must_use]
    pub const fn probe_every(mut self, time: Duration) -> Self {
        self.probe_every = time;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // Written so that NaN is refused too.
        if !(1.0..=1.9).contains(&self.tolerance) {
            return Err(ConfigError::new("tolerance", self.tolerance, "1 to 1.9"));
        }
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(ConfigError::new("smoothing", self.smoothing, "above 0, at most 1"));
        }
        if self.window.is_zero() {
            return Err(ConfigError::new("window", "0ns", "above zero"));
        }
        let least = self.window.saturating_mul(10);
        if self.probe_every < least {
            let value = format!("{:?}", self.probe_every);
            return Err(ConfigError::new("probe_every", value, format!("at least {least:?}")));
        }
        at_most("samples", self.samples, 100_000)?;
        self.bounds.check()
    }
}

/// The same as [`new`](Self::new).
impl Default for Gradient {
    fn default() -> Self {
        Self::new()
    }
}
