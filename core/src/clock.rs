//! Time that tests can drive.
//!
//! State machines take an [`Instant`] as an argument; the shells around them read a [`Clock`] once
//! per decision.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A point in time: nanoseconds since the origin of the [`Clock`] that told it.
///
/// All arithmetic saturates, so that a clock that stands still or jumps backward can neither panic
/// nor make time out of nothing. 64 bits of nanoseconds last for 584 years.
///
/// ```
/// use std::time::Duration;
/// use seawall_core::Instant;
///
/// let (early, late) = (Instant::from_nanos(5), Instant::from_nanos(8));
/// assert_eq!(late.saturating_since(early), Duration::from_nanos(3));
/// assert_eq!(early.saturating_since(late), Duration::ZERO);
/// assert_eq!(late.saturating_add(Duration::MAX), Instant::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of every clock; nothing is before it.
    pub const ORIGIN: Self = Self(0);
    /// The end of time; nothing is after it.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `nanos` after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How much later this is than `earlier`; zero when it is not.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `wait` later, or the end of time.
    pub const fn saturating_add(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(wait)))
    }

    /// `span` earlier, or the origin.
    pub const fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(span)))
    }
}

/// `duration` in nanoseconds, or as many as fit: 584 years.
const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}

/// Tells the time to a breaker, a limiter or a balancer.
///
/// Clones tell the same time; so do all fast clocks of a process.
///
/// # Cost
///
/// A fast clock reads the processor's time-stamp counter where that is reliable, and the operating
/// system's monotonic clock elsewhere. The first one that a process makes calibrates the counter,
/// for at most 200 ms.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Fast(quanta::Clock),
    Manual(ManualClock),
    #[cfg(feature = "tokio")]
    Tokio(tokio::time::Instant),
}

impl Clock {
    /// The fast monotonic clock: the right one outside of tests.
    pub fn fast() -> Self {
        Self(Source::Fast(quanta::Clock::new()))
    }

    /// A clock that stands at its origin until the handle moves it.
    pub fn manual() -> (Self, ManualClock) {
        let handle = ManualClock(Arc::new(AtomicU64::new(0)));
        (Self(Source::Manual(handle.clone())), handle)
    }

    /// Tokio's clock, whose origin is now: it stands still in a paused runtime and follows
    /// `tokio::time::advance`.
    #[cfg(feature = "tokio")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn tokio() -> Self {
        Self(Source::Tokio(tokio::time::Instant::now()))
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::Fast(clock) => Instant(clock.delta_as_nanos(0, clock.raw())),
            Source::Manual(handle) => handle.now(),
            #[cfg(feature = "tokio")]
            Source::Tokio(origin) => Instant::ORIGIN.saturating_add(origin.elapsed()),
        }
    }
}

/// The fast clock.
impl Default for Clock {
    fn default() -> Self {
        Self::fast()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Fast(_) => "Clock::Fast",
            Source::Manual(_) => "Clock::Manual",
            #[cfg(feature = "tokio")]
            Source::Tokio(_) => "Clock::Tokio",
        })
    }
}

/// The handle that moves a manual [`Clock`].
///
/// ```
/// use std::time::Duration;
/// use seawall_core::{Clock, Instant};
///
/// let (clock, hand) = Clock::manual();
/// hand.advance(Duration::from_secs(2));
/// assert_eq!(clock.now(), Instant::from_nanos(2_000_000_000));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// The time that the clock tells.
    pub fn now(&self) -> Instant {
        // Relaxed: the time is all there is to read.
        Instant(self.0.load(Relaxed))
    }

    /// Moves the clock on by `by`, at most to the end of time.
    pub fn advance(&self, by: Duration) {
        let step = |nanos: u64| Some(Instant(nanos).saturating_add(by).0);
        // `step` always answers, so that the update cannot fail.
        let _ = self.0.fetch_update(Relaxed, Relaxed, step);
    }

    /// Moves the clock to `now`, be it into the past.
    pub fn set(&self, now: Instant) {
        self.0.store(now.0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All of 64 bits, and often their ends.
    fn nanos() -> impl Strategy<Value = u64> {
        prop_oneof![any::<u64>(), 0..3_u64, u64::MAX - 3..=u64::MAX]
    }

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            nanos().prop_map(Duration::from_nanos),
            (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n)),
            Just(Duration::MAX),
        ]
    }

    proptest! {
        #[test]
        fn arithmetic_stops_at_both_ends_of_time(a in nanos(), b in nanos(), by in duration()) {
            let (early, late) = (Instant::from_nanos(a), Instant::from_nanos(b));
            let model = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
            let by_nanos = by.as_nanos();
            prop_assert_eq!(late.saturating_since(early).as_nanos(), u128::from(b.saturating_sub(a)));
            prop_assert_eq!(early.saturating_add(by).as_nanos(), model(u128::from(a) + by_nanos));
            prop_assert_eq!(
                early.saturating_sub(by).as_nanos(),
                model(u128::from(a).saturating_sub(by_nanos))
            );
        }

        #[test]
        fn no_jump_of_a_clock_makes_time(jumps in proptest::collection::vec(nanos(), 1..20)) {
            // The sum of what passed between two readings is at most the way up.
            let (clock, hand) = Clock::manual();
            let (mut before, mut passed, mut up) = (clock.now(), 0_u128, 0_u128);
            for to in jumps {
                hand.set(Instant::from_nanos(to));
                up += u128::from(to.saturating_sub(before.as_nanos()));
                passed += clock.now().saturating_since(before).as_nanos();
                before = clock.now();
            }
            prop_assert_eq!(passed, up);
        }
    }

    #[test]
    fn the_fast_clock_follows_the_clock_on_the_wall() {
        let clock = Clock::fast();
        let (start, wall) = (clock.now(), quanta::Instant::now());
        while wall.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let passed = clock.clone().now().saturating_since(start);
        assert!(passed >= Duration::from_millis(19), "{passed:?}");
    }

    #[test]
    fn a_clock_that_runs_backward_yields_no_time() {
        let (clock, hand) = Clock::manual();
        hand.set(Instant::from_nanos(100));
        let later = clock.now();
        hand.set(Instant::ORIGIN);
        assert_eq!(clock.now().saturating_since(later), Duration::ZERO);
        assert_eq!(clock.now().saturating_sub(Duration::from_secs(1)), Instant::ORIGIN);
    }

    #[test]
    fn a_manual_clock_stops_at_the_end_of_time() {
        let (clock, hand) = Clock::manual();
        hand.advance(Duration::from_secs(1));
        hand.advance(Duration::MAX);
        assert_eq!(clock.now(), Instant::MAX);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_obeys_a_paused_runtime() {
        let clock = Clock::tokio();
        assert_eq!(clock.now(), Instant::ORIGIN);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), Instant::from_nanos(7_000_000_000));
    }
}
