//! Checking settings: each is refused by its name, with its value and its range.

use std::time::Duration;

use seawall_core::ConfigError;

use super::{Builder, Config, HalfOpen, OnDrop, Window};
use crate::{Ratio, trip::Trip, window::MAX_CALLS};

impl Builder {
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
        on_drop(self.on_drop)?;
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
            Some(Window::Calls(n)) => n,
            Some(Window::Time(time)) => {
                window_time(time)?;
                u32::MAX
            }
            None => u32::MAX,
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

/// The length of a window of time.
pub(crate) fn window_time(window: Duration) -> Result<(), ConfigError> {
    if (MIN_WINDOW..=MAX_WINDOW).contains(&window) {
        Ok(())
    } else {
        Err(out_of_range("window", window, "10ms to 24h"))
    }
}

pub(crate) fn on_drop(policy: OnDrop) -> Result<(), ConfigError> {
    match policy {
        OnDrop::FailureAfter(age) => above_zero("on_drop", age),
        OnDrop::Ignore | OnDrop::Failure => Ok(()),
    }
}

pub(crate) fn at_least_one(field: &'static str, value: u32) -> Result<(), ConfigError> {
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
    use crate::{OpenWait, Ramp};

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
