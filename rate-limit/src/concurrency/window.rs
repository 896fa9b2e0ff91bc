//! The latencies of a round.

use seawall_core::Instant;

/// Latencies that are kept: enough for a median, and small enough to sort in a microsecond.
const KEPT: usize = 128;

/// The calls that began and were answered since the limit last moved.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    since: Instant,
    count: u32,
    /// The most that were in flight at the end of a call.
    peak: u32,
    /// The latest of them, in nanoseconds.
    latencies: Box<[u64; KEPT]>,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { since: Instant::ORIGIN, count: 0, peak: 0, latencies: Box::new([0; KEPT]) }
    }

    pub(crate) fn restart(&mut self, now: Instant) {
        (self.since, self.count, self.peak) = (now, 0, 0);
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn peak(&self) -> u32 {
        self.peak
    }

    pub(crate) fn add(&mut self, latency_nanos: u64, in_flight: u32) {
        self.latencies[self.count as usize % KEPT] = latency_nanos;
        self.count = self.count.saturating_add(1);
        self.peak = self.peak.max(in_flight);
    }

    /// Whether at least `least` calls were answered, and as many as were in flight: the first to be
    /// answered are the quickest of a crowd, and no measure of it.
    pub(crate) fn is_round(&self, least: u32) -> bool {
        self.count >= least.max(self.peak)
    }

    /// The latency that half of the calls kept to, in nanoseconds; the upper of two in the middle,
    /// zero of none.
    pub(crate) fn median(&mut self) -> u64 {
        let kept = &mut self.latencies[..KEPT.min(self.count as usize)];
        let middle = kept.len() / 2;
        if kept.is_empty() { 0 } else { *kept.select_nth_unstable(middle).1 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_median_is_that_of_the_latest_calls(
            latencies in proptest::collection::vec(any::<u64>(), 1..400),
        ) {
            let mut window = Window::new();
            for latency in &latencies {
                window.add(*latency, 1);
            }
            let mut latest = latencies[latencies.len().saturating_sub(KEPT)..].to_vec();
            latest.sort_unstable();
            prop_assert_eq!(window.median(), latest[latest.len() / 2]);
        }
    }

    #[test]
    fn a_round_is_as_many_answers_as_were_in_flight() {
        let mut window = Window::new();
        for in_flight in [3, 5, 1, 1] {
            window.add(7, in_flight);
            assert!(!window.is_round(2));
        }
        window.add(7, 1);
        assert!(window.is_round(2) && !window.is_round(6));
        window.restart(Instant::MAX);
        assert_eq!((window.count(), window.median()), (0, 0));
    }
}
