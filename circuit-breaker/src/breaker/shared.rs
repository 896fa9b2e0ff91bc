//! What the handles of a breaker share.
//!
//! The functions of the usual path are small and inlined, and pass what they know by value; those of
//! the other paths are called, and may take their time.

use std::sync::Arc;

use seawall_core::{Clock, Instant, Outcome};

use crate::{
    Counts, Observer, Rejected, Transition,
    machine::{Machine, Success, Ticket},
    state::Word,
    totals::Counters,
};

pub(crate) struct Shared {
    pub(crate) machine: Machine,
    pub(crate) clock: Clock,
    pub(super) name: Option<Arc<str>>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) counters: Option<Box<Counters>>,
}

impl Shared {
    #[inline]
    pub(super) fn admit(&self) -> Result<Ticket, Rejected> {
        if let Some(ticket) = self.machine.admit_plain() {
            return Ok(ticket);
        }
        // Written to a place of its own and copied, so that the ticket above stays in registers.
        let mut ticket = Ticket::unwatched();
        self.admit_otherwise(&mut ticket)?;
        Ok(ticket.copied())
    }

    #[inline(never)]
    fn admit_otherwise(&self, ticket: &mut Ticket) -> Result<(), Rejected> {
        let decision = self.machine.admit(self.clock.now());
        if decision.transition.is_some() {
            self.tell(decision.transition);
        }
        match decision.verdict {
            Ok(admitted) => *ticket = admitted,
            Err(rejected) => {
                self.tell_rejected(&rejected, decision.shadow);
                if !decision.shadow {
                    return Err(rejected);
                }
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn finish(&self, ticket: Ticket, outcome: Outcome) {
        if let Some(counters) = &self.counters {
            counters.ended(outcome);
        }
        if outcome == Outcome::Success && self.machine.succeed_in_a_row(&ticket) {
            return;
        }
        let (word, start, rest) = ticket.parts();
        if outcome == Outcome::Success {
            self.succeed(word, start, rest);
        } else {
            self.finish_otherwise(word, start, rest, outcome);
        }
    }

    #[inline(never)]
    fn succeed(&self, word: Word, start: Instant, rest: u64) {
        match self.machine.succeed_in_window(&Ticket::from_parts((word, start, rest))) {
            Success::Counted => {}
            Success::Weigh(counts) => self.weigh(word, start, rest, counts),
            Success::NotPlain => self.finish_otherwise(word, start, rest, Outcome::Success),
        }
    }

    // The parts of the ticket one by one: they stay in registers on the way above.
    #[inline(never)]
    fn finish_otherwise(&self, word: Word, start: Instant, rest: u64, outcome: Outcome) {
        let ticket = Ticket::from_parts((word, start, rest));
        self.tell(self.machine.finish(ticket, outcome, || self.clock.now()));
    }

    #[inline(never)]
    fn weigh(&self, word: Word, start: Instant, rest: u64, counts: Counts) {
        let ticket = Ticket::from_parts((word, start, rest));
        self.tell(self.machine.weigh_success(&ticket, counts, || self.clock.now()));
    }

    pub(super) fn tell_rejected(&self, rejected: &Rejected, shadow: bool) {
        if let Some(counters) = &self.counters {
            counters.rejected();
        }
        if let Some(observer) = &self.observer {
            observer.rejected(self.name.as_deref(), rejected, shadow);
        }
    }

    pub(super) fn tell(&self, transition: Option<Transition>) {
        if let (Some(transition), Some(observer)) = (&transition, &self.observer) {
            observer.transition(self.name.as_deref(), transition);
        }
    }
}
