//! The recent latencies of a client, for the moment at which an attempt takes unusually long.
//!
//! # Orderings
//!
//! Relaxed throughout: the buckets are counts that are read as they are, and the delay is one word
//! that stands for itself.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Each power of two of microseconds is split into so many buckets, which bounds the error: 1/16.
const PARTS: u64 = 16;
/// 26 powers of two reach beyond a minute; what is above shares the last bucket.
const BUCKETS: usize = 27 * PARTS as usize;
/// The delay is computed anew after so many answers. A hundredth of fewer is no answer at all.
const BATCH: u32 = 128;
/// Of more answers than this each counts half, so that the delay follows what is recent.
const RECENT: u64 = 4096;

/// A histogram of latencies that forgets.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// In the order of their latencies.
    buckets: Box<[AtomicU32]>,
    since: AtomicU32,
    /// In nanoseconds; 0 while it is not known.
    delay: AtomicU64,
    share: f64,
}

impl Latencies {
    pub(crate) fn new(percentile: f64) -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            since: AtomicU32::new(0),
            delay: AtomicU64::new(0),
            share: percentile / 100.0,
        }
    }

    /// An attempt was answered after `latency`.
    pub(crate) fn record(&self, latency: Duration) {
        self.buckets[bucket(latency)].fetch_add(1, Relaxed);
        if self.since.fetch_add(1, Relaxed) + 1 == BATCH {
            self.since.store(0, Relaxed);
            self.compute();
        }
    }

    /// After how long an attempt takes unusually long: the percentile, or twice the median where
    /// that is more.
    pub(crate) fn delay(&self) -> Option<Duration> {
        let nanos = self.delay.load(Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    fn compute(&self) {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Relaxed).into()).collect();
        let total: u64 = counts.iter().sum();
        let at = |share: f64| {
            let rank = (total as f64 * share).ceil() as u64;
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            upper(place.unwrap_or(BUCKETS - 1))
        };
        let delay = at(self.share).max(2 * at(0.5));
        self.delay.store(delay.as_nanos() as u64, Relaxed);
        if total > RECENT {
            for (bucket, count) in self.buckets.iter().zip(counts) {
                bucket.fetch_sub((count / 2) as u32, Relaxed);
            }
        }
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    if micros < PARTS {
        return micros as usize;
    }
    let power = u64::from(micros.ilog2());
    let part = (micros >> (power - 4)) - PARTS;
    (((power - 3) * PARTS + part) as usize).min(BUCKETS - 1)
}

/// The latency below which all of a bucket's are.
fn upper(bucket: usize) -> Duration {
    let bucket = bucket as u64 + 1;
    let micros = match bucket / PARTS {
        0 => bucket,
        power => (PARTS + bucket % PARTS) << (power - 1),
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_bucket_ends_above_what_it_holds_by_a_sixteenth_at_most() {
        for n in (0..5000).chain((5000..60_000_000).step_by(9973)) {
            let upper = upper(bucket(micros(n)));
            let most = micros(n + n / PARTS + 1);
            assert!(upper > micros(n) && upper <= most, "{n} us: {upper:?} to {most:?}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_is_unusual_before_there_is_enough_to_compare_with() {
        let latencies = Latencies::new(99.0);
        for _ in 0..BATCH - 1 {
            latencies.record(micros(1000));
        }
        assert_eq!(latencies.delay(), None);
        latencies.record(micros(1000));
        assert!(latencies.delay().is_some());
    }

    #[test]
    fn the_delay_is_the_percentile_and_never_below_twice_the_median() {
        let spread = Latencies::new(90.0);
        let narrow = Latencies::new(99.0);
        for n in 0..BATCH {
            spread.record(if n % 5 == 0 { micros(9000) } else { micros(1000) });
            narrow.record(micros(1000));
        }
        let delay = spread.delay().unwrap();
        assert!(delay > micros(9000) && delay < micros(9600), "{delay:?}");
        let delay = narrow.delay().unwrap();
        assert!(delay > micros(2000) && delay < micros(2150), "{delay:?}");
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let latencies = Latencies::new(99.0);
        for _ in 0..20_000 {
            latencies.record(micros(50_000));
        }
        assert!(latencies.delay().unwrap() > micros(100_000));
        for _ in 0..40_000 {
            latencies.record(micros(1000));
        }
        let delay = latencies.delay().unwrap();
        assert!(delay < micros(2150), "{delay:?}");
    }
}
