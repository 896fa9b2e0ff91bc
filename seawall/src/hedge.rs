//! A second attempt beside the first one.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};

use seawall_core::Clock;
use tokio::time::timeout;

use crate::{budget::Budget, latency::Latencies, policy::Hedge, snapshot::HedgeSnapshot};

/// The 99th, as long as the policy names no other.
const PERCENTILE: f64 = 99.0;

/// When to send a second attempt, learned from the calls of a client.
#[derive(Debug)]
pub(crate) struct Hedging {
    after: After,
    budget: Budget,
}

#[derive(Debug)]
enum After {
    Delay(Duration),
    Percentile(Latencies),
}

impl Hedging {
    pub(crate) fn new(policy: Hedge, clock: Clock) -> Self {
        let after = match policy.delay {
            Some(delay) => After::Delay(delay),
            None => After::Percentile(Latencies::new(policy.percentile.unwrap_or(PERCENTILE))),
        };
        Self { after, budget: Budget::new(policy.budget, clock) }
    }

    /// A call that might be hedged begins.
    pub(crate) fn deposit(&self) {
        self.budget.deposit();
    }

    /// An attempt was answered. One that was cancelled is no sample: it would make the delay that
    /// cancelled it grow.
    pub(crate) fn record(&self, latency: Duration) {
        if let After::Percentile(latencies) = &self.after {
            latencies.record(latency);
        }
    }

    pub(crate) fn snapshot(&self) -> HedgeSnapshot {
        HedgeSnapshot { delay: self.delay(), budget: self.budget.snapshot() }
    }

    fn delay(&self) -> Option<Duration> {
        match &self.after {
            After::Delay(delay) => Some(*delay),
            After::Percentile(latencies) => latencies.delay(),
        }
    }

    /// Runs `first`, and what `second` makes beside it when `first` takes unusually long and the
    /// budget has one more; gives the first result that is `good`, or else the last one.
    ///
    /// Whichever is still under way is dropped, and that cancels it.
    pub(crate) async fn race<T, F: Future<Output = T>>(
        &self,
        first: impl Future<Output = T>,
        second: impl FnOnce() -> Option<F>,
        good: impl Fn(&T) -> bool,
    ) -> T {
        let mut first = pin!(first);
        let Some(delay) = self.delay() else {
            return first.await;
        };
        if let Ok(result) = timeout(delay, first.as_mut()).await {
            return result;
        }
        if !self.budget.withdraw() {
            return first.await;
        }
        let Some(second) = second() else {
            return first.await;
        };
        let mut second = pin!(second);
        let (result, rest) = poll_fn(|cx| {
            if let Poll::Ready(result) = first.as_mut().poll(cx) {
                return Poll::Ready((result, Rest::Second));
            }
            second.as_mut().poll(cx).map(|result| (result, Rest::First))
        })
        .await;
        if good(&result) {
            return result;
        }
        // What failed holds its endpoint's permit.
        drop(result);
        match rest {
            Rest::First => first.await,
            Rest::Second => second.await,
        }
    }
}

/// The attempt that is still under way.
enum Rest {
    First,
    Second,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::policy::RetryBudget;

    const MILLI: Duration = Duration::from_millis(1);

    fn hedging(policy: Hedge) -> Hedging {
        let hedging = Hedging::new(policy, Clock::manual().0);
        hedging.deposit();
        hedging
    }

    fn always() -> Hedge {
        Hedge::new().after(10 * MILLI).budget(RetryBudget::new(100, 0))
    }

    async fn attempt(millis: u32, result: &'static str) -> &'static str {
        sleep(millis * MILLI).await;
        result
    }

    /// The winner, when it won, and whether there was a second attempt at all.
    async fn race(
        hedging: &Hedging,
        first: (u32, &'static str),
        second: (u32, &'static str),
    ) -> (&'static str, u128, bool) {
        let (begun, made) = (Instant::now(), AtomicU32::new(0));
        let second = || {
            made.fetch_add(1, Relaxed);
            Some(attempt(second.0, second.1))
        };
        let good = |result: &&str| !result.starts_with("bad");
        let winner = hedging.race(attempt(first.0, first.1), second, good).await;
        (winner, begun.elapsed().as_millis(), made.into_inner() > 0)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_good_answer_counts() {
        let race = async |first, second| race(&hedging(always()), first, second).await;
        assert_eq!(race((5, "1st"), (1, "2nd")).await, ("1st", 5, false));
        assert_eq!(race((50, "1st"), (5, "2nd")).await, ("2nd", 15, true));
        assert_eq!(race((12, "1st"), (5, "2nd")).await, ("1st", 12, true));
        assert_eq!(race((20, "bad 1st"), (50, "2nd")).await, ("2nd", 60, true));
        assert_eq!(race((50, "1st"), (5, "bad 2nd")).await, ("1st", 50, true));
        assert_eq!(race((50, "bad 1st"), (5, "bad 2nd")).await, ("bad 1st", 50, true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_bounds_the_hedges() {
        let hedging = hedging(Hedge::new().after(MILLI).budget(RetryBudget::new(10, 0)));
        let mut hedged = 0;
        for _ in 1..100 {
            hedging.deposit();
            hedged += u32::from(race(&hedging, (50, "1st"), (5, "2nd")).await.2);
        }
        assert_eq!(hedged, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_is_learned() {
        let hedging = hedging(Hedge::new().budget(RetryBudget::new(100, 0)));
        assert!(!race(&hedging, (50, "1st"), (1, "2nd")).await.2, "nothing is known yet");
        for _ in 0..128 {
            hedging.record(10 * MILLI);
        }
        assert!(!race(&hedging, (20, "1st"), (1, "2nd")).await.2, "not below twice the median");
        assert!(race(&hedging, (50, "1st"), (1, "2nd")).await.2);
    }
}
