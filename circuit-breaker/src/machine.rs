//! The state machine: decides who may call, and learns from how calls ended.
//!
//! Takes the time as an argument and tells nobody: the shell reads the clock and passes transitions
//! on to the observer.
//!
//! # Orderings
//!
//! `word` holds state, mode, flags and generation. It is written only under the lock of `inner`, with
//! Release, after everything that belongs to the new generation: the settings, the reset windows and
//! the gate. Every admission loads it with Acquire, so whoever carries a generation sees windows that
//! are ready for it. What calls write afterwards is tagged with that generation (see
//! [`window`](crate::window)), so a call that outlives its generation changes nothing.
//!
//! `gate` is the instant before which nobody enters an open or half-open breaker. It only saves the
//! lock: a stale value sends a caller to the lock, which decides, or refuses it a moment longer.

mod admit;
mod finish;
mod ticket;
mod transitions;

use std::{
    sync::{
        PoisonError,
        atomic::Ordering::{Acquire, Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use seawall_core::Instant;

pub(crate) use finish::Success;
pub(crate) use ticket::Ticket;

use crate::{
    Config, Counts, Mode, Rejected, State, Transition,
    in_flight::{InFlight, STEPS_PER_THRESHOLD},
    probes::Probes,
    ramp::Rationing,
    snapshot::Snapshot,
    state::Word,
    sync::{Apart, AtomicU64, Mutex},
    trip::{Knobs, Shape},
    window::{CountWindow, Streak, Tag, TimeWindow},
};

#[derive(Debug)]
pub(crate) struct Machine {
    hot: Apart<Hot>,
    count: CountWindow,
    time: TimeWindow,
    in_flight: Apart<InFlight>,
    rationing: Apart<Rationing>,
    inner: Apart<Mutex<Inner>>,
}

/// What every call reads and few write.
#[derive(Debug)]
struct Hot {
    word: AtomicU64,
    gate: AtomicU64,
    streak: Streak,
    knobs: Knobs,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    probes: Probes,
    since: Instant,
    /// Openings in a row without a recovery that lasted.
    openings: u32,
    last_wait: Duration,
    rng: Rng,
}

/// The answer to a caller, and what the asking changed.
pub(crate) struct Decision {
    pub(crate) verdict: Result<Ticket, Rejected>,
    /// The verdict is a refusal that must not be carried out.
    pub(crate) shadow: bool,
    pub(crate) transition: Option<Transition>,
}

impl Machine {
    pub(crate) fn new(config: Config, now: Instant, rng: Rng) -> Self {
        let word = measured(started(Word::new(config.mode), config.mode), &config);
        let machine = Self {
            hot: Apart(Hot {
                word: AtomicU64::new(word.bits()),
                gate: AtomicU64::new(Instant::MAX.as_nanos()),
                streak: Streak::new(Tag::of(word)),
                knobs: Knobs::new(&config),
            }),
            count: CountWindow::new(Tag::of(word)),
            time: TimeWindow::new(),
            in_flight: Apart(InFlight::new()),
            rationing: Apart(Rationing::new()),
            inner: Apart(Mutex::new(Inner {
                probes: Probes::new(&config),
                config,
                since: now,
                openings: 0,
                last_wait: Duration::ZERO,
                rng,
            })),
        };
        machine.prepare();
        machine.reset_windows(Tag::of(word), now);
        machine
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
        let overdue = if word.watches_in_flight() && word.state() == State::Closed {
            self.in_flight.overdue(now, self.step_nanos())
        } else {
            0
        };
        Snapshot {
            state: word.state(),
            mode: word.mode(),
            generation: word.generation(),
            since: inner.since,
            age: now.saturating_since(inner.since),
            next_probe_in: (word.state() == State::Open && gate < Instant::MAX)
                .then(|| gate.saturating_since(now)),
            counts: self.counts(now),
            consecutive_failures: self.hot.streak.length(),
            overdue_in_flight: overdue,
            probes_in_flight: if half_open { inner.probes.in_flight() } else { 0 },
            probe_successes: successes,
            probe_failures: failures,
            openings: inner.openings,
            admitted_share: word
                .is_ramping()
                .then(|| f64::from(self.rationing.share(now)) / 1_000_000.0),
            totals: None,
        }
    }

    /// What the window holds now; nothing where none is kept.
    fn counts(&self, now: Instant) -> Counts {
        match self.hot.knobs.shape() {
            Shape::None => Counts::default(),
            Shape::Calls(_) => self.count.counts(),
            Shape::Time { bucket_nanos } => self.time.counts(now, bucket_nanos),
        }
    }

    fn step_nanos(&self) -> u64 {
        self.hot.knobs.slow_nanos() / STEPS_PER_THRESHOLD
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
const fn started(word: Word, mode: Mode) -> Word {
    let state = match mode {
        Mode::ForcedOpen => State::Open,
        _ => State::Closed,
    };
    word.enter(state).with_mode(mode)
}

/// `word` with the flags for what `config` measures.
const fn measured(word: Word, config: &Config) -> Word {
    let ages = matches!(config.on_drop, crate::OnDrop::FailureAfter(_));
    let watched = config.trip.slow_in_flight;
    word.with_timed(ages || config.trip.slow.is_some()).with_in_flight(watched)
}

/// A gate at the end of time never opens, even then.
fn is_shut(gate: Instant, now: Instant) -> bool {
    now < gate || gate == Instant::MAX
}

fn refusal(state: State, gate: Instant, now: Instant) -> Rejected {
    let known = state == State::Open && gate < Instant::MAX;
    Rejected::new(state, known.then(|| gate.saturating_since(now)))
}
