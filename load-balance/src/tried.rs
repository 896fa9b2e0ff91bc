//! Endpoints that a call has been to already.

use std::{fmt, sync::Arc};

use seawall_core::EndpointId;

use crate::{
    HashKey,
    sync::{Mutex, lock},
};

/// More than the attempts of any sane retry policy; of a longer row the latest are remembered.
const REMEMBERED: usize = 8;

/// The endpoints that the attempts of one call have used, so that the next attempt goes elsewhere.
///
/// A retry layer puts one into the request's extensions (for `reqwest`, see
/// [`Attempt`](crate::Attempt)) and a clone of it into each further attempt; clones share the list.
/// The balancer prefers endpoints that are not in it, and adds each one that it picks. When all
/// were tried, all may be used again.
///
/// It remembers the latest eight.
///
/// # Cost
///
/// One allocation when made, a short lock for each look.
#[derive(Clone, Default)]
pub struct Tried {
    list: Arc<Mutex<List>>,
}

#[derive(Default)]
struct List {
    ids: [Option<EndpointId>; REMEMBERED],
    /// The place that is overwritten next.
    next: usize,
}

impl Tried {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an endpoint.
    pub fn add(&self, id: &EndpointId) {
        let mut list = lock(&self.list);
        if !list.holds(id) {
            let next = list.next;
            list.ids[next] = Some(id.clone());
            list.next = (next + 1) % REMEMBERED;
        }
    }

    /// Whether the endpoint is among the latest eight.
    pub fn contains(&self, id: &EndpointId) -> bool {
        lock(&self.list).holds(id)
    }

    /// Whether no endpoint was tried yet.
    pub fn is_empty(&self) -> bool {
        lock(&self.list).ids[0].is_none()
    }
}

impl List {
    fn holds(&self, id: &EndpointId) -> bool {
        self.ids.iter().flatten().any(|tried| tried == id)
    }
}

impl fmt::Debug for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(lock(&self.list).ids.iter().flatten()).finish()
    }
}

/// A request together with what a pick can know of its call, for request types whose
/// extensions are out of reach, such as `reqwest::Request`.
#[derive(Clone, Debug)]
pub struct Attempt<Req> {
    /// The request.
    pub request: Req,
    /// Where it has been.
    pub tried: Tried,
    /// What keeps it together with others.
    pub key: Option<HashKey>,
}

impl<Req> Attempt<Req> {
    /// The first attempt, without a key.
    pub fn new(request: Req) -> Self {
        Self { request, tried: Tried::new(), key: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_eight_are_remembered() {
        let tried = Tried::new();
        assert!(tried.is_empty());
        for number in 0..9 {
            tried.add(&number.to_string().into());
        }
        assert!(!tried.contains(&"0".into()), "{tried:?}");
        assert!((1..9).all(|number| tried.contains(&number.to_string().into())), "{tried:?}");
    }

    #[test]
    fn an_endpoint_that_is_tried_twice_takes_one_place() {
        let tried = Tried::new();
        tried.add(&"first".into());
        for _ in 0..20 {
            tried.clone().add(&"again".into());
        }
        assert!(tried.contains(&"first".into()));
    }
}
