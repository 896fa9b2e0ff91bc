//! How handles share the state of an algorithm.
//!
//! # Orderings
//!
//! A state that is one word is the whole of what the handles share: a decision reads it, and one
//! compare-exchange on the same word makes it true. Nothing else is read on the strength of it, so
//! that every access is relaxed.

use std::sync::{PoisonError, atomic::Ordering::Relaxed};

use crate::sync::{AtomicU64, Mutex};

/// A place for a state that many handles change.
pub trait Share<T> {
    /// A place that holds `state`.
    fn new(state: T) -> Self;

    /// Looks at the state.
    fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R;

    /// Changes the state as one step. `change` may run several times: only its last run counts.
    fn update<R>(&self, change: impl FnMut(&mut T) -> R) -> R;
}

impl Share<u64> for AtomicU64 {
    fn new(state: u64) -> Self {
        Self::new(state)
    }

    #[inline]
    fn read<R>(&self, look: impl FnOnce(&u64) -> R) -> R {
        look(&self.load(Relaxed))
    }

    #[inline]
    fn update<R>(&self, mut change: impl FnMut(&mut u64) -> R) -> R {
        let mut before = self.load(Relaxed);
        loop {
            let mut after = before;
            let answer = change(&mut after);
            // What changes nothing writes nothing: a refusal does not take the line from others.
            if after == before {
                return answer;
            }
            match self.compare_exchange_weak(before, after, Relaxed, Relaxed) {
                Ok(_) => return answer,
                Err(newer) => before = newer,
            }
        }
    }
}

impl<T> Share<T> for Mutex<T> {
    fn new(state: T) -> Self {
        Self::new(state)
    }

    fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn update<R>(&self, mut change: impl FnMut(&mut T) -> R) -> R {
        change(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
