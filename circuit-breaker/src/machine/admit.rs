//! Who may call.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use seawall_core::{Admission, Instant};

use super::{Decision, Machine, Ticket, is_shut, refusal};
use crate::{Mode, Rejected, State, Transition, state::Word, trip::Evidence, window::Tag};

impl Machine {
    /// The whole decision for a closed breaker that measures nothing at the start of a call.
    #[inline]
    pub(crate) fn admit_plain(&self) -> Option<Ticket> {
        let word = self.word();
        word.is_plain().then(|| Ticket::plain(word))
    }

    /// The decision in all other cases.
    pub(crate) fn admit(&self, now: Instant) -> Decision {
        let word = self.word();
        if word.state() == State::Closed {
            return self.admit_closed(word, now);
        }
        // Acquire: pairs with the Release of whoever moved the gate, so that a caller who finds it
        // open finds the state behind it under the lock.
        let gate = Instant::from_nanos(self.hot.gate.load(Acquire));
        if is_shut(gate, now) {
            return refused(word, refusal(word.state(), gate, now), None);
        }
        self.probe(now)
    }

    /// Whether [`admit`](Self::admit) would admit a call, as far as one can tell without asking.
    #[inline]
    pub(crate) fn would_admit(&self, now: impl FnOnce() -> Instant) -> bool {
        let word = self.word();
        word.state() == State::Closed
            || word.mode() == Mode::Shadow
            // Relaxed: a hint; `admit` decides.
            || !is_shut(Instant::from_nanos(self.hot.gate.load(Relaxed)), now())
    }

    /// What [`admit`](Self::admit) would do, as far as one can tell without asking.
    #[inline]
    pub(crate) fn admission(&self, now: impl FnOnce() -> Instant) -> Admission {
        let word = self.word();
        if word.state() == State::Closed || word.mode() == Mode::Shadow {
            Admission::Open
        } else if self.would_admit(now) {
            Admission::Trial
        } else {
            Admission::Refused
        }
    }

    /// What a caller is told that was turned away before it asked.
    pub(crate) fn refusal(&self, now: Instant) -> Rejected {
        let state = self.word().state();
        refusal(state, Instant::from_nanos(self.hot.gate.load(Relaxed)), now)
    }

    fn admit_closed(&self, word: Word, now: Instant) -> Decision {
        if word.mode() == Mode::Disabled {
            return admitted(Ticket::unwatched(), None);
        }
        if word.is_ramping() {
            let share = self.rationing.share(now);
            if share >= crate::Ratio::ONE.millionths() {
                self.end_ramp(word);
            } else if !self.rationing.admits(share) {
                return refused(word, Rejected::new(State::Closed, None), None);
            }
        }
        let start = if word.is_timed() { now } else { Instant::MAX };
        let mut ticket = Ticket::call(word, start);
        if word.watches_in_flight() {
            // A generation that has just ended watches nobody.
            if let Some(entry) = self.in_flight.enter(Tag::of(word), now, self.step_nanos()) {
                ticket.watch(entry.step);
                let tripped = if entry.turned { self.look_at_overdue(&ticket, now) } else { None };
                if let Some(transition) = tripped {
                    return refused(word, self.refusal(now), Some(transition));
                }
            }
        }
        admitted(ticket, None)
    }

    /// Counts the calls that are overdue as slow ones, on top of what the window holds.
    #[cold]
    fn look_at_overdue(&self, ticket: &Ticket, now: Instant) -> Option<Transition> {
        let overdue = self.in_flight.overdue(now, self.step_nanos());
        if overdue == 0 {
            return None;
        }
        let mut counts = self.counts(now);
        counts.calls += overdue;
        counts.slow += overdue;
        self.weigh(ticket, Evidence { counts: Some(counts), ..Evidence::default() }, || now)
    }

    /// The gate is open: the caller may be a probe.
    #[cold]
    fn probe(&self, now: Instant) -> Decision {
        let mut inner = self.lock();
        let mut transition = None;
        if self.word().state() == State::HalfOpen {
            inner.probes.expire(now);
            transition = self.settle(&mut inner, None, now);
        }
        let gate = Instant::from_nanos(self.hot.gate.load(Relaxed));
        if self.word().state() == State::Open && transition.is_none() && !is_shut(gate, now) {
            transition = Some(self.half_open(&mut inner, now));
        }
        let word = self.word();
        match word.state() {
            State::Closed => {
                // Somebody closed it meanwhile; what a closed breaker asks needs no lock.
                drop(inner);
                let decision = self.admit_closed(word, now);
                Decision { transition: transition.or(decision.transition), ..decision }
            }
            State::Open => {
                let gate = Instant::from_nanos(self.hot.gate.load(Relaxed));
                refused(word, refusal(State::Open, gate, now), transition)
            }
            State::HalfOpen => {
                let seat = inner.probes.take(now);
                self.set_gate(&inner.probes);
                match seat {
                    Some(seat) => admitted(Ticket::probe(word, now, seat), transition),
                    None => refused(word, refusal(State::HalfOpen, Instant::MAX, now), transition),
                }
            }
        }
    }
}

fn admitted(ticket: Ticket, transition: Option<Transition>) -> Decision {
    Decision { verdict: Ok(ticket), shadow: false, transition }
}

fn refused(word: Word, rejected: Rejected, transition: Option<Transition>) -> Decision {
    Decision { verdict: Err(rejected), shadow: word.mode() == Mode::Shadow, transition }
}
