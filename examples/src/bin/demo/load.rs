//! Calls that come when they are due, whether or not the earlier ones were answered.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

use crate::meter::{Ending, Meter};

/// How often the load looks which calls are due. Tokio's timer counts milliseconds.
const PACE: Duration = Duration::from_millis(2);

/// More calls at once than this wait in the generator, as in a client with a full pool.
const MOST_IN_FLIGHT: usize = 20_000;

/// Makes one call and says how it ended.
pub(crate) trait Call: Clone + Send + 'static {
    fn call(&self, id: u64) -> impl Future<Output = Ending> + Send;
}

/// How many calls per second are asked for, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// From when to when it is so many times as much.
    pub(crate) rush: (Duration, Duration),
    pub(crate) rush_factor: f64,
}

impl Rate {
    /// How many calls are due by `at`.
    fn due(&self, at: Duration) -> u64 {
        let (from, to) = self.rush;
        let rushed = at.min(to).saturating_sub(from);
        let seconds = at.as_secs_f64() + rushed.as_secs_f64() * (self.rush_factor - 1.0);
        (seconds * self.per_second) as u64
    }
}

/// Makes calls at `rate` from `start` until it is dropped, or `until` resolves; then waits for those
/// that are under way.
///
/// The latency of a call counts from the moment at which it was due, so that a stall shows in full
/// (Gil Tene's "coordinated omission").
pub(crate) async fn drive(
    call: impl Call,
    meter: Arc<Meter>,
    rate: Rate,
    start: Instant,
    until: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(MOST_IN_FLIGHT));
    let mut calls = JoinSet::new();
    let mut pace = tokio::time::interval_at(start, PACE);
    let mut made = 0;
    tokio::pin!(until);
    loop {
        tokio::select! {
            biased;
            () = &mut until => break,
            _ = pace.tick() => {}
        }
        let now = Instant::now();
        while made < rate.due(now.saturating_duration_since(start)) {
            let Ok(place) = room.clone().try_acquire_owned() else { break };
            let (call, meter, id) = (call.clone(), meter.clone(), made);
            made += 1;
            calls.spawn(async move {
                let ending = call.call(id).await;
                meter.note(now.elapsed(), ending);
                drop(place);
            });
        }
        while calls.try_join_next().is_some() {}
    }
    while calls.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Slow(Duration);

    impl Call for Slow {
        async fn call(&self, _: u64) -> Ending {
            tokio::time::sleep(self.0).await;
            Ending::Answered("a".into())
        }
    }

    fn steady(per_second: f64) -> Rate {
        Rate { per_second, rush: (Duration::ZERO, Duration::ZERO), rush_factor: 1.0 }
    }

    #[test]
    fn a_rush_adds_its_share_and_no_more() {
        let second = Duration::from_secs(1);
        let rate = Rate { per_second: 10.0, rush: (second, 2 * second), rush_factor: 3.0 };
        let due: Vec<_> = (0..5).map(|n| rate.due(n * second)).collect();
        assert_eq!(due, [0, 10, 40, 50, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_answers_do_not_hold_up_the_calls_that_are_due() {
        let (meter, start) = (Arc::new(Meter::new()), Instant::now());
        let until = tokio::time::sleep(Duration::from_secs(10));
        let slow = Slow(Duration::from_secs(3));
        drive(slow, meter.clone(), steady(100.0), start, until).await;
        let run = meter.look(Duration::ZERO, Duration::from_secs(10)).run;
        assert!((990..=1000).contains(&run.calls), "{run:?}");
        assert!((run.p50_ms - 3000.0).abs() < 10.0, "{run:?}");
    }
}
