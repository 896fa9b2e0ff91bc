//! Counts what a client spends on further attempts.
//!
//! # Orderings
//!
//! Each slot of the window is one word: which second it counts, the calls and the attempts of that
//! second. Everything is Relaxed: nothing else is read on the strength of a count. An attempt is
//! counted before the sum is taken and taken back when it is too much, so that two threads can refuse
//! each other the last one, but never both spend it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_core::Clock;

use crate::{policy::RetryBudget, snapshot::BudgetSnapshot};

/// The window, in seconds and slots; linkerd's and Finagle's.
const WINDOW: u64 = 10;

/// The widths of a slot's parts. 22 bits count four million calls in one second, and what is above
/// that counts for nothing; the second returns after twelve days.
const COUNT_BITS: u32 = 22;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const SECOND_MASK: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// A share of the calls of the last ten seconds that may be spent on further attempts.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u64,
    least: u64,
    slots: [AtomicU64; WINDOW as usize],
    granted: AtomicU64,
    refused: AtomicU64,
    clock: Clock,
}

impl Budget {
    pub(crate) fn new(policy: RetryBudget, clock: Clock) -> Self {
        Self {
            percent: policy.percent.into(),
            least: u64::from(policy.min_per_second) * WINDOW,
            slots: Default::default(),
            granted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            clock,
        }
    }

    /// A call was made.
    pub(crate) fn deposit(&self) {
        self.count(self.second(), |slot| Slot { calls: (slot.calls + 1).min(COUNT_MAX), ..slot });
    }

    /// Whether one more attempt may be made, which then counts.
    pub(crate) fn withdraw(&self) -> bool {
        let second = self.second();
        self.count(second, |slot| Slot { spent: (slot.spent + 1).min(COUNT_MAX), ..slot });
        let (calls, spent) = self.window(second);
        let granted = spent.saturating_sub(self.least) * 100 <= calls * self.percent;
        if !granted {
            self.count(second, |slot| Slot { spent: slot.spent.saturating_sub(1), ..slot });
        }
        let total = if granted { &self.granted } else { &self.refused };
        total.fetch_add(1, Relaxed);
        granted
    }

    pub(crate) fn snapshot(&self) -> BudgetSnapshot {
        let (calls, spent) = self.window(self.second());
        BudgetSnapshot {
            percent: self.percent as u32,
            min_per_second: (self.least / WINDOW) as u32,
            calls,
            spent,
            granted: self.granted.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    /// The calls and the attempts of the ten seconds to this one.
    fn window(&self, second: u64) -> (u64, u64) {
        let (mut calls, mut spent) = (0, 0);
        for second in second.saturating_sub(WINDOW - 1)..=second {
            let slot = Slot::unpack(self.slot(second).load(Relaxed));
            if slot.second == second & SECOND_MASK {
                calls += slot.calls;
                spent += slot.spent;
            }
        }
        (calls, spent)
    }

    fn second(&self) -> u64 {
        self.clock.now().as_nanos() / 1_000_000_000
    }

    fn slot(&self, second: u64) -> &AtomicU64 {
        &self.slots[(second % WINDOW) as usize]
    }

    fn count(&self, second: u64, change: impl Fn(Slot) -> Slot) {
        let update = |word| {
            let slot = Slot::unpack(word);
            let begun = if slot.second == second & SECOND_MASK {
                slot
            } else {
                Slot { second: second & SECOND_MASK, calls: 0, spent: 0 }
            };
            Some(change(begun).pack())
        };
        // `update` always answers, so that it cannot fail.
        let _ = self.slot(second).fetch_update(Relaxed, Relaxed, update);
    }
}

struct Slot {
    second: u64,
    calls: u64,
    spent: u64,
}

impl Slot {
    fn unpack(word: u64) -> Self {
        Self {
            second: word >> (2 * COUNT_BITS),
            calls: (word >> COUNT_BITS) & COUNT_MAX,
            spent: word & COUNT_MAX,
        }
    }

    fn pack(self) -> u64 {
        self.second << (2 * COUNT_BITS) | self.calls << COUNT_BITS | self.spent
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_share_is_granted_as_it_stands() {
        for percent in (10..=90).step_by(10) {
            let (clock, _time) = Clock::manual();
            let budget = Budget::new(RetryBudget::new(percent, 0), clock);
            let mut granted = 0;
            for call in 1..=1000 {
                budget.deposit();
                // Every call wants to be tried again, twice.
                granted += u32::from(budget.withdraw()) + u32::from(budget.withdraw());
                assert_eq!(granted, call * percent / 100, "{percent} % of {call} calls");
            }
        }
    }

    #[test]
    fn the_share_is_that_of_the_last_ten_seconds_at_any_rate() {
        let mut rng = fastrand::Rng::with_seed(7);
        for percent in [10, 30, 50, 70, 90] {
            let (clock, time) = Clock::manual();
            let budget = Budget::new(RetryBudget::new(percent, 0), clock);
            // Calls and granted attempts of each second: the slow and obvious model.
            let mut model = vec![(0_u32, 0_u32)];
            for _ in 0..20_000 {
                if rng.u32(0..100) == 0 {
                    let seconds = rng.u64(1..4);
                    time.advance(Duration::from_secs(seconds));
                    model.extend((0..seconds).map(|_| (0, 0)));
                }
                let now = model.len() - 1;
                if rng.bool() {
                    budget.deposit();
                    model[now].0 += 1;
                } else {
                    let window = &model[now.saturating_sub(9)..];
                    let calls = window.iter().map(|second| second.0).sum::<u32>();
                    let spent = window.iter().map(|second| second.1).sum::<u32>();
                    let may = (spent + 1) * 100 <= calls * percent;
                    assert_eq!(budget.withdraw(), may, "{spent} of {calls} at {percent} %");
                    model[now].1 += u32::from(may);
                }
            }
        }
    }

    #[test]
    fn a_client_of_few_calls_may_spend_the_least() {
        let (clock, time) = Clock::manual();
        let budget = Budget::new(RetryBudget::new(20, 1), clock);
        for _ in 0..3 {
            assert_eq!((0..50).filter(|_| budget.withdraw()).count(), 10);
            time.advance(Duration::from_secs(WINDOW));
        }
    }

    #[test]
    fn no_two_threads_spend_the_same_attempt() {
        let (clock, _time) = Clock::manual();
        let budget = Budget::new(RetryBudget::new(50, 0), clock);
        for _ in 0..10_000 {
            budget.deposit();
        }
        let granted = std::thread::scope(|scope| {
            let thread = || (0..10_000).filter(|_| budget.withdraw()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(granted, 5_000);
    }
}
