//! A limit that grows by one and shrinks by a share.

use std::time::Duration;

use seawall_core::{ConfigError, Instant};

use super::{
    bounds::Bounds,
    sample::{Ended, Sample},
};

/// Raises the limit by one for each round of calls that were answered in time, and lowers it by a
/// share when one was not.
///
/// What too late is, you say: well above what the slowest calls take while the callee is at leisure,
/// because each that is slower lowers the limit. In return many clients of one server, which cannot
/// see each other, all give way at the same latency.
///
/// A call that fails is a sign of overload too, and so is one that its caller gave up after the
/// threshold. One that was given up sooner says nothing, and neither does one whose outcome is
/// [ignored](seawall_core::Outcome::Ignored).
///
/// # Algorithm
///
/// Additive increase, multiplicative decrease: D.-M. Chiu and R. Jain, "Analysis of the Increase and
/// Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989; used on latency as in
/// `AIMDLimit` of [Netflix's concurrency-limits](https://github.com/Netflix/concurrency-limits). Two
/// things are as in TCP's congestion avoidance (RFC 5681) and not as there, because calls end many
/// at a time:
///
/// - the limit rises by one for as many answers as it allows calls, not by one for each answer;
/// - once it went down, calls that began before say nothing: they are of the same crowd. Else one
///   slow round would lower it once for each call in flight, down to the minimum.
///
/// It does not rise while less than half of it is used, because that proves nothing.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_rate_limit::concurrency::{Aimd, ConcurrencyLimit};
///
/// let aimd = Aimd::new(Duration::from_millis(250)).initial(10).max(200);
/// let limit = ConcurrencyLimit::new(aimd)?;
/// assert_eq!(limit.snapshot().limit, 10);
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    pub(crate) threshold: Duration,
    pub(crate) bounds: Bounds,
    pub(crate) backoff: f64,
}

impl Aimd {
    /// Takes a call that is not answered within `threshold`, which is above zero, for a sign of
    /// overload.
    pub const fn new(threshold: Duration) -> Self {
        Self { threshold, bounds: Bounds::new(), backoff: 0.9 }
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

    /// The share of the limit that stays when it goes down: 0.1 to 0.99, and 0.9 unless set.
    #[must_use]
    pub const fn backoff(mut self, share: f64) -> Self {
        self.backoff = share;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.threshold.is_zero() {
            return Err(ConfigError::new("threshold", "0ns", "above zero"));
        }
        // Written so that NaN is refused too.
        if !(0.1..=0.99).contains(&self.backoff) {
            return Err(ConfigError::new("backoff", self.backoff, "0.1 to 0.99"));
        }
        self.bounds.check()
    }
}

/// Where the limit is, and what it takes to move on.
#[derive(Clone, Debug)]
pub(crate) struct AimdState {
    rule: Aimd,
    limit: u32,
    /// Answers in time since the limit last moved.
    answers: u32,
    /// When it last went down.
    lowered: Option<Instant>,
}

impl AimdState {
    pub(crate) fn new(rule: Aimd, limit: u32) -> Self {
        Self { rule, limit: rule.bounds.clamp(limit), answers: 0, lowered: None }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    pub(crate) fn sample(&mut self, now: Instant, sample: &Sample) {
        if let Some(lowered) = self.lowered {
            // A clock that ran backward must not make it deaf until the clock has caught up.
            let lowered = lowered.min(now);
            self.lowered = Some(lowered);
            if sample.started <= lowered {
                return;
            }
        }
        match sample.ended {
            Ended::Failed => self.lower(now),
            _ if sample.latency > self.rule.threshold => self.lower(now),
            Ended::Abandoned => {}
            Ended::Answered if sample.in_flight * 2 >= self.limit => self.count(),
            Ended::Answered => {}
        }
    }

    fn lower(&mut self, now: Instant) {
        let kept = (f64::from(self.limit) * self.rule.backoff).floor() as u32;
        self.limit = self.rule.bounds.clamp(kept);
        self.answers = 0;
        self.lowered = Some(now);
    }

    fn count(&mut self) {
        self.answers += 1;
        if self.answers >= self.limit {
            self.answers = 0;
            self.limit = self.rule.bounds.clamp(self.limit + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLD: u64 = 100;

    fn rule() -> Aimd {
        Aimd::new(Duration::from_nanos(THRESHOLD)).initial(10).min(2).max(40)
    }

    fn sample(started: u64, ended: Ended, latency: u64, in_flight: u32) -> Sample {
        let (started, latency) = (Instant::from_nanos(started), Duration::from_nanos(latency));
        Sample { started, ended, latency, in_flight }
    }

    /// Says what the limit is after a history, by reading all of it each time.
    fn model(history: &[(u64, Sample)]) -> u32 {
        let (mut limit, mut since, mut lowered) = (10_u32, 0, None);
        for (at, (now, _)) in history.iter().enumerate() {
            if lowers(history, at) {
                limit = (limit * 9 / 10).max(2);
                (since, lowered) = (at + 1, Some(*now));
                continue;
            }
            // Since the limit moved: answers in time of calls that began after it went down.
            let counted = |(_, call): &&(u64, Sample)| {
                lowered.is_none_or(|lowered| call.started.as_nanos() > lowered)
                    && call.ended == Ended::Answered
                    && call.in_flight * 2 >= limit
            };
            if history[since..=at].iter().filter(counted).count() as u32 >= limit {
                limit = (limit + 1).min(40);
                since = at + 1;
            }
        }
        limit
    }

    /// Whether the call at `at` lowered the limit: it was bad and began after the last that did.
    fn lowers(history: &[(u64, Sample)], at: usize) -> bool {
        let mut last = None;
        for (time, call) in &history[..=at] {
            let bad =
                call.ended == Ended::Failed || call.latency.as_nanos() > u128::from(THRESHOLD);
            let heard = last.is_none_or(|last| call.started.as_nanos() > last);
            let lowered = bad && heard;
            if lowered {
                last = Some(*time);
            }
            if std::ptr::eq(call, &history[at].1) {
                return lowered;
            }
        }
        false
    }

    fn calls() -> impl Strategy<Value = Vec<(u64, u64, u8, u32)>> {
        let latencies = prop_oneof![6 => 0..=THRESHOLD, 1 => THRESHOLD..3 * THRESHOLD];
        proptest::collection::vec((0..50_u64, latencies, 0..20_u8, 1..60_u32), 1..150)
    }

    proptest! {
        #[test]
        fn the_limit_is_what_the_whole_history_says(calls in calls()) {
            let mut state = AimdState::new(rule(), 10);
            let (mut history, mut now) = (Vec::new(), 1_000);
            for (gap, latency, kind, in_flight) in calls {
                now += gap;
                let ended = match kind {
                    0 => Ended::Failed,
                    1 => Ended::Abandoned,
                    _ => Ended::Answered,
                };
                let call = sample(now - latency, ended, latency, in_flight);
                state.sample(Instant::from_nanos(now), &call);
                history.push((now, call));
                prop_assert_eq!(state.limit(), model(&history));
            }
        }

        #[test]
        fn the_limit_stays_within_its_bounds_whatever_the_clock_does(
            calls in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), 0..3_u8), 1..200),
        ) {
            let mut state = AimdState::new(rule(), 10);
            for (now, started, latency, kind) in calls {
                let ended = [Ended::Answered, Ended::Failed, Ended::Abandoned][usize::from(kind)];
                state.sample(Instant::from_nanos(now), &sample(started, ended, latency, 1_000_000));
                prop_assert!((2..=40).contains(&state.limit()));
            }
        }
    }

    #[test]
    fn one_slow_round_lowers_the_limit_once() {
        let mut state = AimdState::new(rule(), 40);
        for now in 500..540 {
            state.sample(Instant::from_nanos(now), &sample(0, Ended::Answered, now, 40));
        }
        assert_eq!(state.limit(), 36);
        state.sample(Instant::from_nanos(700), &sample(550, Ended::Answered, 150, 36));
        assert_eq!(state.limit(), 32);
    }

    #[test]
    fn the_threshold_itself_is_in_time() {
        let mut state = AimdState::new(rule(), 10);
        state.sample(Instant::from_nanos(100), &sample(0, Ended::Answered, THRESHOLD, 10));
        assert_eq!((state.limit(), state.answers), (10, 1));
        state.sample(Instant::from_nanos(101), &sample(0, Ended::Answered, THRESHOLD + 1, 10));
        assert_eq!(state.limit(), 9);
    }

    #[test]
    fn a_call_given_up_early_says_nothing_and_given_up_late_that_it_was_slow() {
        let mut state = AimdState::new(rule(), 10);
        state.sample(Instant::from_nanos(50), &sample(0, Ended::Abandoned, 50, 10));
        assert_eq!((state.limit(), state.answers), (10, 0));
        state.sample(Instant::from_nanos(200), &sample(0, Ended::Abandoned, 200, 10));
        assert_eq!(state.limit(), 9);
    }

    #[test]
    fn half_of_the_limit_in_use_is_enough_to_raise_it_and_less_is_not() {
        let mut state = AimdState::new(rule(), 10);
        for _ in 0..100 {
            state.sample(Instant::from_nanos(100), &sample(50, Ended::Answered, 50, 4));
        }
        assert_eq!(state.limit(), 10);
        for _ in 0..10 {
            state.sample(Instant::from_nanos(100), &sample(50, Ended::Answered, 50, 5));
        }
        assert_eq!(state.limit(), 11);
    }

    #[test]
    fn a_clock_that_jumped_back_is_followed() {
        let mut state = AimdState::new(rule(), 40);
        state.sample(Instant::from_nanos(u64::MAX), &sample(1, Ended::Failed, 1, 1));
        assert_eq!(state.limit(), 36);
        // What ends now began before now, and it is the first to be told after the jump.
        state.sample(Instant::from_nanos(1_000), &sample(900, Ended::Failed, 100, 1));
        assert_eq!(state.limit(), 36);
        state.sample(Instant::from_nanos(1_200), &sample(1_100, Ended::Failed, 100, 1));
        assert_eq!(state.limit(), 32);
    }
}
