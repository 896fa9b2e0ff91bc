//! Random sequences of events against a slow, obvious model, for every policy.
//!
//! The model keeps every call it ever saw and counts anew for each question.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::Duration;

use proptest::prelude::*;
use seawall_circuit_breaker::{
    CircuitBreaker, Clock, Config, Counts, HalfOpen, OnDrop, OwnedPermit, Ratio, State, Window,
};

const MILLI: u64 = 1_000_000;
const WAIT: u64 = 500 * MILLI;
const PROBE_TIMEOUT: u64 = 300 * MILLI;
const SLOW: u64 = 80 * MILLI;

/// What to trip on, in the model's own words.
#[derive(Clone, Debug)]
struct Settings {
    consecutive: Option<u32>,
    /// Of all calls: at least these hundredths failed.
    failure_percent: Option<u32>,
    slow_percent: Option<u32>,
    failures: Option<u32>,
    /// The user's own: more slow calls than this.
    policy_slow: Option<u32>,
    window: Win,
    minimum: u32,
    probes: u16,
    half_open: Rule,
    on_drop: Drops,
}

#[derive(Clone, Copy, Debug)]
enum Win {
    Calls(u32),
    Sixteenths(u64),
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    First(u32),
    Percent { calls: u32, percent: u32, early: bool },
}

#[derive(Clone, Copy, Debug)]
enum Drops {
    Ignore,
    Fail,
    FailAfter(u64),
}

fn settings() -> impl Strategy<Value = Settings> {
    let trip = (
        proptest::option::of(1..6_u32),
        proptest::option::of(1..=100_u32),
        proptest::option::of(1..=100_u32),
        proptest::option::of(1..8_u32),
        proptest::option::of(0..6_u32),
    );
    let window = prop_oneof![
        (8..30_u32).prop_map(Win::Calls),
        (10..60_u64).prop_map(|ms| Win::Sixteenths(ms * MILLI)),
    ];
    let rule =
        prop_oneof![
            (1..4_u32).prop_map(Rule::First),
            (1..6_u32, 1..=100_u32, any::<bool>())
                .prop_map(|(calls, percent, early)| Rule::Percent { calls, percent, early }),
        ];
    let drops = prop_oneof![
        Just(Drops::Ignore),
        Just(Drops::Fail),
        (1..200_u64).prop_map(|ms| Drops::FailAfter(ms * MILLI)),
    ];
    (trip, window, 1..9_u32, 1..4_u16, rule, drops).prop_map(
        |(trip, window, minimum, probes, half_open, on_drop)| Settings {
            // One at least, so that the default does not step in.
            consecutive: trip.0.or(if trip.1.is_none() { Some(3) } else { None }),
            failure_percent: trip.1,
            slow_percent: trip.2,
            failures: trip.3,
            policy_slow: trip.4,
            window,
            minimum,
            probes,
            half_open,
            on_drop,
        },
    )
}

fn percent(percent: u32) -> Ratio {
    Ratio::new(f64::from(percent) / 100.0).unwrap()
}

fn config(settings: &Settings) -> Config {
    let mut builder = Config::builder()
        .minimum_calls(settings.minimum)
        .probes(settings.probes)
        .open_wait(Duration::from_nanos(WAIT))
        .probe_timeout(Duration::from_nanos(PROBE_TIMEOUT))
        .window(match settings.window {
            Win::Calls(n) => Window::Calls(n),
            Win::Sixteenths(nanos) => Window::Time(Duration::from_nanos(16 * nanos)),
        })
        .half_open(match settings.half_open {
            Rule::First(successes) => HalfOpen::first_failure(successes),
            Rule::Percent { calls, percent: p, early: false } => HalfOpen::rate(calls, percent(p)),
            Rule::Percent { calls, percent: p, early: true } => {
                HalfOpen::early_rate(calls, percent(p))
            }
        })
        .on_drop(match settings.on_drop {
            Drops::Ignore => OnDrop::Ignore,
            Drops::Fail => OnDrop::Failure,
            Drops::FailAfter(age) => OnDrop::FailureAfter(Duration::from_nanos(age)),
        });
    if let Some(n) = settings.consecutive {
        builder = builder.consecutive_failures(n);
    }
    if let Some(p) = settings.failure_percent {
        builder = builder.failure_rate(f64::from(p) / 100.0);
    }
    if let Some(p) = settings.slow_percent {
        builder = builder.slow_call_rate(Duration::from_nanos(SLOW), f64::from(p) / 100.0);
    }
    if let Some(n) = settings.failures {
        builder = builder.failures(n);
    }
    if let Some(n) = settings.policy_slow {
        builder = builder.policy(move |counts: &Counts| counts.slow > n.into());
    }
    builder.build().unwrap()
}

/// A call in flight, as the model sees it.
struct Call {
    generation: u32,
    start: u64,
    answered: Option<u64>,
    probe: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    Success,
    Failure,
    Ignore,
    Drop,
}

struct Model {
    settings: Settings,
    state: State,
    generation: u32,
    open_until: u64,
    /// When, failed, slow: every call of this generation.
    ended: Vec<(u64, bool, bool)>,
    streak: u32,
    /// Probes that are out: start and whether answered, by a number of their own.
    out: Vec<(u64, usize)>,
    good: u32,
    bad: u32,
}

impl Model {
    fn enter(&mut self, state: State, now: u64) {
        self.state = state;
        self.generation += 1;
        self.ended.clear();
        self.streak = 0;
        self.out.clear();
        self.good = 0;
        self.bad = 0;
        if state == State::Open {
            self.open_until = now + WAIT;
        }
    }

    fn seats(&self) -> usize {
        match self.settings.half_open {
            Rule::First(_) => self.settings.probes.into(),
            Rule::Percent { calls, .. } => (calls.saturating_sub(self.good + self.bad) as usize)
                .min(self.settings.probes.into()),
        }
    }

    /// Whether the call gets in, and whether as a probe.
    fn admit(&mut self, calls: &[Call], id: usize, now: u64) -> Option<bool> {
        if self.state == State::HalfOpen {
            let due = |out: &&(u64, usize)| out.0 + PROBE_TIMEOUT <= now;
            for (_, probe) in self.out.iter().filter(due) {
                if calls[*probe].answered.is_some() { self.good += 1 } else { self.bad += 1 }
            }
            self.out.retain(|out| out.0 + PROBE_TIMEOUT > now);
            self.settle(now);
            if self.state == State::Open {
                return None;
            }
        }
        if self.state == State::Open {
            if now < self.open_until {
                return None;
            }
            self.enter(State::HalfOpen, now);
        }
        if self.state == State::Closed {
            return Some(false);
        }
        if self.out.len() >= self.seats() {
            return None;
        }
        self.out.push((now, id));
        Some(true)
    }

    fn settle(&mut self, now: u64) {
        let verdict = match self.settings.half_open {
            Rule::First(successes) => {
                if self.bad > 0 {
                    Some(false)
                } else {
                    (self.good >= successes).then_some(true)
                }
            }
            Rule::Percent { calls, percent, early } => {
                let left = calls.saturating_sub(self.good + self.bad);
                let fails = |failed: u32| failed * 100 >= calls * percent;
                if left > 0 && !early {
                    None
                } else if fails(self.bad) {
                    Some(false)
                } else if !fails(self.bad + left) {
                    Some(true)
                } else {
                    None
                }
            }
        };
        match verdict {
            Some(true) => self.enter(State::Closed, now),
            Some(false) => self.enter(State::Open, now),
            None => {}
        }
    }

    fn end(&mut self, call: &Call, id: usize, end: End, now: u64) {
        let failed = match end {
            End::Success => Some(false),
            End::Failure => Some(true),
            End::Ignore => None,
            End::Drop => match self.settings.on_drop {
                Drops::Ignore => None,
                Drops::Fail => Some(true),
                Drops::FailAfter(age) => (now - call.start >= age).then_some(true),
            },
        };
        if call.generation != self.generation {
            return;
        }
        let measured = self.settings.slow_percent.is_some();
        let slow = measured && call.answered.unwrap_or(now) - call.start >= SLOW;
        if call.probe {
            let held = self.out.iter().any(|out| out.1 == id);
            self.out.retain(|out| out.1 != id);
            match failed {
                Some(failed) if held => {
                    if failed || slow {
                        self.bad += 1
                    } else {
                        self.good += 1
                    }
                }
                _ => {}
            }
            self.settle(now);
            return;
        }
        let Some(failed) = failed else { return };
        self.streak = if failed { self.streak + 1 } else { 0 };
        self.ended.push((now, failed, slow));
        if self.crossed(now) {
            self.enter(State::Open, now);
        }
    }

    fn counts(&self, now: u64) -> (u32, u32, u32) {
        let inside: Vec<_> = match self.settings.window {
            Win::Calls(n) => self.ended.iter().rev().take(n as usize).collect(),
            Win::Sixteenths(bucket) => {
                self.ended.iter().filter(|call| call.0 / bucket + 16 > now / bucket).collect()
            }
        };
        let failed = inside.iter().filter(|call| call.1).count();
        let slow = inside.iter().filter(|call| call.2).count();
        (inside.len() as u32, failed as u32, slow as u32)
    }

    fn crossed(&self, now: u64) -> bool {
        let s = &self.settings;
        let (calls, failed, slow) = self.counts(now);
        let rate = |part: u32, percent: Option<u32>| {
            calls >= s.minimum && percent.is_some_and(|p| part * 100 >= calls * p)
        };
        s.consecutive.is_some_and(|n| self.streak >= n)
            || s.failures.is_some_and(|n| failed >= n)
            || rate(failed, s.failure_percent)
            || rate(slow, s.slow_percent)
            || s.policy_slow.is_some_and(|n| slow > n)
    }
}

#[derive(Clone, Debug)]
enum Event {
    Admit,
    Answer(prop::sample::Index),
    End(prop::sample::Index, u8),
    Pass(u64),
    Reset,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => Just(Event::Admit),
        1 => any::<prop::sample::Index>().prop_map(Event::Answer),
        8 => (any::<prop::sample::Index>(), 0..12_u8).prop_map(|(i, n)| Event::End(i, n)),
        3 => (0..60_u64).prop_map(|ms| Event::Pass(ms * MILLI)),
        1 => (100..1_500_u64).prop_map(|ms| Event::Pass(ms * MILLI)),
        1 => Just(Event::Reset),
    ]
}

proptest! {
    #[test]
    fn the_breaker_does_what_the_model_does(
        settings in settings(),
        events in proptest::collection::vec(event(), 1..160),
    ) {
        let (clock, hand) = Clock::manual();
        let breaker = CircuitBreaker::builder(config(&settings)).clock(clock).build();
        let mut model = Model {
            settings: settings.clone(), state: State::Closed, generation: 0, open_until: 0,
            ended: vec![], streak: 0, out: vec![], good: 0, bad: 0,
        };
        let mut calls: Vec<Call> = Vec::new();
        let mut open: Vec<(usize, OwnedPermit)> = Vec::new();
        for event in events {
            let now = hand.now().as_nanos();
            match event {
                Event::Pass(nanos) => hand.advance(Duration::from_nanos(nanos)),
                Event::Reset => {
                    breaker.reset();
                    model.enter(State::Closed, now);
                }
                Event::Admit => {
                    let id = calls.len();
                    let expected = model.admit(&calls, id, now);
                    let would = breaker.would_admit();
                    let got = breaker.admit_owned();
                    prop_assert_eq!(got.as_ref().ok().map(OwnedPermit::is_probe), expected);
                    prop_assert!(would || got.is_err(), "it admitted what it would not");
                    if let (Ok(permit), Some(probe)) = (got, expected) {
                        let generation = model.generation;
                        calls.push(Call { generation, start: now, answered: None, probe });
                        open.push((id, permit));
                    }
                }
                Event::Answer(index) if !open.is_empty() => {
                    let at = index.index(open.len());
                    let (id, permit) = &mut open[at];
                    if calls[*id].answered.is_none() {
                        calls[*id].answered = Some(now);
                        permit.answered();
                    }
                }
                Event::End(index, how) if !open.is_empty() => {
                    let at = index.index(open.len());
                    let (id, permit) = open.swap_remove(at);
                    let end = [End::Success, End::Failure, End::Ignore, End::Drop]
                        [match how { 0..5 => 0, 5..10 => 1, 10 => 2, _ => 3 }];
                    model.end(&calls[id], id, end, now);
                    match end {
                        End::Success => permit.success(),
                        End::Failure => permit.failure(),
                        End::Ignore => permit.ignore(),
                        End::Drop => drop(permit),
                    }
                }
                _ => {}
            }
            let now = hand.now().as_nanos();
            let snapshot = breaker.snapshot();
            prop_assert_eq!(snapshot.state, model.state);
            prop_assert_eq!(snapshot.probes_in_flight as usize, model.out.len());
            if model.state == State::Closed {
                let (calls, failures, slow) = model.counts(now);
                let counts = (snapshot.counts.calls, snapshot.counts.failures, snapshot.counts.slow);
                prop_assert_eq!(counts, (calls.into(), failures.into(), slow.into()));
                if settings.consecutive.is_some() {
                    prop_assert_eq!(snapshot.consecutive_failures, model.streak);
                }
            }
            if model.state == State::Open {
                let left = Duration::from_nanos(model.open_until.saturating_sub(now));
                prop_assert_eq!(snapshot.next_probe_in, Some(left));
            }
        }
        drop(open);
        prop_assert_eq!(breaker.snapshot().probes_in_flight, 0);
    }
}
