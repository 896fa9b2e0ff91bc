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

    /// An endpoint of `service` cannot be reached, so what is known of it may be old.
    ///
    /// A registry that is asked now and then, such as DNS, is asked now, within its own bounds; one
    /// that tells of changes by itself has nothing to do. Does not wait.
    fn resolve_now(&self, service: &str) {
        let _ = service;
    }
}

impl<R: Resolver + ?Sized> Resolver for Arc<R> {
    fn watch(&self, service: &str) -> Watch {
        (**self).watch(service)
    }

    fn resolve_now(&self, service: &str) {
        (**self).resolve_now(service);
    }
}
