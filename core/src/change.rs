//! How a set of endpoints changes.

use std::collections::HashMap;

use crate::{Endpoint, EndpointId};

/// One step from a set of endpoints to the next.
///
/// Changes travel in batches, and a batch inserts before it removes, so that a set that is replaced
/// as a whole is never empty in between. Applying one twice does no harm: inserting what is there
/// updates it, and removing what is not there does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum Change {
    /// A new endpoint.
    Insert(Endpoint),
    /// The same endpoint, with another weight, address, health or metadata.
    Update(Endpoint),
    /// The endpoint is gone.
    Remove(EndpointId),
}

impl Change {
    /// The endpoint that changes.
    pub fn id(&self) -> &EndpointId {
        match self {
            Self::Insert(endpoint) | Self::Update(endpoint) => endpoint.id(),
            Self::Remove(id) => id,
        }
    }
}

/// The batch that leads from the set `old` to the set `new`; empty when they are equal.
///
/// Order does not matter, in either set. Of several endpoints with one id the last one counts.
///
/// # Cost
///
/// Linear in both sets.
///
/// ```
/// use seawall_core::{Change, Endpoint, diff};
///
/// let a = Endpoint::new("a", "10.0.0.1:80".parse()?);
/// let b = Endpoint::new("b", "10.0.0.2:80".parse()?);
/// assert_eq!(
///     diff(&[a.clone()], &[b.clone()]),
///     [Change::Insert(b), Change::Remove("a".into())],
/// );
/// assert!(diff(&[a.clone()], &[a]).is_empty());
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
pub fn diff(old: &[Endpoint], new: &[Endpoint]) -> Vec<Change> {
    let mut gone: HashMap<&EndpointId, &Endpoint> = old.iter().map(|e| (e.id(), e)).collect();
    let last: HashMap<&EndpointId, &Endpoint> = new.iter().map(|e| (e.id(), e)).collect();
    let mut batch = Vec::new();
    for endpoint in new {
        // The last of several with one id speaks for them.
        if !std::ptr::eq(last[endpoint.id()], endpoint) {
            continue;
        }
        match gone.remove(endpoint.id()) {
            None => batch.push(Change::Insert(endpoint.clone())),
            Some(before) if before != endpoint => batch.push(Change::Update(endpoint.clone())),
            Some(_) => {}
        }
    }
    // In the order of `old`, so that equal sets give equal batches.
    for endpoint in old {
        if gone.remove(endpoint.id()).is_some() {
            batch.push(Change::Remove(endpoint.id().clone()));
        }
    }
    batch
}

/// Tower knows no update: inserting a key that is there replaces its service.
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
impl From<Change> for tower::discover::Change<EndpointId, Endpoint> {
    fn from(change: Change) -> Self {
        match change {
            Change::Insert(endpoint) | Change::Update(endpoint) => {
                Self::Insert(endpoint.id().clone(), endpoint)
            }
            Change::Remove(id) => Self::Remove(id),
        }
    }
}

/// The endpoint's own id counts, not tower's key.
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
impl From<tower::discover::Change<EndpointId, Endpoint>> for Change {
    fn from(change: tower::discover::Change<EndpointId, Endpoint>) -> Self {
        match change {
            tower::discover::Change::Insert(_, endpoint) => Self::Insert(endpoint),
            tower::discover::Change::Remove(id) => Self::Remove(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn endpoint(id: u8, weight: u16) -> Endpoint {
        Endpoint::new(format!("e{id}"), "h:1".parse().unwrap()).with_weight(weight)
    }

    fn by_id(set: &[Endpoint]) -> BTreeMap<EndpointId, Endpoint> {
        set.iter().map(|e| (e.id().clone(), e.clone())).collect()
    }

    #[test]
    fn order_is_not_content() {
        let (a, b) = (endpoint(1, 1), endpoint(2, 1));
        assert!(diff(&[a.clone(), b.clone()], &[b, a]).is_empty());
    }

    #[cfg(feature = "tower")]
    #[test]
    fn changes_cross_to_tower_and_back() {
        let there: tower::discover::Change<_, _> = Change::Insert(endpoint(1, 3)).into();
        assert_eq!(Change::from(there), Change::Insert(endpoint(1, 3)));
        let there: tower::discover::Change<_, _> = Change::Remove("e1".into()).into();
        assert_eq!(Change::from(there), Change::Remove("e1".into()));
    }

    proptest! {
        #[test]
        fn a_diff_leads_from_the_old_set_to_the_new(
            old in proptest::collection::vec((0..8u8, 0..3u16), 0..12),
            new in proptest::collection::vec((0..8u8, 0..3u16), 0..12),
        ) {
            let old: Vec<_> = old.into_iter().map(|(id, w)| endpoint(id, w)).collect();
            let new: Vec<_> = new.into_iter().map(|(id, w)| endpoint(id, w)).collect();
            let mut set = by_id(&old);
            let mut removing = false;
            for change in diff(&old, &new) {
                match change {
                    Change::Insert(e) => {
                        prop_assert!(!removing, "inserts come first");
                        prop_assert!(set.insert(e.id().clone(), e).is_none());
                    }
                    Change::Update(e) => {
                        let before = set.insert(e.id().clone(), e.clone());
                        prop_assert!(before.is_some_and(|b| b != e));
                    }
                    Change::Remove(id) => {
                        removing = true;
                        prop_assert!(set.remove(&id).is_some());
                    }
                }
            }
            prop_assert_eq!(set, by_id(&new));
        }
    }
}
