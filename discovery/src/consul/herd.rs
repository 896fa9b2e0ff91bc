//! Watches that return at once are kept from asking again at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Those that return within this time belong together.
const WINDOW: Duration = Duration::from_millis(100);
/// As many may ask again at once.
const FREE: u32 = 16;
/// By so much each further one stretches the time that they spread over.
const EACH: Duration = Duration::from_millis(4);
const MOST: Duration = Duration::from_secs(1);

/// Counts the answers that come at once: when an agent loses its leader or its history, it lets go
/// of every query that waits.
#[derive(Debug, Default)]
pub(super) struct Herd(Mutex<Option<(Instant, u32)>>);

impl Herd {
    /// How long the watch that was answered at `now` waits before it asks again: at random, so that
    /// those that returned together part.
    pub(super) fn returned(&self, now: Instant, rng: &mut fastrand::Rng) -> Duration {
        // A count cannot be left half-changed.
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, count) = match *window {
            Some((start, count)) if now.saturating_duration_since(start) < WINDOW => {
                (start, count.saturating_add(1))
            }
            _ => (now, 1),
        };
        *window = Some((start, count));
        if count <= FREE { Duration::ZERO } else { (EACH * count).min(MOST).mul_f64(rng.f64()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_few_are_not_held_up_and_many_are_spread() {
        let (herd, mut rng) = (Herd::default(), fastrand::Rng::with_seed(3));
        let now = Instant::now();
        let waits: Vec<_> = (0..300).map(|_| herd.returned(now, &mut rng)).collect();
        assert!(waits[..16].iter().all(Duration::is_zero));
        assert!(waits.iter().all(|wait| *wait <= MOST));
        let late = waits.iter().filter(|wait| **wait > MOST / 4).count();
        assert!(late > 100, "{late} of 300 waited for more than a quarter of a second");
        assert_eq!(herd.returned(now + WINDOW, &mut rng), Duration::ZERO, "a new window");
    }
}
