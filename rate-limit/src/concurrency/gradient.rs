//! A limit that follows the latency.

mod settings;

use seawall_core::Instant;

use super::{
    sample::{Ended, Sample},
    window::Window,
};

pub use settings::Gradient;

/// The least that one step keeps of the limit, against outliers; as in Gradient2.
const GRADIENT_MIN: f64 = 0.5;
/// The share of the limit at which the latency without a queue is measured. A quarter holds less
/// than the callee can do, unless the limit is more than four times too large; and then the
/// measure, times any tolerance below two, still leads to half of the limit or less.
const PROBE_SHARE: f64 = 0.25;
/// A limit that has fallen to this share of what it was at the last measure is measured again: the
/// callee may have become slower for good, which no limit cures.
const FALLEN: f64 = 0.75;
/// As many answers make a measure, if they come in time: of times that vary as those of a memoryless
/// service do, the median of so many is off by an eighth.
const PROBE_SAMPLES: u32 = 128;
/// The share of the time between two measures in which one ends with what it has.
const PROBE_TIME: u32 = 10;

/// Where the limit is, and what it is derived from.
#[derive(Clone, Debug)]
pub(crate) struct GradientState {
    rule: Gradient,
    /// The limit, unless it is being probed.
    estimate: f64,
    /// The latency without a queue, in nanoseconds, once it was measured.
    unloaded: Option<u64>,
    window: Window,
    probing: bool,
    /// When the last measure ended, and what the limit was then.
    probed: (Instant, f64),
}

impl GradientState {
    pub(crate) fn new(rule: Gradient, limit: u32) -> Self {
        let estimate = f64::from(rule.bounds.clamp(limit));
        Self {
            rule,
            estimate,
            unloaded: None,
            window: Window::new(),
            probing: false,
            probed: (Instant::ORIGIN, estimate),
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        let share = if self.probing { PROBE_SHARE } else { 1.0 };
        self.rule.bounds.clamp((self.estimate * share).floor() as u32)
    }

    /// The latency without a queue, in nanoseconds, once it was measured.
    pub(crate) fn unloaded(&self) -> Option<u64> {
        self.unloaded
    }

    pub(crate) fn sample(&mut self, now: Instant, sample: &Sample) {
        // A clock that ran backward must not hold it up until the clock has caught up.
        self.probed.0 = self.probed.0.min(now);
        if now < self.window.since() {
            self.window.restart(now);
        }
        if self.tells(sample) {
            self.window.add(nanos(sample.latency), sample.in_flight);
        }
        if self.probing {
            self.probe(now);
        } else if self.window.is_round(self.rule.samples)
            && now.saturating_since(self.window.since()) >= self.rule.window
        {
            self.step(now);
        }
    }

    /// Whether the call says how long an answer takes at the present limit.
    fn tells(&self, sample: &Sample) -> bool {
        // One that began before the limit moved ran among others.
        let fresh = sample.started >= self.window.since();
        fresh
            && match sample.ended {
                Ended::Answered => true,
                Ended::Failed => false,
                // That it would have taken longer than it was given is news only if it was slow.
                Ended::Abandoned => self.unloaded.is_some_and(|unloaded| {
                    nanos(sample.latency) as f64 > self.rule.tolerance * unloaded as f64
                }),
            }
    }

    /// A round at the present limit is over.
    fn step(&mut self, now: Instant) {
        let (latency, peak) = (self.window.median(), self.window.peak());
        self.window.restart(now);
        let Some(unloaded) = self.unloaded else {
            self.probing = true;
            return;
        };
        // So few calls make no queue of their own: what they took is the measure itself.
        if f64::from(peak) <= self.estimate * PROBE_SHARE {
            self.measured(now, latency);
            return;
        }
        if f64::from(peak) * 2.0 >= self.estimate {
            self.follow(unloaded, latency);
        }
        let overdue = now.saturating_since(self.probed.0) >= self.rule.probe_every;
        if overdue || self.estimate <= self.probed.1 * FALLEN {
            self.probing = true;
        }
    }

    fn follow(&mut self, unloaded: u64, latency: u64) {
        let Gradient { tolerance, smoothing, bounds, .. } = self.rule;
        let gradient = tolerance * unloaded as f64 / latency.max(1) as f64;
        let headroom = self.estimate.sqrt();
        let target = self.estimate * gradient.clamp(GRADIENT_MIN, 1.0) + headroom;
        let next = self.estimate * (1.0 - smoothing) + target * smoothing;
        self.estimate = next.clamp(f64::from(bounds.min), f64::from(bounds.max));
    }

    fn probe(&mut self, now: Instant) {
        let time = now.saturating_since(self.window.since());
        let late = time >= self.rule.probe_every / PROBE_TIME && self.window.count() > 0;
        if self.window.is_round(self.rule.samples.max(PROBE_SAMPLES)) || late {
            let latency = self.window.median();
            self.measured(now, latency);
        } else if time >= self.rule.probe_every && self.unloaded.is_some() {
            // Nobody answers, and that is no reason to keep the limit down.
            self.probing = false;
            self.probed = (now, self.estimate);
            self.window.restart(now);
        }
    }

    fn measured(&mut self, now: Instant, latency: u64) {
        self.unloaded = Some(latency.max(1));
        self.probing = false;
        self.probed = (now, self.estimate);
        self.window.restart(now);
    }
}

fn nanos(latency: std::time::Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
