//! The synchronisation primitives: the standard library's, or loom's when a model runs.

use std::sync::{Arc, PoisonError};

#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};

/// Locks, whoever panicked before: what is changed under a lock of ours is never left half-done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what every call writes on cache lines of its own, away from what every call only reads.
/// 128 bytes, because current x86-64 processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A value that is replaced as a whole while others read it; none at first.
#[cfg(not(seawall_loom))]
#[derive(Debug)]
pub(crate) struct Swap<T>(arc_swap::ArcSwapOption<T>);

#[cfg(not(seawall_loom))]
impl<T> Swap<T> {
    pub(crate) fn with<R>(&self, look: impl FnOnce(Option<&T>) -> R) -> R {
        look(self.0.load().as_deref())
    }

    pub(crate) fn set(&self, value: Arc<T>) {
        self.0.store(Some(value));
    }
}

#[cfg(not(seawall_loom))]
impl<T> Default for Swap<T> {
    fn default() -> Self {
        Self(arc_swap::ArcSwapOption::const_empty())
    }
}

/// The same for loom, which knows no `arc-swap`.
#[cfg(seawall_loom)]
#[derive(Debug)]
pub(crate) struct Swap<T>(Mutex<Option<Arc<T>>>);

#[cfg(seawall_loom)]
impl<T> Swap<T> {
    pub(crate) fn with<R>(&self, look: impl FnOnce(Option<&T>) -> R) -> R {
        let value = lock(&self.0).clone();
        look(value.as_deref())
    }

    pub(crate) fn set(&self, value: Arc<T>) {
        *lock(&self.0) = Some(value);
    }
}

#[cfg(seawall_loom)]
impl<T> Default for Swap<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

/// How often to look at a lock before the processor is given away: its holder may not have one.
#[cfg(not(seawall_loom))]
const SPINS: u32 = 64;

/// Passes the time until somebody else's few instructions are done.
#[cfg(not(seawall_loom))]
pub(crate) fn pause(spins: &mut u32) {
    *spins += 1;
    if spins.is_multiple_of(SPINS) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(seawall_loom)]
pub(crate) fn pause(_: &mut u32) {
    loom::thread::yield_now();
}
