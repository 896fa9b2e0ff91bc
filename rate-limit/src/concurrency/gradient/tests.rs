use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn rule() -> Gradient {
    Gradient::new()
        .initial(16)
        .min(2)
        .max(64)
        .samples(3)
        .window(Duration::from_nanos(100))
        .probe_every(Duration::from_nanos(20_000))
}

fn sample(started: u64, ended: Ended, latency: u64, in_flight: u32) -> Sample {
    let (started, latency) = (Instant::from_nanos(started), Duration::from_nanos(latency));
    Sample { started, ended, latency, in_flight }
}

/// The rule written down plainly: it keeps every call of a window, and sorts them to find the middle.
struct Model {
    limit: f64,
    unloaded: Option<f64>,
    probing: bool,
    probed: (u64, f64),
    since: u64,
    calls: Vec<(u64, u32)>,
}

impl Model {
    fn limit(&self) -> u32 {
        let limit = if self.probing { self.limit / 4.0 } else { self.limit };
        (limit as u32).clamp(2, 64)
    }

    fn middle(&self) -> f64 {
        let mut latencies: Vec<_> = self.calls.iter().rev().take(128).map(|call| call.0).collect();
        latencies.sort_unstable();
        latencies[latencies.len() / 2].max(1) as f64
    }

    fn peak(&self) -> u32 {
        self.calls.iter().map(|call| call.1).max().unwrap_or(0)
    }

    fn end_window(&mut self, now: u64) {
        self.since = now;
        self.calls.clear();
    }

    fn measured(&mut self, now: u64) {
        self.unloaded = Some(self.middle());
        self.probing = false;
        self.probed = (now, self.limit);
        self.end_window(now);
    }

    fn sample(&mut self, now: u64, call: &Sample) {
        let latency = nanos(call.latency);
        let too_long = self.unloaded.is_some_and(|unloaded| latency as f64 > 1.25 * unloaded);
        let counts = match call.ended {
            Ended::Answered => true,
            Ended::Failed => false,
            Ended::Abandoned => too_long,
        };
        if counts && call.started.as_nanos() >= self.since {
            self.calls.push((latency, call.in_flight));
        }
        let (time, round) = (now - self.since, (self.peak() as usize).max(3));
        if self.probing {
            if self.calls.len() >= round.max(128) || (time >= 2_000 && !self.calls.is_empty()) {
                self.measured(now);
            } else if time >= 20_000 && self.unloaded.is_some() {
                self.probing = false;
                self.probed = (now, self.limit);
                self.end_window(now);
            }
        } else if self.calls.len() >= round && time >= 100 {
            match self.unloaded {
                None => self.probing = true,
                Some(_) if f64::from(self.peak()) <= self.limit / 4.0 => {
                    self.measured(now);
                    return;
                }
                Some(unloaded) => {
                    if f64::from(self.peak()) >= self.limit / 2.0 {
                        let gradient = (1.25 * unloaded / self.middle()).clamp(0.5, 1.0);
                        let target = self.limit * gradient + self.limit.sqrt();
                        self.limit = (self.limit * 0.8 + target * 0.2).clamp(2.0, 64.0);
                    }
                    self.probing =
                        now - self.probed.0 >= 20_000 || self.limit <= self.probed.1 * 0.75;
                }
            }
            self.end_window(now);
        }
    }
}

proptest! {
    #[test]
    fn the_limit_is_what_the_rule_says(
        stretches in proptest::collection::vec((1..400_u64, 1..70_u32, 1..200_usize), 1..30),
        noise in proptest::collection::vec((0..60_u64, 0..30_u8), 200),
    ) {
        let mut state = GradientState::new(rule(), 16);
        let (limit, since, calls) = (16.0, 0, Vec::new());
        let mut model = Model { limit, unloaded: None, probing: false, probed: (0, limit), since, calls };
        let mut now = 1_000;
        for (latency, in_flight, calls) in stretches {
            for (noise, kind) in &noise[..calls] {
                now += noise / 2;
                let ended = match kind {
                    0 => Ended::Failed,
                    1 => Ended::Abandoned,
                    _ => Ended::Answered,
                };
                let latency = latency + noise;
                let in_flight = in_flight.min(model.limit());
                let call = sample(now - latency, ended, latency, in_flight);
                state.sample(Instant::from_nanos(now), &call);
                model.sample(now, &call);
                prop_assert_eq!(state.limit(), model.limit());
                prop_assert!((state.estimate - model.limit).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_limit_stays_within_its_bounds_whatever_the_clock_does(
        calls in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), 0..3_u8), 1..400),
    ) {
        let mut state = GradientState::new(rule(), 16);
        for (now, started, latency, kind) in calls {
            let ended = [Ended::Answered, Ended::Failed, Ended::Abandoned][usize::from(kind)];
            state.sample(Instant::from_nanos(now), &sample(started, ended, latency, 1_000_000));
            prop_assert!((2..=64).contains(&state.limit()), "{}", state.limit());
        }
    }
}

/// Ends so many calls of this latency, one every 10 ns, with the limit in full use.
fn run(state: &mut GradientState, now: &mut u64, calls: u32, latency: u64) {
    for _ in 0..calls {
        *now += 10;
        let call = sample(*now - latency, Ended::Answered, latency, state.limit());
        state.sample(Instant::from_nanos(*now), &call);
    }
}

#[test]
fn the_first_round_leads_to_a_measure_at_a_quarter_and_that_to_growth() {
    let (mut state, mut now) = (GradientState::new(rule(), 16), 1_000);
    run(&mut state, &mut now, 16, 50);
    assert_eq!((state.limit(), state.unloaded()), (4, None));
    run(&mut state, &mut now, 150, 50);
    assert_eq!((state.unloaded(), state.probing), (Some(50), false));
    run(&mut state, &mut now, 200, 50);
    assert!(state.limit() > 16, "{}", state.limit());
}

#[test]
fn a_callee_that_became_slower_for_good_is_measured_again_before_the_limit_is_gone() {
    let (mut state, mut now) = (GradientState::new(rule(), 40), 1_000);
    run(&mut state, &mut now, 400, 50);
    let before = state.limit();
    run(&mut state, &mut now, 1_000, 300);
    assert_eq!(state.unloaded(), Some(300));
    assert!(state.limit() * 2 >= before, "{} of {before}", state.limit());
}

#[test]
fn failures_say_nothing_about_latency() {
    let (mut state, mut now) = (GradientState::new(rule(), 16), 1_000);
    run(&mut state, &mut now, 300, 50);
    let before = state.limit();
    for _ in 0..1_000 {
        now += 10;
        let call = sample(now - 1, Ended::Failed, 1, before);
        state.sample(Instant::from_nanos(now), &call);
    }
    assert_eq!((state.limit(), state.unloaded()), (before, Some(50)));
}

#[test]
fn a_measure_to_which_nobody_answers_is_given_up() {
    let (mut state, mut now) = (GradientState::new(rule(), 16), 1_000);
    run(&mut state, &mut now, 300, 50);
    now += 20_000;
    while !state.probing {
        run(&mut state, &mut now, 1, 50);
    }
    let estimate = state.estimate;
    now += 20_000;
    state.sample(Instant::from_nanos(now), &sample(now - 1, Ended::Failed, 1, 1));
    assert_eq!((state.probing, state.estimate), (false, estimate));
    assert_eq!(state.unloaded(), Some(50));
}
