//! The synchronisation primitives: the standard library's, or loom's when a model runs.

#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64},
};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64},
};

/// Keeps `T` on cache lines of its own, so that its writers do not slow the readers of neighbours.
///
/// 128 bytes, because current x86-64 processors fetch lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);

impl<T> std::ops::Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
