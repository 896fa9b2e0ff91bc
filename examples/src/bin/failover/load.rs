//! Callers that call again as soon as they are answered.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    clients::{Client, Contender},
    fault::Scenario,
};

pub(crate) const CALLERS: u64 = 32;

/// Above every time-out here, in microseconds; what takes longer is counted as this long.
const LONGEST: u64 = 60_000_000;

/// What the callers saw.
#[derive(Debug)]
pub(crate) struct Seen {
    /// In microseconds; of all calls, answered or not.
    latencies: Histogram<u64>,
    errors: u64,
}

impl Seen {
    fn nothing() -> Self {
        let latencies =
            Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds are allowed");
        Self { latencies, errors: 0 }
    }
}

/// 32 callers, each with a clone of `client`, for `time`.
pub(crate) async fn drive(client: &Client, time: Duration) -> Seen {
    let end = Instant::now() + time;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let mut client = client.clone();
        callers.spawn(async move {
            let mut seen = Seen::nothing();
            loop {
                let begun = Instant::now();
                if begun >= end {
                    return seen;
                }
                seen.errors += u64::from(!client.call(caller).await);
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                seen.latencies.saturating_record(micros);
            }
        });
    }
    let mut all = Seen::nothing();
    while let Some(Ok(seen)) = callers.join_next().await {
        all.errors += seen.errors;
        all.latencies += seen.latencies;
    }
    all
}

/// One line of the table, one object of the list.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: Scenario,
    client: Contender,
    calls: u64,
    errors: u64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Report {
    pub(crate) const HEADINGS: &str =
        "scenario   client                calls   errors   p50 ms   p99 ms  p99.9 ms    max ms";

    pub(crate) fn new(scenario: Scenario, client: Contender, seen: &Seen) -> Self {
        let at = |quantile| seen.latencies.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            scenario,
            client,
            calls: seen.latencies.len(),
            errors: seen.errors,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, errors, p50_ms, p99_ms, p999_ms, max_ms, .. } = self;
        let (scenario, client) = (self.scenario.name(), self.client.name());
        write!(
            f,
            "{scenario:<10} {client:<18} {calls:>8} {errors:>8} {p50_ms:>8.2} {p99_ms:>8.2} {p999_ms:>9.2} {max_ms:>9.2}"
        )
    }
}
