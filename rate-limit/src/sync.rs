//! The synchronisation primitives: the standard library's, or loom's when a model runs.

#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64},
};

/// Seeds the hash of keys, so that nobody outside can aim at a place.
#[cfg(not(seawall_loom))]
pub(crate) type Seed = std::hash::RandomState;

/// A model is the same each time.
#[cfg(seawall_loom)]
pub(crate) type Seed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

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
