//! Settings on their way to being checked.

use std::{sync::Arc, time::Duration};

use seawall_core::ConfigError;

use super::{Config, HalfOpen, OnDrop, OpenWait, Ramp, TripPolicy, Window};
use crate::{
    Mode, Ratio,
    trip::{Policy, Trip},
    window::MAX_CALLS,
};

/// Sets up a [`Config`].
///
/// Settings that trip add up: any of them opens the breaker. Without one, a failure rate of a half
/// does.
#[derive(Clone, Debug)]
#[must_use = "call `build`"]
pub struct Builder {
    consecutive: Option<u32>,
    failures: Option<u32>,
    failure_rate: Option<f64>,
    slow: Option<(Duration, f64)>,
    slow_in_flight: bool,
    policy: Option<Policy>,
    window: Option<Window>,
    minimum_calls: Option<u32>,
    open_wait: OpenWait,
    probes: u16,
    half_open: HalfOpen,
    probe_timeout: Duration,
    ramp: Option<Ramp>,
    on_drop: OnDrop,
    mode: Mode,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            consecutive: None,
            failures: None,
            failure_rate: None,
            slow: None,
            slow_in_flight: false,
            policy: None,
            window: None,
            minimum_calls: None,
            open_wait: OpenWait::constant(Duration::from_secs(5)),
            probes: 1,
            half_open: HalfOpen::first_failure(1),
            probe_timeout: Duration::from_secs(10),
            ramp: None,
            on_drop: OnDrop::Ignore,
            mode: Mode::Automatic,
        }
    }

    /// Opens after this many failures without a success between them; at least 1.
    ///
    /// Alone, it makes a success a mere read.
    pub fn consecutive_failures(mut self, n: u32) -> Self {
        self.consecutive = Some(n);
        self
    }

    /// Opens when the window holds this many failures; at least 1, and no more than a count window
    /// holds.
    ///
    /// [`minimum_calls`](Self::minimum_calls) does not apply.
    pub fn failures(mut self, n: u32) -> Self {
        self.failures = Some(n);
        self
    }

    /// Opens when at least this share of the calls in the window failed; above 0, at most 1.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.failure_rate = Some(share);
        self
    }

    /// Opens when at least this share of the calls in the window took `threshold` or longer to
    /// answer; `threshold` at least 1 ms, `share` above 0, at most 1.
    ///
    /// A slow probe is a failed one. Costs a reading of the clock at each end of a call.
    pub fn slow_call_rate(mut self, threshold: Duration, share: f64) -> Self {
        self.slow = Some((threshold, share));
        self
    }

    /// Counts calls in flight that are slower than the threshold already, so that a callee that hangs
    /// opens the breaker before the first time-out; off unless set.
    ///
    /// They are looked at when a call comes, eight times in a threshold: a hang is seen after one
    /// threshold to one and a quarter. Needs [`slow_call_rate`](Self::slow_call_rate).
    ///
    /// # Cost
    ///
    /// Each call writes one shared word when it starts and one when it ends.
    pub fn slow_calls_in_flight(mut self, on: bool) -> Self {
        self.slow_in_flight = on;
        self
    }

    /// Opens when `policy` says so, looking at what the window holds.
    ///
    /// # Cost
    ///
    /// A short lock after each call.
    pub fn policy(mut self, policy: impl TripPolicy + 'static) -> Self {
        self.policy = Some(Policy(Arc::new(policy)));
        self
    }

    /// Which calls rates and numbers of failures are taken over; default the last 10 s.
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// How many calls the window must hold before a rate counts; at least 1, and no more than a count
    /// window holds; default 20, or the whole of a smaller count window.
    pub fn minimum_calls(mut self, n: u32) -> Self {
        self.minimum_calls = Some(n);
        self
    }

    /// How long to refuse calls before the first probe: a `Duration` or an [`OpenWait`]; above 0,
    /// default 5 s.
    pub fn open_wait(mut self, wait: impl Into<OpenWait>) -> Self {
        self.open_wait = wait.into();
        self
    }

    /// How many probes may be in flight at once; 1 to 1024, default 1.
    pub fn probes(mut self, n: u16) -> Self {
        self.probes = n;
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
        self.half_open = rule;
        self
    }

    /// How long a probe may go without an answer before it counts as a failure and its slot serves
    /// another call; above 0, default 10 s.
    ///
    /// A probe that has answered by then, such as a long stream, counts as a success.
    pub fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.probe_timeout = timeout;
        self
    }

    /// Lets calls back in step by step after closing; off unless set.
    pub fn ramp(mut self, ramp: Ramp) -> Self {
        self.ramp = Some(ramp);
        self
    }

    /// What a call counts as that its caller dropped; default [`OnDrop::Ignore`].
    pub fn on_drop(mut self, policy: OnDrop) -> Self {
        self.on_drop = policy;
        self
    }

    /// Who decides to begin with; default [`Mode::Automatic`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range, its value and the range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let trip = self.trip()?;
        self.open_wait.check()?;
        if !(1..=MAX_PROBES).contains(&self.probes) {
            return Err(ConfigError::new("probes", self.probes, "1 to 1024"));
        }
        match self.half_open {
            HalfOpen::FirstFailure { successes } => at_least_one("successes_to_close", successes)?,
            HalfOpen::Rate { calls, .. } => at_least_one("half_open.calls", calls)?,
        }
        above_zero("probe_timeout", self.probe_timeout)?;
        if let Some(ramp) = &self.ramp {
            ramp.check()?;
        }
        if let OnDrop::FailureAfter(age) = self.on_drop {
            above_zero("on_drop", age)?;
        }
        Ok(Config {
            trip,
            open_wait: self.open_wait,
            probes: self.probes,
            half_open: self.half_open,
            probe_timeout: self.probe_timeout,
            ramp: self.ramp,
            on_drop: self.on_drop,
            mode: self.mode,
        })
    }

    fn trip(&self) -> Result<Trip, ConfigError> {
        if let Some(n) = self.consecutive {
            at_least_one("consecutive_failures", n)?;
        }
        let ratio = |field, share| Ratio::named(field, share);
        let failure_rate = self.failure_rate.map(|s| ratio("failure_rate", s)).transpose()?;
        let slow_rate = self.slow.map(|(_, s)| ratio("slow_call_rate", s)).transpose()?;
        let slow = self.slow.map(|(threshold, _)| threshold);
        if let Some(threshold) = slow.filter(|threshold| *threshold < MIN_SLOW) {
            return Err(out_of_range("slow_call_threshold", threshold, "at least 1ms"));
        }
        if self.slow_in_flight && slow.is_none() {
            return Err(ConfigError::new(
                "slow_calls_in_flight",
                true,
                "false without `slow_call_rate`",
            ));
        }
        let counts = failure_rate.or(slow_rate).is_some()
            || self.failures.is_some()
            || self.policy.is_some();
        let nothing = !counts && self.consecutive.is_none();
        let failure_rate = if nothing { Some(DEFAULT_RATE) } else { failure_rate };
        let window = match self.window {
            // Nothing looks at it, so it need not be kept.
            None if !counts && !nothing => None,
            window => Some(window.unwrap_or(DEFAULT_WINDOW)),
        };
        let most = match window {
            Some(Window::Calls(n)) if !(1..=MAX_CALLS).contains(&n) => {
                return Err(ConfigError::new("window", n, "1 to 65535 calls"));
            }
            Some(Window::Time(time)) if !(MIN_WINDOW..=MAX_WINDOW).contains(&time) => {
                return Err(out_of_range("window", time, "10ms to 24h"));
            }
            Some(Window::Calls(n)) => n,
            _ => u32::MAX,
        };
        let minimum_calls = self.minimum_calls.unwrap_or(DEFAULT_MINIMUM.min(most));
        for (field, n) in [("minimum_calls", Some(minimum_calls)), ("failures", self.failures)] {
            if n.is_some_and(|n| n == 0 || n > most) {
                let allowed = match most {
                    u32::MAX => "at least 1".to_owned(),
                    most => format!("1 to {most}, what the window holds"),
                };
                return Err(ConfigError::new(field, n.unwrap_or(0), allowed));
            }
        }
        Ok(Trip {
            consecutive: self.consecutive,
            failures: self.failures,
            failure_rate,
            slow_rate,
            slow,
            slow_in_flight: self.slow_in_flight,
            policy: self.policy.clone(),
            window,
            minimum_calls,
        })
    }
}

const DEFAULT_RATE: Ratio = Ratio::from_millionths(500_000);
const DEFAULT_WINDOW: Window = Window::Time(Duration::from_secs(10));
const DEFAULT_MINIMUM: u32 = 20;

/// Slots are searched one by one under a lock; a thousand take about a microsecond.
const MAX_PROBES: u16 = 1024;
/// Below this, the numbers of the buckets do not fit beside a tag until the end of time.
const MIN_WINDOW: Duration = Duration::from_millis(10);
/// A longer memory is no breaker's.
const MAX_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
const MIN_SLOW: Duration = Duration::from_millis(1);

fn at_least_one(field: &'static str, value: u32) -> Result<(), ConfigError> {
    if value == 0 { Err(ConfigError::new(field, 0, "at least 1")) } else { Ok(()) }
}

pub(super) fn above_zero(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() { Err(out_of_range(field, value, "above 0")) } else { Ok(()) }
}

fn out_of_range(field: &'static str, value: Duration, allowed: &'static str) -> ConfigError {
    ConfigError::new(field, format_args!("{value:?}"), allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> Builder {
        Builder::new()
    }

    #[test]
    fn each_setting_out_of_range_is_refused_by_name() {
        let zero = Duration::ZERO;
        let second = Duration::from_secs(1);
        let nano = Duration::from_nanos(1);
        for (builder, field, value) in [
            (builder().consecutive_failures(0), "consecutive_failures", "0"),
            (builder().failures(0), "failures", "0"),
            (builder().failures(11).window(Window::Calls(10)), "failures", "11"),
            (builder().failure_rate(0.0), "failure_rate", "0"),
            (builder().failure_rate(1.01), "failure_rate", "1.01"),
            (builder().failure_rate(f64::NAN), "failure_rate", "NaN"),
            (builder().slow_call_rate(second, 0.0), "slow_call_rate", "0"),
            (builder().slow_call_rate(zero, 0.5), "slow_call_threshold", "0ns"),
            (builder().slow_calls_in_flight(true), "slow_calls_in_flight", "true"),
            (builder().window(Window::Calls(0)), "window", "0"),
            (builder().window(Window::Calls(65_536)), "window", "65536"),
            (builder().window(Window::Time(zero)), "window", "0ns"),
            (builder().window(Window::Time(second * 86_401)), "window", "86401s"),
            (builder().minimum_calls(0), "minimum_calls", "0"),
            (builder().minimum_calls(11).window(Window::Calls(10)), "minimum_calls", "11"),
            (builder().open_wait(zero), "open_wait", "0ns"),
            (builder().open_wait(OpenWait::exponential(second, nano)), "open_wait.max", "1ns"),
            (
                builder().open_wait(OpenWait::constant(second).jitter(1.1)),
                "open_wait.jitter",
                "1.1",
            ),
            (
                builder().open_wait(OpenWait::constant(second).from_server(second, nano)),
                "open_wait.server_max",
                "1ns",
            ),
            (builder().probes(0), "probes", "0"),
            (builder().probes(1025), "probes", "1025"),
            (builder().successes_to_close(0), "successes_to_close", "0"),
            (builder().half_open(HalfOpen::rate(0, Ratio::ONE)), "half_open.calls", "0"),
            (builder().probe_timeout(zero), "probe_timeout", "0ns"),
            (builder().ramp(Ramp::linear(zero)), "ramp", "0ns"),
            (builder().on_drop(OnDrop::FailureAfter(zero)), "on_drop", "0ns"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!((error.field(), error.value()), (field, value));
        }
    }

    #[test]
    fn the_edges_of_the_ranges_are_inside() {
        for builder in [
            builder(),
            builder().consecutive_failures(u32::MAX).probes(1024).open_wait(Duration::MAX),
            builder().window(Window::Calls(1)).probe_timeout(Duration::from_nanos(1)),
            builder().window(Window::Calls(65_535)).minimum_calls(65_535).failures(65_535),
            builder().window(Window::Time(MIN_WINDOW)).minimum_calls(u32::MAX),
            builder().window(Window::Time(MAX_WINDOW)).failure_rate(1.0),
        ] {
            let config = builder.build();
            assert!(config.is_ok(), "{config:?}");
        }
    }

    #[test]
    fn what_trips_is_a_rate_unless_something_else_is_set() {
        let trip = builder().build().unwrap().trip;
        assert_eq!((trip.failure_rate, trip.minimum_calls), (Some(DEFAULT_RATE), 20));
        let trip = builder().consecutive_failures(3).build().unwrap().trip;
        assert_eq!((trip.failure_rate, trip.window), (None, None));
        let trip = builder().failures(3).build().unwrap().trip;
        assert_eq!((trip.failure_rate, trip.window), (None, Some(DEFAULT_WINDOW)));
    }
}
