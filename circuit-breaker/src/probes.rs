//! Half-open: who may probe, and what the probes have shown.
//!
//! A plain value that the machine keeps under its lock; nothing here knows of threads.

use std::time::Duration;

use seawall_core::Instant;

use crate::config::{Config, HalfOpen};

/// The probes of one half-open generation.
#[derive(Debug)]
pub(crate) struct Probes {
    /// At least `limit`; more after a configuration that allows fewer.
    slots: Vec<Slot>,
    limit: u32,
    rule: HalfOpen,
    timeout: Duration,
    taken: u32,
    successes: u32,
    failures: u32,
    /// No probe that is out has to answer before this; may be too early, never too late.
    next_expiry: Instant,
    /// Tells a slot's present holder from those before it.
    serial: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    holder: Option<Holder>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    serial: u32,
    deadline: Instant,
    answered: bool,
}

/// A slot that a call holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    index: u32,
    serial: u32,
}

/// Slots are numbered below 1,024.
const INDEX_BITS: u32 = 10;
const SERIALS: u32 = u32::MAX >> INDEX_BITS;

impl Seat {
    pub(crate) const fn bits(self) -> u32 {
        self.serial << INDEX_BITS | self.index
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self { index: bits & ((1 << INDEX_BITS) - 1), serial: bits >> INDEX_BITS }
    }
}

/// What the probes have shown so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Recovered,
    StillFailing,
    Unsettled,
}

impl Probes {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            slots: vec![Slot { holder: None }; config.probes as usize],
            limit: config.probes.into(),
            rule: config.half_open,
            timeout: config.probe_timeout,
            taken: 0,
            successes: 0,
            failures: 0,
            next_expiry: Instant::MAX,
            serial: 0,
        }
    }

    /// Starts a half-open generation.
    pub(crate) fn begin(&mut self) {
        self.slots.fill(Slot { holder: None });
        self.taken = 0;
        self.successes = 0;
        self.failures = 0;
        self.next_expiry = Instant::MAX;
    }

    /// Takes over the settings; probes that are out keep their slots and deadlines.
    pub(crate) fn reconfigure(&mut self, config: &Config) {
        self.limit = config.probes.into();
        self.rule = config.half_open;
        self.timeout = config.probe_timeout;
        if self.slots.len() < self.limit as usize {
            self.slots.resize(self.limit as usize, Slot { holder: None });
        }
    }

    /// A slot for a call that starts now, if one is free.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Seat> {
        if self.is_full() {
            return None;
        }
        let index = self.slots.iter().position(|slot| slot.holder.is_none())?;
        self.serial = (self.serial + 1) & SERIALS;
        let deadline = now.saturating_add(self.timeout);
        self.slots[index].holder = Some(Holder { serial: self.serial, deadline, answered: false });
        self.taken += 1;
        self.next_expiry = self.next_expiry.min(deadline);
        Some(Seat { index: index as u32, serial: self.serial })
    }

    /// Whether no further probe may start.
    pub(crate) fn is_full(&self) -> bool {
        let room = match self.rule {
            HalfOpen::FirstFailure { .. } => u32::MAX,
            HalfOpen::Rate { calls, .. } => calls.saturating_sub(self.successes + self.failures),
        };
        self.taken >= room.min(self.limit)
    }

    /// When a slot comes back by itself at the latest.
    pub(crate) fn next_expiry(&self) -> Instant {
        self.next_expiry
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.taken
    }

    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.successes, self.failures)
    }

    /// The callee has answered this probe; the rest of its body may take its time.
    pub(crate) fn answered(&mut self, seat: Seat) {
        if let Some(holder) = self.holder(seat) {
            holder.answered = true;
        }
    }

    /// The probe ended: well, badly, or (`None`) without a verdict.
    pub(crate) fn finish(&mut self, seat: Seat, verdict: Option<bool>) {
        // A slot that was taken back has had its verdict.
        if self.holder(seat).is_some() {
            self.free(seat.index as usize, verdict);
        }
    }

    /// Takes back the slots of probes that are overdue.
    ///
    /// One that has not answered by then hangs, which is a failure. One that has answered, such as a
    /// long stream, has shown that the callee lives.
    pub(crate) fn expire(&mut self, now: Instant) {
        if now < self.next_expiry {
            return;
        }
        self.next_expiry = Instant::MAX;
        for index in 0..self.slots.len() {
            match self.slots[index].holder {
                Some(holder) if holder.deadline <= now => self.free(index, Some(holder.answered)),
                Some(holder) => self.next_expiry = self.next_expiry.min(holder.deadline),
                None => {}
            }
        }
    }

    pub(crate) fn finding(&self) -> Finding {
        match self.rule {
            HalfOpen::FirstFailure { successes } => {
                if self.failures > 0 {
                    Finding::StillFailing
                } else if self.successes >= successes {
                    Finding::Recovered
                } else {
                    Finding::Unsettled
                }
            }
            HalfOpen::Rate { calls, failure_rate, early } => {
                let (all, failed) = (u64::from(calls), u64::from(self.failures));
                let left = all.saturating_sub(u64::from(self.successes) + failed);
                if left == 0 || early {
                    // The rate at the end if all that is left fails, and if none of it does.
                    if failure_rate.is_met_by(failed, all) {
                        return Finding::StillFailing;
                    }
                    if !failure_rate.is_met_by(failed + left, all) {
                        return Finding::Recovered;
                    }
                }
                Finding::Unsettled
            }
        }
    }

    fn holder(&mut self, seat: Seat) -> Option<&mut Holder> {
        let slot = self.slots.get_mut(seat.index as usize)?;
        slot.holder.as_mut().filter(|holder| holder.serial == seat.serial)
    }

    fn free(&mut self, index: usize, verdict: Option<bool>) {
        self.slots[index].holder = None;
        self.taken -= 1;
        match verdict {
            Some(true) => self.successes = self.successes.saturating_add(1),
            Some(false) => self.failures = self.failures.saturating_add(1),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ratio;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN.saturating_add(Duration::from_secs(seconds))
    }

    fn probes(slots: u16, half_open: HalfOpen) -> Probes {
        let config = Config::builder()
            .probes(slots)
            .half_open(half_open)
            .probe_timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        Probes::new(&config)
    }

    fn rate(calls: u32, share: f64, early: bool) -> HalfOpen {
        HalfOpen::Rate { calls, failure_rate: Ratio::new(share).unwrap(), early }
    }

    #[test]
    fn a_seat_that_was_taken_back_changes_nothing() {
        let mut probes = probes(1, HalfOpen::first_failure(2));
        let late = probes.take(at(0)).unwrap();
        probes.answered(late);
        probes.expire(at(10));
        assert_eq!(probes.counts(), (1, 0));
        let present = probes.take(at(10)).unwrap();
        probes.finish(late, Some(false));
        assert_eq!((probes.counts(), probes.in_flight()), ((1, 0), 1));
        probes.finish(present, Some(true));
        assert_eq!(probes.finding(), Finding::Recovered);
    }

    #[test]
    fn a_probe_without_an_answer_fails_at_its_deadline_and_not_before() {
        let mut probes = probes(1, HalfOpen::first_failure(1));
        probes.take(at(5)).unwrap();
        probes.expire(at(14));
        assert_eq!(probes.finding(), Finding::Unsettled);
        probes.expire(at(15));
        assert_eq!(probes.finding(), Finding::StillFailing);
    }

    #[test]
    fn a_rate_is_decided_when_all_calls_have_ended() {
        for (failures, finding) in [(1, Finding::Recovered), (2, Finding::StillFailing)] {
            let mut probes = probes(8, rate(4, 0.5, false));
            for n in 0..4 {
                assert_eq!(probes.finding(), Finding::Unsettled);
                let seat = probes.take(at(0)).unwrap();
                probes.finish(seat, Some(n >= failures));
            }
            assert_eq!(probes.finding(), finding, "{failures} of 4 failed");
            assert!(probes.take(at(0)).is_none(), "four calls were asked for");
        }
    }

    #[test]
    fn an_early_rate_is_decided_as_soon_as_no_call_can_change_it() {
        let mut probes = probes(8, rate(4, 0.5, true));
        for _ in 0..2 {
            assert_eq!(probes.finding(), Finding::Unsettled);
            let seat = probes.take(at(0)).unwrap();
            probes.finish(seat, Some(false));
        }
        assert_eq!(probes.finding(), Finding::StillFailing);

        probes.begin();
        for _ in 0..3 {
            assert_eq!(probes.finding(), Finding::Unsettled);
            let seat = probes.take(at(0)).unwrap();
            probes.finish(seat, Some(true));
        }
        assert_eq!(probes.finding(), Finding::Recovered);
    }
}
