//! The synchronisation primitives: the standard library's, or loom's when a model runs.

#[cfg(not(seawall_loom))]
pub(crate) use std::sync::{Mutex, atomic::AtomicU64};

#[cfg(seawall_loom)]
pub(crate) use loom::sync::{Mutex, atomic::AtomicU64};
