//! Following who can be called.

use std::sync::Arc;

use crate::Watch;

/// A registry that tells who can be called, and how that changes.
///
/// The trait is object-safe: an `Arc<dyn Resolver>` is a resolver too.
pub trait Resolver: Send + Sync + 'static {
    /// Follows the instances of `service`.
    ///
    /// Any number of watches of one service share what is sent to the registry, which ends with the
    /// last of them.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which carries the task behind the watch.
    fn watch(&self, service: &str) -> Watch;
}

impl<R: Resolver + ?Sized> Resolver for Arc<R> {
    fn watch(&self, service: &str) -> Watch {
        (**self).watch(service)
    }
}
