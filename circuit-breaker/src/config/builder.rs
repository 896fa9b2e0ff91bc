//! Settings on their way to being checked.

use std::{sync::Arc, time::Duration};

use super::{HalfOpen, OnDrop, OpenWait, Ramp, TripPolicy, Window};
use crate::{Mode, trip::Policy};

/// Sets up a [`Config`](super::Config).
///
/// Settings that trip add up: any of them opens the breaker. Without one, a failure rate of a half
/// does.
#[derive(Clone, Debug)]
#[must_use = "call `build`"]
pub struct Builder {
    pub(super) consecutive: Option<u32>,
    pub(super) failures: Option<u32>,
    pub(super) failure_rate: Option<f64>,
    pub(super) slow: Option<(Duration, f64)>,
    pub(super) slow_in_flight: bool,
    pub(super) policy: Option<Policy>,
    pub(super) window: Option<Window>,
    pub(super) minimum_calls: Option<u32>,
    pub(super) open_wait: OpenWait,
    pub(super) probes: u16,
    pub(super) half_open: HalfOpen,
    pub(super) probe_timeout: Duration,
    pub(super) ramp: Option<Ramp>,
    pub(super) on_drop: OnDrop,
    pub(super) mode: Mode,
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
}
