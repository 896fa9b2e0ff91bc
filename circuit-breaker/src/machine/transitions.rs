//! From one generation to the next. Everything here runs under the lock.

use std::{sync::atomic::Ordering::Release, time::Duration};

use seawall_core::Instant;

use super::{Inner, Machine, measured, started};
use crate::{
    Cause, Config, Mode, State, Transition,
    probes::{Finding, Probes},
    state::Word,
    trip::Shape,
    window::Tag,
};

impl Machine {
    /// Leaves the half-open state when the probes have shown enough.
    pub(super) fn settle(
        &self,
        inner: &mut Inner,
        told: Option<Duration>,
        now: Instant,
    ) -> Option<Transition> {
        match inner.probes.finding() {
            Finding::Recovered => Some(self.close(inner, now)),
            Finding::StillFailing => Some(self.open(inner, Cause::ProbesFailed, told, now)),
            Finding::Unsettled => {
                self.set_gate(&inner.probes);
                None
            }
        }
    }

    pub(super) fn open(
        &self,
        inner: &mut Inner,
        cause: Cause,
        told: Option<Duration>,
        now: Instant,
    ) -> Transition {
        let wait = inner.config.open_wait.after(inner.openings, told, &mut inner.rng);
        inner.openings = inner.openings.saturating_add(1);
        inner.last_wait = wait;
        self.hot.gate.store(now.saturating_add(wait).as_nanos(), Release);
        self.enter(inner, self.word().enter(State::Open), cause, Some(wait), now)
    }

    pub(super) fn half_open(&self, inner: &mut Inner, now: Instant) -> Transition {
        inner.probes.begin();
        self.set_gate(&inner.probes);
        self.enter(inner, self.word().enter(State::HalfOpen), Cause::WaitOver, None, now)
    }

    fn close(&self, inner: &mut Inner, now: Instant) -> Transition {
        let mut next = self.word().enter(State::Closed);
        if let Some(ramp) = inner.config.ramp {
            self.rationing.start(ramp, now);
            next = next.with_ramp(true);
        }
        self.enter(inner, next, Cause::Recovered, None, now)
    }

    /// Begins anew, closed or forced open.
    pub(crate) fn restart(&self, mode: Option<Mode>, now: Instant) -> Transition {
        let mut inner = self.lock();
        self.restart_locked(&mut inner, mode, now)
    }

    fn restart_locked(&self, inner: &mut Inner, mode: Option<Mode>, now: Instant) -> Transition {
        let word = self.word();
        let mode = mode.unwrap_or(word.mode());
        inner.openings = 0;
        inner.last_wait = Duration::ZERO;
        self.hot.gate.store(Instant::MAX.as_nanos(), Release);
        self.enter(inner, started(word, mode), Cause::ByHand, None, now)
    }

    /// Takes over `config`. Keeps the window, and with it the generation, when its shape stays.
    pub(crate) fn reconfigure(&self, config: Config, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let old = std::mem::replace(&mut inner.config, config);
        let config = &inner.config;
        let mode = (config.mode != old.mode).then_some(config.mode);
        // Steps in flight are measured by the threshold.
        let same_shape = Shape::of(config.trip.window) == Shape::of(old.trip.window)
            && config.trip.slow == old.trip.slow
            && config.trip.slow_in_flight == old.trip.slow_in_flight;
        self.hot.knobs.set(config);
        let word = measured(self.word(), config);
        let Inner { probes, config, .. } = &mut *inner;
        probes.reconfigure(config);
        drop(old);
        self.prepare_with(&inner);
        // Release: pairs with the Acquire of every admission.
        self.hot.word.store(word.bits(), Release);
        if mode.is_some() {
            return Some(self.restart_locked(&mut inner, mode, now));
        }
        if word.state() == State::HalfOpen {
            return self.settle(&mut inner, None, now);
        }
        if same_shape {
            return None;
        }
        let since = inner.since;
        let next = word.enter(word.state()).with_ramp(word.is_ramping());
        let transition = self.enter(&mut inner, next, Cause::Reconfigured, None, now);
        inner.since = since;
        Some(transition)
    }

    /// The ramp has reached all calls.
    #[cold]
    pub(super) fn end_ramp(&self, seen: Word) {
        let _inner = self.lock();
        let word = self.word();
        if word.generation() == seen.generation() {
            // Release: as in `enter`, though nothing new is behind it.
            self.hot.word.store(word.with_ramp(false).bits(), Release);
        }
    }

    /// Publishes the next generation. The caller holds the lock and has set the gate.
    fn enter(
        &self,
        inner: &mut Inner,
        next: Word,
        cause: Cause,
        wait: Option<Duration>,
        at: Instant,
    ) -> Transition {
        let from = self.word().state();
        let counts = if cause.is_trip() { self.counts(at) } else { crate::Counts::default() };
        self.reset_windows(Tag::of(next), at);
        inner.since = at;
        // Release: pairs with the Acquire of every admission; see the module's docs.
        self.hot.word.store(next.bits(), Release);
        Transition {
            from,
            to: next.state(),
            mode: next.mode(),
            generation: next.generation(),
            at,
            cause,
            wait,
            counts,
        }
    }

    pub(super) fn reset_windows(&self, tag: Tag, now: Instant) {
        self.hot.streak.reset(tag);
        match self.hot.knobs.shape() {
            Shape::None => {}
            Shape::Calls(_) => self.count.reset(tag),
            Shape::Time { bucket_nanos } => self.time.reset(tag, now, bucket_nanos),
        }
        self.in_flight.reset(tag, now, self.step_nanos());
    }

    /// Opens the gate while a probe may start, and closes it until one is overdue.
    pub(super) fn set_gate(&self, probes: &Probes) {
        let gate = if probes.is_full() { probes.next_expiry() } else { Instant::ORIGIN };
        // Release: pairs with the Acquire in `admit`.
        self.hot.gate.store(gate.as_nanos(), Release);
    }

    /// Allocates what the settings need, so that no call has to.
    pub(super) fn prepare(&self) {
        self.prepare_with(&self.lock());
    }

    fn prepare_with(&self, inner: &Inner) {
        if let Shape::Calls(n) = Shape::of(inner.config.trip.window) {
            self.count.prepare(n);
        }
    }
}
