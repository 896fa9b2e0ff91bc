//! How calls ended, and what that says.

use std::cell::LazyCell;

use seawall_core::{Instant, Outcome};

use super::{Machine, Ticket, ticket::Kind};
use crate::{
    Cause, Counts, Mode, Transition,
    state::Word,
    trip::{Evidence, Limits, Measures, Shape},
    window::Sample,
};

impl Machine {
    /// The callee has answered; its body may go on for long.
    #[inline]
    pub(crate) fn answered(&self, ticket: Ticket, now: impl FnOnce() -> Instant) -> Ticket {
        if ticket.start == Instant::MAX {
            return ticket;
        }
        let (word, start, rest) = ticket.parts();
        let rest = self.note_answer(word, start, rest, now());
        Ticket::from_parts((word, start, rest))
    }

    /// The ticket's last word with the answer in it.
    // The parts one by one: a reference would keep the whole ticket in memory on the way above.
    #[inline(never)]
    fn note_answer(&self, word: Word, start: Instant, rest: u64, now: Instant) -> u64 {
        let mut ticket = Ticket::from_parts((word, start, rest));
        ticket.set_answer(self.is_slow(&ticket, || now));
        if let Some(seat) = ticket.seat() {
            let mut inner = self.lock();
            if self.word().generation() == ticket.generation() {
                inner.probes.answered(seat);
            }
        }
        // Latency ends here, so from here on the call is not overdue.
        if let Some(step) = ticket.unwatch() {
            self.in_flight.leave(ticket.tag(), step);
        }
        ticket.parts().2
    }

    /// The usual end of a call: a success, where nothing but failures in a row is kept. False when
    /// more has to be done.
    #[inline]
    pub(crate) fn succeed_in_a_row(&self, ticket: &Ticket) -> bool {
        let alone = ticket.is_plain() && self.hot.knobs.measures() == Measures::STREAK;
        if alone {
            self.hot.streak.success(ticket.tag());
        }
        alone
    }

    /// The next usual one: a success, where nothing but a count window is kept.
    #[inline]
    pub(crate) fn succeed_in_window(&self, ticket: &Ticket) -> Success {
        if !ticket.is_plain() || self.hot.knobs.measures() != Measures::CALLS {
            return Success::NotPlain;
        }
        if self.word().generation() != ticket.generation() {
            return Success::Counted;
        }
        match self.count.record(ticket.tag(), Sample::GOOD) {
            Some(counts) if counts.failures + counts.slow > 0 => Success::Weigh(counts),
            _ => Success::Counted,
        }
    }

    /// A success was counted in a window that also holds failures.
    pub(crate) fn weigh_success(
        &self,
        ticket: &Ticket,
        counts: Counts,
        now: impl FnOnce() -> Instant,
    ) -> Option<Transition> {
        let evidence = Evidence { counts: Some(counts), ..Evidence::default() };
        self.weigh(ticket, evidence, now)
    }

    /// A call ended.
    pub(crate) fn finish(
        &self,
        mut ticket: Ticket,
        outcome: Outcome,
        now: impl FnOnce() -> Instant,
    ) -> Option<Transition> {
        let now = LazyCell::new(now);
        let watched = ticket.unwatch();
        let ticket = &ticket;
        if let Some(step) = watched {
            self.in_flight.leave(ticket.tag(), step);
        }
        let failed = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure => Some(true),
            _ => None,
        };
        match (ticket.kind(), failed) {
            (Kind::Probe, failed) => {
                let verdict = failed.map(|failed| !failed && !self.is_slow(ticket, || *now));
                self.probe_ended(ticket, verdict, *now)
            }
            (Kind::Call, Some(failed)) => {
                let slow = self.is_slow(ticket, || *now);
                self.count(ticket, Sample { failed, slow }, || *now)
            }
            _ => None,
        }
    }

    /// What a call counts as that its caller dropped.
    pub(crate) fn dropped(&self, ticket: &Ticket, now: impl FnOnce() -> Instant) -> Outcome {
        match self.hot.knobs.drop_age_nanos() {
            0 => Outcome::Failure,
            u64::MAX => Outcome::Ignored,
            age if now().saturating_since(ticket.start).as_nanos() >= age.into() => {
                Outcome::Failure
            }
            _ => Outcome::Ignored,
        }
    }

    #[inline]
    fn is_slow(&self, ticket: &Ticket, now: impl FnOnce() -> Instant) -> bool {
        let slow_nanos = self.hot.knobs.slow_nanos();
        if let Some(slow) = ticket.answer() {
            return slow;
        }
        slow_nanos < u64::MAX
            && ticket.start < Instant::MAX
            && now().saturating_since(ticket.start).as_nanos() >= slow_nanos.into()
    }

    #[inline]
    fn count(
        &self,
        ticket: &Ticket,
        sample: Sample,
        now: impl Fn() -> Instant,
    ) -> Option<Transition> {
        // The tags refuse a late call too; this spares the count window a claimed place.
        if self.word().generation() != ticket.generation() {
            return None;
        }
        let (tag, knobs) = (ticket.tag(), &self.hot.knobs);
        let streak = if !knobs.measures().has(Measures::STREAK) {
            0
        } else if sample.failed {
            self.hot.streak.failure(tag)?
        } else {
            self.hot.streak.success(tag);
            0
        };
        let policy = knobs.measures().has(Measures::POLICY);
        let counts = match knobs.shape() {
            Shape::None => None,
            Shape::Calls(_) => Some(self.count.record(tag, sample)?),
            Shape::Time { bucket_nanos } => {
                Some(self.time.record(tag, sample, now(), bucket_nanos, policy)?)
            }
        };
        if ticket.word.is_ramping() && !sample.failed {
            self.rationing.grow();
        }
        let bad = streak > 0 || counts.is_some_and(|counts| counts.failures + counts.slow > 0);
        if bad || policy {
            return self.weigh(ticket, Evidence { streak, counts, policy }, now);
        }
        None
    }

    /// Opens when `evidence` crosses a limit; `policy` in it asks the user's own.
    pub(super) fn weigh(
        &self,
        ticket: &Ticket,
        mut evidence: Evidence,
        now: impl FnOnce() -> Instant,
    ) -> Option<Transition> {
        let asked = std::mem::take(&mut evidence.policy);
        let mut crossed = self.hot.knobs.limits().crossed(&evidence).is_some();
        if !crossed && asked {
            let policy = self.lock().config.trip.policy.clone();
            // Outside the lock: it is the user's code.
            crossed = policy.zip(evidence.counts).is_some_and(|(p, counts)| p.0.opens(&counts));
            evidence.policy = crossed;
        }
        let word = self.word();
        let stale = word.generation() != ticket.generation();
        if !crossed || stale || word.mode() == Mode::ForcedClosed {
            return None;
        }
        self.trip(ticket, &evidence, now())
    }

    #[cold]
    fn trip(&self, ticket: &Ticket, evidence: &Evidence, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        if self.word().generation() != ticket.generation() {
            return None;
        }
        // A configuration may have come between the count and the lock.
        let cause = Limits::of(&inner.config.trip).crossed(evidence)?;
        let told = ticket.told();
        // A recovery that lasted as long as the wait before it ends the row.
        if now.saturating_since(inner.since) >= inner.last_wait {
            inner.openings = 0;
        }
        Some(self.open(&mut inner, cause, told, now))
    }

    #[cold]
    fn probe_ended(
        &self,
        ticket: &Ticket,
        verdict: Option<bool>,
        now: Instant,
    ) -> Option<Transition> {
        let seat = ticket.seat()?;
        let mut inner = self.lock();
        if self.word().generation() != ticket.generation() {
            return None;
        }
        inner.probes.finish(seat, verdict);
        self.settle(&mut inner, ticket.told(), now)
    }
}

/// What became of a plain success.
pub(crate) enum Success {
    /// It was counted, and changes nothing.
    Counted,
    /// It was counted, and what the window holds has to be weighed.
    Weigh(Counts),
    /// It was not counted: more has to be looked at.
    NotPlain,
}

impl Cause {
    /// Whether the calls of a closed breaker caused it.
    pub(crate) const fn is_trip(self) -> bool {
        matches!(
            self,
            Self::ConsecutiveFailures
                | Self::Failures
                | Self::FailureRate
                | Self::SlowCallRate
                | Self::Policy
        )
    }
}
