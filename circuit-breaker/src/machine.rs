//! The state machine: decides who may call, and learns from how calls ended.
//!
//! Takes the time as an argument and tells nobody: the shell reads the clock and passes transitions
//! on to the observer.
//!
//! # Orderings
//!
//! `word` holds state, mode, flags and generation. It is written only under the lock of `inner`, with
//! Release, after everything that belongs to the new generation: the reset window and the gate. Every
//! admission loads it with Acquire, so whoever carries a generation sees a window that is ready for
//! it. What calls write afterwards is tagged with that generation (see [`window`](crate::window)), so
//! a call that outlives its generation changes nothing.
//!
//! `gate` is the instant before which nobody enters an open or half-open breaker. It only saves the
//! lock: a stale value sends a caller to the lock, which decides, or refuses it a moment longer.

use std::{
    sync::{
        PoisonError,
        atomic::Ordering::{Acquire, Relaxed, Release},
    },
    time::Duration,
};

use seawall_core::{Instant, Outcome};

use crate::{
    Cause, Config, Mode, OnDrop, Rejected, State, Transition,
    probes::{Finding, Probes, Seat},
    snapshot::Snapshot,
    state::Word,
    sync::{Apart, AtomicU32, AtomicU64, Mutex},
    window::{Streak, Tag},
};

#[derive(Debug)]
pub(crate) struct Machine {
    hot: Apart<Hot>,
    inner: Apart<Mutex<Inner>>,
}

/// What every call reads and few write.
#[derive(Debug)]
struct Hot {
    word: AtomicU64,
    gate: AtomicU64,
    streak: Streak,
    /// The length of the streak that opens; `u32::MAX + 1` does not fit, so 0 is never.
    consecutive: AtomicU32,
    /// The age in nanoseconds from which a dropped call is a failure.
    drop_age_nanos: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    probes: Probes,
    since: Instant,
}

/// The right to one call, as the machine knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    word: Word,
    kind: Kind,
    /// The end of time when the start does not matter.
    start: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Call,
    Probe(Seat),
    /// Nobody wants to know how it ends.
    Unwatched,
}

impl Ticket {
    pub(crate) const fn unwatched() -> Self {
        Self { word: Word::from_bits(0), kind: Kind::Unwatched, start: Instant::MAX }
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.word.generation()
    }

    pub(crate) const fn is_probe(&self) -> bool {
        matches!(self.kind, Kind::Probe(_))
    }
}

/// The answer to a caller, and what the asking changed.
pub(crate) struct Decision {
    pub(crate) verdict: Result<Ticket, Rejected>,
    /// The verdict is a refusal that must not be carried out.
    pub(crate) shadow: bool,
    pub(crate) transition: Option<Transition>,
}

impl Machine {
    pub(crate) fn new(config: Config, now: Instant) -> Self {
        let word = start(Word::new(config.mode), config.mode).with_timed(is_timed(&config));
        let machine = Self {
            hot: Apart(Hot {
                word: AtomicU64::new(word.bits()),
                gate: AtomicU64::new(Instant::MAX.as_nanos()),
                streak: Streak::new(Tag::of(word)),
                consecutive: AtomicU32::new(0),
                drop_age_nanos: AtomicU64::new(0),
            }),
            inner: Apart(Mutex::new(Inner { probes: Probes::new(&config), config, since: now })),
        };
        machine.publish(&machine.lock().config);
        machine
    }

    /// The whole decision for a closed breaker that measures nothing at the start of a call.
    #[inline]
    pub(crate) fn admit_plain(&self) -> Option<Ticket> {
        // Acquire: pairs with the Release in `enter`; see the module's docs.
        let word = Word::from_bits(self.hot.word.load(Acquire));
        word.is_plain().then_some(Ticket { word, kind: Kind::Call, start: Instant::MAX })
    }

    /// The decision in all other cases.
    pub(crate) fn admit(&self, now: Instant) -> Decision {
        let word = self.word();
        if word.state() != State::Closed {
            // Acquire: pairs with the Release of whoever moved the gate, so that a caller who finds
            // it open finds the state behind it under the lock.
            let gate = Instant::from_nanos(self.hot.gate.load(Acquire));
            if is_shut(gate, now) {
                return Decision {
                    verdict: Err(refusal(word.state(), gate, now)),
                    shadow: word.mode() == Mode::Shadow,
                    transition: None,
                };
            }
            return self.probe(now);
        }
        Decision { verdict: Ok(ticket(word, now)), shadow: false, transition: None }
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

    /// What a caller is told that was turned away before it asked.
    pub(crate) fn refusal(&self, now: Instant) -> Rejected {
        let state = self.word().state();
        refusal(state, Instant::from_nanos(self.hot.gate.load(Relaxed)), now)
    }

    /// The gate is open: the caller may be a probe.
    #[cold]
    fn probe(&self, now: Instant) -> Decision {
        let mut inner = self.lock();
        let mut word = self.word();
        let mut transition = None;
        if word.state() == State::HalfOpen {
            inner.probes.expire(now);
            transition = self.settle(&mut inner, now);
            word = self.word();
        }
        if word.state() == State::Open {
            let gate = Instant::from_nanos(self.hot.gate.load(Relaxed));
            if transition.is_none() && !is_shut(gate, now) {
                transition = Some(self.half_open(&mut inner, now));
                word = self.word();
            }
        }
        let verdict = match word.state() {
            State::Closed => Ok(ticket(word, now)),
            State::Open => {
                let gate = Instant::from_nanos(self.hot.gate.load(Relaxed));
                Err(refusal(State::Open, gate, now))
            }
            State::HalfOpen => match inner.probes.take(now) {
                Some(seat) => Ok(Ticket { word, kind: Kind::Probe(seat), start: now }),
                None => Err(refusal(State::HalfOpen, Instant::MAX, now)),
            },
        };
        if word.state() == State::HalfOpen {
            self.set_gate(&inner.probes);
        }
        let shadow = verdict.is_err() && word.mode() == Mode::Shadow;
        Decision { verdict, shadow, transition }
    }

    /// The callee has answered; its body may go on for long.
    #[inline]
    pub(crate) fn answered(&self, ticket: &Ticket) {
        if let Kind::Probe(seat) = ticket.kind {
            let mut inner = self.lock();
            if self.word().generation() == ticket.generation() {
                inner.probes.answered(seat);
            }
        }
    }

    /// A call ended.
    #[inline]
    pub(crate) fn finish(
        &self,
        ticket: &Ticket,
        outcome: Outcome,
        now: impl FnOnce() -> Instant,
    ) -> Option<Transition> {
        match (ticket.kind, outcome) {
            (Kind::Call, Outcome::Success) => {
                self.hot.streak.success(Tag::of(ticket.word));
                None
            }
            (Kind::Call, Outcome::Failure) => self.failed(ticket, now),
            (Kind::Probe(seat), outcome) => self.probe_ended(ticket, seat, outcome, now()),
            _ => None,
        }
    }

    /// What a call counts as that its caller dropped.
    pub(crate) fn dropped(&self, ticket: &Ticket, now: impl FnOnce() -> Instant) -> Outcome {
        // Relaxed: a setting that stands by itself.
        match self.hot.drop_age_nanos.load(Relaxed) {
            0 => Outcome::Failure,
            u64::MAX => Outcome::Ignored,
            age if now().saturating_since(ticket.start).as_nanos() >= age.into() => {
                Outcome::Failure
            }
            _ => Outcome::Ignored,
        }
    }

    #[cold]
    fn failed(&self, ticket: &Ticket, now: impl FnOnce() -> Instant) -> Option<Transition> {
        let streak = self.hot.streak.failure(Tag::of(ticket.word))?;
        // Relaxed: `trip` looks at the settings again, under the lock.
        let limit = self.hot.consecutive.load(Relaxed);
        if limit == 0 || streak < limit {
            return None;
        }
        self.trip(ticket, streak, now())
    }

    fn trip(&self, ticket: &Ticket, streak: u32, now: Instant) -> Option<Transition> {
        let mut inner = self.lock();
        let word = self.word();
        let stale = word.generation() != ticket.generation();
        if stale || word.mode() == Mode::ForcedClosed {
            return None;
        }
        // A configuration may have come between the count and the lock.
        let crossed = inner.config.consecutive.is_some_and(|limit| streak >= limit);
        crossed.then(|| self.open(&mut inner, Cause::ConsecutiveFailures, now))
    }

    #[cold]
    fn probe_ended(
        &self,
        ticket: &Ticket,
        seat: Seat,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Transition> {
        let mut inner = self.lock();
        if self.word().generation() != ticket.generation() {
            return None;
        }
        inner.probes.finish(
            seat,
            match outcome {
                Outcome::Success => Some(true),
                Outcome::Failure => Some(false),
                _ => None,
            },
        );
        self.settle(&mut inner, now)
    }

    /// Leaves the half-open state when the probes have shown enough.
    fn settle(&self, inner: &mut Inner, now: Instant) -> Option<Transition> {
        match inner.probes.finding() {
            Finding::Recovered => Some(self.close(inner, now)),
            Finding::StillFailing => Some(self.open(inner, Cause::ProbesFailed, now)),
            Finding::Unsettled => {
                self.set_gate(&inner.probes);
                None
            }
        }
    }

    fn open(&self, inner: &mut Inner, cause: Cause, now: Instant) -> Transition {
        let wait = inner.config.open_wait;
        self.hot.gate.store(now.saturating_add(wait).as_nanos(), Relaxed);
        self.enter(inner, self.word().enter(State::Open), cause, Some(wait), now)
    }

    fn half_open(&self, inner: &mut Inner, now: Instant) -> Transition {
        inner.probes.begin();
        self.set_gate(&inner.probes);
        self.enter(inner, self.word().enter(State::HalfOpen), Cause::WaitOver, None, now)
    }

    fn close(&self, inner: &mut Inner, now: Instant) -> Transition {
        self.enter(inner, self.word().enter(State::Closed), Cause::Recovered, None, now)
    }

    /// Begins anew, closed or forced open.
    pub(crate) fn restart(&self, mode: Option<Mode>, now: Instant) -> Transition {
        let mut inner = self.lock();
        let word = self.word();
        let mode = mode.unwrap_or(word.mode());
        self.hot.gate.store(Instant::MAX.as_nanos(), Relaxed);
        self.enter(&mut inner, start(word, mode), Cause::ByHand, None, now)
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
        self.hot.streak.reset(Tag::of(next));
        inner.since = at;
        // Release: pairs with the Acquire of every admission; see the module's docs.
        self.hot.word.store(next.bits(), Release);
        let (to, mode) = (next.state(), next.mode());
        Transition { from, to, mode, generation: next.generation(), at, cause, wait }
    }

    /// Opens the gate while a probe may start, and closes it until one is overdue.
    fn set_gate(&self, probes: &Probes) {
        let gate = if probes.is_full() { probes.next_expiry() } else { Instant::ORIGIN };
        // Release: pairs with the Acquire in `admit`.
        self.hot.gate.store(gate.as_nanos(), Release);
    }

    /// Copies the settings to where calls read them without the lock.
    fn publish(&self, config: &Config) {
        let drop_age = match config.on_drop {
            OnDrop::Ignore => u64::MAX,
            OnDrop::Failure => 0,
            // An age beyond the end of time is never reached.
            OnDrop::FailureAfter(age) => u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        };
        self.hot.drop_age_nanos.store(drop_age, Relaxed);
        self.hot.consecutive.store(config.consecutive.unwrap_or(0), Relaxed);
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        // Acquire: pairs with the Release in `enter`.
        Word::from_bits(self.hot.word.load(Acquire))
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let inner = self.lock();
        let word = self.word();
        let gate = Instant::from_nanos(self.hot.gate.load(Relaxed));
        let half_open = word.state() == State::HalfOpen;
        let (successes, failures) = if half_open { inner.probes.counts() } else { (0, 0) };
        Snapshot {
            state: word.state(),
            mode: word.mode(),
            generation: word.generation(),
            since: inner.since,
            next_probe_in: (word.state() == State::Open && gate < Instant::MAX)
                .then(|| gate.saturating_since(now)),
            consecutive_failures: self.hot.streak.length(),
            probes_in_flight: if half_open { inner.probes.in_flight() } else { 0 },
            probe_successes: successes,
            probe_failures: failures,
        }
    }

    #[cfg(not(seawall_loom))]
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing in here panics half-way, so a poisoned lock still guards a whole state.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(seawall_loom)]
    fn lock(&self) -> loom::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word of a fresh start in `mode`.
const fn start(word: Word, mode: Mode) -> Word {
    let state = match mode {
        Mode::ForcedOpen => State::Open,
        _ => State::Closed,
    };
    word.enter(state).with_mode(mode)
}

const fn is_timed(config: &Config) -> bool {
    matches!(config.on_drop, OnDrop::FailureAfter(_))
}

fn ticket(word: Word, now: Instant) -> Ticket {
    if word.mode() == Mode::Disabled {
        return Ticket::unwatched();
    }
    Ticket { word, kind: Kind::Call, start: if word.is_timed() { now } else { Instant::MAX } }
}

/// A gate at the end of time never opens, even then.
fn is_shut(gate: Instant, now: Instant) -> bool {
    now < gate || gate == Instant::MAX
}

fn refusal(state: State, gate: Instant, now: Instant) -> Rejected {
    let known = state == State::Open && gate < Instant::MAX;
    Rejected::new(state, known.then(|| gate.saturating_since(now)))
}
