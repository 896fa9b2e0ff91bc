//! How calls went, as their callers saw it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The right answer, from the server of this name.
    Answered(String),
    /// The rate limiter refused it before anything was sent.
    Refused,
    /// No answer, or a wrong one, and why.
    Failed(String),
}

/// Collects the calls of one client: for the whole run, and for the window since the last look.
#[derive(Debug)]
pub(crate) struct Meter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    run: Tally,
    window: Tally,
    /// Latencies since the last look, by the server that answered.
    servers: BTreeMap<String, Histogram<u64>>,
    /// Failures that nobody has asked for yet.
    failures: Vec<String>,
}

/// Failures that are kept for the timeline; the count goes on.
const FAILURES_KEPT: usize = 5;

#[derive(Debug)]
struct Tally {
    latency: Histogram<u64>,
    errors: u64,
    refused: u64,
}

/// What callers of one client saw in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Calls that ended in an answer or an error; those that the limiter refused are not among them.
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) refused: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) calls_per_s: f64,
}

/// What one look takes out of a meter.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) window: Figures,
    pub(crate) run: Figures,
    /// 50 % and 99 % of the calls that a server answered took at most so many milliseconds.
    pub(crate) servers: BTreeMap<String, (f64, f64)>,
    pub(crate) failures: Vec<String>,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let state = State {
            run: Tally::new(),
            window: Tally::new(),
            servers: BTreeMap::new(),
            failures: Vec::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Notes a call that ended `latency` after it was due.
    pub(crate) fn note(&self, latency: Duration, ending: Ending) {
        let mut state = self.lock();
        state.run.note(latency, &ending);
        state.window.note(latency, &ending);
        match ending {
            Ending::Answered(by) => {
                let server = state.servers.entry(by).or_insert_with(histogram);
                server.saturating_record(micros(latency));
            }
            Ending::Failed(why) if state.failures.len() < FAILURES_KEPT => state.failures.push(why),
            Ending::Failed(_) | Ending::Refused => {}
        }
    }

    /// The window since the last look, which lasted `window`, and the run, which lasts `run` by now.
    pub(crate) fn look(&self, window: Duration, run: Duration) -> Look {
        let mut state = self.lock();
        let look = Look {
            window: state.window.figures(window),
            run: state.run.figures(run),
            servers: state.servers.iter().map(|(name, l)| (name.clone(), quantiles(l))).collect(),
            failures: std::mem::take(&mut state.failures),
        };
        state.window = Tally::new();
        state.servers.clear();
        look
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn new() -> Self {
        Self { latency: histogram(), errors: 0, refused: 0 }
    }

    fn note(&mut self, latency: Duration, ending: &Ending) {
        match ending {
            Ending::Refused => {
                self.refused += 1;
                return;
            }
            Ending::Failed(_) => self.errors += 1,
            Ending::Answered(_) => {}
        }
        self.latency.saturating_record(micros(latency));
    }

    fn figures(&self, over: Duration) -> Figures {
        let calls = self.latency.len();
        let (p50_ms, p99_ms) = quantiles(&self.latency);
        let seconds = over.as_secs_f64();
        Figures {
            calls,
            errors: self.errors,
            refused: self.refused,
            p50_ms,
            p99_ms,
            p999_ms: millis(&self.latency, 0.999),
            calls_per_s: if seconds > 0.0 { round(calls as f64 / seconds) } else { 0.0 },
        }
    }
}

/// Longer than any call can take that has the demo's policy.
const LONGEST_MICROS: u64 = 60_000_000;

/// Three digits are more than a chart shows.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_MICROS, 3).expect("these bounds are supported")
}

fn micros(latency: Duration) -> u64 {
    latency.as_micros().try_into().unwrap_or(u64::MAX)
}

fn quantiles(latency: &Histogram<u64>) -> (f64, f64) {
    (millis(latency, 0.5), millis(latency, 0.99))
}

fn millis(latency: &Histogram<u64>, quantile: f64) -> f64 {
    round(latency.value_at_quantile(quantile) as f64 / 1000.0)
}

/// Two decimals: what is measured is no finer.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_refused_call_is_neither_a_call_nor_an_error() {
        let meter = Meter::new();
        meter.note(Duration::from_millis(5), Ending::Answered("a".into()));
        meter.note(Duration::from_millis(7), Ending::Failed("reset".into()));
        meter.note(Duration::from_secs(9), Ending::Refused);
        let look = meter.look(SECOND, SECOND);
        assert_eq!((look.run.calls, look.run.errors, look.run.refused), (2, 1, 1));
        assert!((look.run.p99_ms - 7.0).abs() < 0.1, "{:?}", look.run);
        assert_eq!(look.failures, ["reset"]);
        assert_eq!(look.servers.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_look_starts_a_new_window_and_the_run_goes_on() {
        let meter = Meter::new();
        meter.note(SECOND, Ending::Answered("a".into()));
        meter.look(SECOND, SECOND);
        meter.note(SECOND, Ending::Answered("b".into()));
        let look = meter.look(SECOND, 2 * SECOND);
        assert_eq!((look.window.calls, look.run.calls), (1, 2));
        assert!((look.run.calls_per_s - 1.0).abs() < 1e-9);
        assert_eq!(look.servers.len(), 1);
        let idle = meter.look(SECOND, 3 * SECOND).window;
        assert_eq!(idle, Figures::default());
    }

    #[test]
    fn a_run_that_has_not_begun_has_no_rate() {
        assert_eq!(Meter::new().look(Duration::ZERO, Duration::ZERO).run, Figures::default());
    }
}
