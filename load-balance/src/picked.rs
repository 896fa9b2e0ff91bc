//! The right to call one endpoint.

use std::{fmt, mem, sync::Arc, time::Duration};

use seawall_core::{Endpoint, EndpointId, Fault, Guard, Instant, Outcome};

use crate::node::Node;

/// An endpoint that was picked, and the call in flight to it.
///
/// Tell it the outcome with [`finish`](Guard::finish) when the call has ended; until then the call
/// counts as in flight. It stays valid when the endpoint leaves the set.
///
/// # Cancel safety
///
/// Dropping it ends the call: as abandoned, which says nothing about the endpoint unless the
/// configuration of ejection does.
///
/// # Cost
///
/// Two counters and one reference count; no allocation, no lock.
#[must_use = "dropping it ends the call"]
pub struct Picked {
    /// Taken by whoever tells the node, so that it is told once.
    node: Option<Arc<Node>>,
    /// Measured only where something reads it; else the end of time.
    started: Instant,
    answered: bool,
    /// Where a failure comes from, as far as it was told.
    fault: Option<Fault>,
}

impl Picked {
    #[inline]
    /// The call has begun at `node`.
    pub(crate) fn begun(node: Arc<Node>) -> Self {
        let started = node.health().start().unwrap_or(Instant::MAX);
        Self { node: Some(node), started, answered: false, fault: None }
    }

    /// The endpoint, as the set has it now.
    pub fn endpoint(&self) -> Arc<Endpoint> {
        self.node().endpoint()
    }

    /// The endpoint's id.
    pub fn id(&self) -> &EndpointId {
        self.node().id()
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("only the end of the call takes the node")
    }

    #[inline]
    fn started(&self) -> Option<Instant> {
        (self.started < Instant::MAX).then_some(self.started)
    }

    /// Gives the endpoint back: the call goes elsewhere, and nothing was sent.
    pub(crate) fn unsent(mut self) {
        if let Some(node) = self.node.take() {
            node.end_unsent();
        }
    }

    #[inline]
    fn end(&mut self, outcome: Option<Outcome>) {
        if let Some(node) = self.node.take() {
            // An answer that was merely not read to its end says nothing of slowness.
            let started = if self.answered { None } else { self.started() };
            let usual = if self.answered { Fault::Answer } else { Fault::Local };
            node.end(outcome, self.fault.unwrap_or(usual), started);
        }
    }
}

impl Guard for Picked {
    #[inline]
    fn answered(&mut self) {
        if let Some(node) = &self.node
            && !self.answered
        {
            self.answered = true;
            node.health().answered(node, self.started());
        }
    }

    fn retry_after(&mut self, wait: Duration) {
        if let Some(node) = &self.node {
            node.health().rest(node, wait);
        }
    }

    #[inline]
    fn fault(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    #[inline]
    fn finish(mut self, outcome: Outcome) {
        self.end(Some(outcome));
        // Nothing is left to drop; without this the compiler keeps the whole in memory for it.
        mem::forget(self);
    }
}

impl Drop for Picked {
    #[inline]
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picked").field("endpoint", self.id()).finish_non_exhaustive()
    }
}
