//! What is known of an endpoint's latency.
//!
//! # Orderings
//!
//! Average and time of the last sample share one word, so that no reader pairs one with the other's
//! predecessor. It is a gauge: Relaxed throughout.

use std::time::Duration;

use seawall_core::Instant;

use crate::sync::{AtomicU64, Ordering::Relaxed};

/// Times are kept in ticks of 2^16 ns, about 66 us: fine enough to weigh samples of one endpoint,
/// and 32 bits of them last three days. An endpoint that is idle for longer than that seems less
/// idle than it is, and returns to the average a few seconds later.
const TICK: u32 = 16;

/// A moving average of latencies, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// The average as the bits of an `f32`, above the tick of the last sample. 0 is none.
    word: AtomicU64,
}

/// How a sample that is above the average counts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Above {
    /// It replaces the average.
    Peak,
    /// It weighs as any other.
    Mean,
}

impl Latency {
    pub(crate) fn add(&self, sample: Duration, now: Instant, decay: Duration, above: Above) {
        // Never 0, which stands for no sample.
        let sample = (sample.as_nanos() as f32).max(1.0);
        let update = |word| {
            let average = match unpack(word) {
                None => sample,
                Some((average, _)) if above == Above::Peak && sample > average => sample,
                Some((average, last)) => {
                    let kept = kept(last, now, decay);
                    average * kept + sample * (1.0 - kept)
                }
            };
            Some(pack(average, now))
        };
        // `update` always answers, so that it cannot fail.
        let _ = self.word.fetch_update(Relaxed, Relaxed, update);
    }

    /// The average now, which returns to `usual` while there are no samples.
    #[inline]
    pub(crate) fn at(&self, now: Instant, decay: Duration, usual: f32) -> f32 {
        match unpack(self.word.load(Relaxed)) {
            None => usual,
            Some((average, last)) => usual + (average - usual) * kept(last, now, decay),
        }
    }

    /// The average as of the last sample, if there was one.
    pub(crate) fn last(&self) -> Option<f32> {
        Some(unpack(self.word.load(Relaxed))?.0)
    }

    /// What another one knows.
    pub(crate) fn copy(&self, other: &Self) {
        self.word.store(other.word.load(Relaxed), Relaxed);
    }

    pub(crate) fn forget(&self) {
        self.word.store(0, Relaxed);
    }
}

fn pack(average: f32, now: Instant) -> u64 {
    u64::from(average.to_bits()) << 32 | u64::from(tick(now))
}

fn unpack(word: u64) -> Option<(f32, u32)> {
    let average = f32::from_bits((word >> 32) as u32);
    (average > 0.0).then_some((average, word as u32))
}

fn tick(now: Instant) -> u32 {
    (now.as_nanos() >> TICK) as u32
}

/// The weight that what was known at `last` still has.
fn kept(last: u32, now: Instant, decay: Duration) -> f32 {
    let age = tick(now).wrapping_sub(last);
    // A clock that went back is at most a little behind: no time has passed.
    let age = if age > u32::MAX / 2 { 0 } else { age };
    let decay = (decay.as_nanos() >> TICK).max(1) as f32;
    (-(age as f32) / decay).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DECAY: Duration = Duration::from_secs(10);

    fn at(seconds: u32) -> Instant {
        Instant::ORIGIN.saturating_add(SECOND * seconds)
    }

    fn millis(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[track_caller]
    fn assert_millis(nanos: f32, expected: f32) {
        assert!((nanos / 1e6 - expected).abs() < expected * 1e-3, "{nanos} ns, not {expected} ms");
    }

    #[test]
    fn a_sample_weighs_by_the_time_since_the_one_before() {
        let latency = Latency::default();
        latency.add(millis(100), at(0), DECAY, Above::Peak);
        latency.add(millis(50), at(10), DECAY, Above::Peak);
        // 1/e of the first is left.
        assert_millis(latency.last().unwrap(), 50.0 + 50.0 * (-1.0_f32).exp());
    }

    #[test]
    fn a_slower_sample_counts_at_once_where_peaks_do() {
        let (peak, mean) = (Latency::default(), Latency::default());
        for (latency, above) in [(&peak, Above::Peak), (&mean, Above::Mean)] {
            latency.add(millis(10), at(0), DECAY, above);
            latency.add(millis(500), at(0), DECAY, above);
        }
        assert_millis(peak.last().unwrap(), 500.0);
        assert_millis(mean.last().unwrap(), 10.0);
    }

    #[test]
    fn silence_leads_to_the_average_of_all_from_either_side() {
        for own in [1, 1000] {
            let latency = Latency::default();
            latency.add(millis(own), at(0), DECAY, Above::Peak);
            assert_millis(latency.at(at(0), DECAY, 1e8), own as f32);
            assert_millis(latency.at(at(1000), DECAY, 1e8), 100.0);
        }
        assert_eq!(Latency::default().at(at(0), DECAY, 7.0), 7.0);
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_out_of_nothing() {
        let latency = Latency::default();
        latency.add(millis(100), at(100), DECAY, Above::Peak);
        assert_millis(latency.at(at(50), DECAY, 1.0), 100.0);
        latency.add(millis(1), at(50), DECAY, Above::Peak);
        assert_millis(latency.last().unwrap(), 100.0);
    }

    #[test]
    fn extremes_stay_finite() {
        let latency = Latency::default();
        latency.add(Duration::MAX, Instant::MAX, DECAY, Above::Peak);
        latency.add(Duration::ZERO, Instant::ORIGIN, Duration::ZERO, Above::Peak);
        let value = latency.at(Instant::MAX, DECAY, 0.0);
        assert!(value.is_finite() && value >= 0.0, "{value}");
    }
}
