//! The right to one call, as the machine knows it.

use std::time::Duration;

use seawall_core::Instant;

use crate::{probes::Seat, state::Word, window::Tag};

/// The right to one call.
///
/// Three words, so that it stays in registers from admission to outcome, and moves with a future at
/// little cost. The last one is zero for the plain case:
///
/// | bits | what |
/// |---|---|
/// | 0, 1 | the [`Kind`] |
/// | 2, 3 | whether the callee has answered, and slowly |
/// | 4 to 31 | milliseconds that the callee asked to be left alone, plus one; 0 when it did not |
/// | 32 to 63 | a watched call's step, or a probe's seat |
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(super) word: Word,
    /// The end of time when the start does not matter.
    pub(super) start: Instant,
    rest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Call,
    /// A call that is counted while it is in flight.
    Watched,
    Probe,
    /// Nobody wants to know how it ends.
    Unwatched,
}

const KIND: u64 = 0b11;
const ANSWERED: u64 = 1 << 2;
const SLOW: u64 = 1 << 3;
const TOLD_SHIFT: u32 = 4;
const TOLD: u64 = 0xfff_ffff;
const PLACE_SHIFT: u32 = 32;

impl Ticket {
    #[inline]
    pub(super) const fn plain(word: Word) -> Self {
        Self { word, start: Instant::MAX, rest: 0 }
    }

    pub(super) const fn call(word: Word, start: Instant) -> Self {
        Self { word, start, rest: 0 }
    }

    pub(super) const fn probe(word: Word, start: Instant, seat: Seat) -> Self {
        let rest = Kind::Probe as u64 | (seat.bits() as u64) << PLACE_SHIFT;
        Self { word, start, rest }
    }

    #[inline]
    pub(crate) const fn unwatched() -> Self {
        Self { word: Word::from_bits(0), start: Instant::MAX, rest: Kind::Unwatched as u64 }
    }

    /// The three words, to pass in registers.
    #[inline]
    pub(crate) const fn parts(&self) -> (Word, Instant, u64) {
        (self.word, self.start, self.rest)
    }

    pub(crate) const fn from_parts((word, start, rest): (Word, Instant, u64)) -> Self {
        Self { word, start, rest }
    }

    /// A copy, field by field.
    #[inline]
    pub(crate) const fn copied(&self) -> Self {
        Self { word: self.word, start: self.start, rest: self.rest }
    }

    /// Neither timed nor watched nor a probe, and nothing was said of it.
    #[inline]
    pub(super) const fn is_plain(&self) -> bool {
        self.rest == 0 && self.word.is_plain()
    }

    #[inline]
    pub(super) const fn kind(&self) -> Kind {
        match self.rest & KIND {
            0 => Kind::Call,
            1 => Kind::Watched,
            2 => Kind::Probe,
            _ => Kind::Unwatched,
        }
    }

    pub(crate) const fn is_probe(&self) -> bool {
        matches!(self.kind(), Kind::Probe)
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.word.generation()
    }

    #[inline]
    pub(super) const fn tag(&self) -> Tag {
        Tag::of(self.word)
    }

    pub(super) const fn seat(&self) -> Option<Seat> {
        if self.is_probe() {
            Some(Seat::from_bits((self.rest >> PLACE_SHIFT) as u32))
        } else {
            None
        }
    }

    /// Counts the call as in flight since `step`, of which the low half is kept.
    pub(super) const fn watch(&mut self, step: u64) {
        self.rest |= Kind::Watched as u64 | step << PLACE_SHIFT;
    }

    /// The step since which the call is counted as in flight, if it is; it no longer is after this.
    pub(super) const fn unwatch(&mut self) -> Option<u64> {
        if !matches!(self.kind(), Kind::Watched) {
            return None;
        }
        self.rest &= !KIND;
        Some(self.rest >> PLACE_SHIFT)
    }

    /// Whether the answer was slow, if there was one.
    pub(super) const fn answer(&self) -> Option<bool> {
        if self.rest & ANSWERED == 0 { None } else { Some(self.rest & SLOW != 0) }
    }

    pub(super) const fn set_answer(&mut self, slow: bool) {
        self.rest |= ANSWERED | if slow { SLOW } else { 0 };
    }

    /// How long the callee asked to be left alone.
    pub(super) fn told(&self) -> Option<Duration> {
        let told = self.rest >> TOLD_SHIFT & TOLD;
        (told > 0).then(|| Duration::from_millis(told - 1))
    }

    /// The callee asked to be left alone for `wait`; three days are as good as more.
    pub(crate) fn set_told(&mut self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).min(TOLD - 1);
        self.rest = self.rest & !(TOLD << TOLD_SHIFT) | (millis + 1) << TOLD_SHIFT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn what_is_packed_comes_out_whatever_else_is_packed() {
        let word = Word::new(Mode::Automatic);
        let mut ticket = Ticket::call(word, Instant::ORIGIN);
        assert!(ticket.is_plain());
        ticket.watch(0x1_2345_6789);
        ticket.set_told(Duration::from_secs(7));
        ticket.set_answer(true);
        ticket.set_told(Duration::from_millis(1_234));
        assert_eq!((ticket.kind(), ticket.answer()), (Kind::Watched, Some(true)));
        assert_eq!(ticket.told(), Some(Duration::from_millis(1_234)));
        assert_eq!(ticket.unwatch(), Some(0x2345_6789));
        assert_eq!((ticket.kind(), ticket.unwatch()), (Kind::Call, None));
        ticket.set_told(Duration::MAX);
        assert_eq!(ticket.told(), Some(Duration::from_millis(TOLD - 1)));
        assert_eq!(ticket.answer(), Some(true));
        assert!(!ticket.is_plain());

        let seat = Seat::from_bits(0xdead_beef);
        assert_eq!(Ticket::probe(word, Instant::ORIGIN, seat).seat(), Some(seat));
    }
}
