//! What a pick is told of its call.

use crate::{HashKey, Tried};

/// What is known of a call before its endpoint is picked.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Config, ConsistentHash, EndpointSet, HashKey, PickContext, Picker};
/// use seawall_load_balance::{Policy, Ring};
///
/// let address = "10.0.0.1:80".parse()?;
/// let set = EndpointSet::from_endpoints([Endpoint::new("a", address)]);
/// let policy = Policy::ConsistentHash(ConsistentHash::ring(Ring::new()));
/// let mut picker = Picker::with_config(set, Config::builder().policy(policy).build()?);
/// let user = PickContext::new().with_key(HashKey::of("user-7"));
/// let picked = picker.pick_for(user).ok_or("no endpoint")?;
/// assert_eq!(picked.id().as_str(), "a");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct PickContext<'a> {
    pub(crate) key: Option<HashKey>,
    pub(crate) tried: Option<&'a Tried>,
    pub(crate) subset: Option<&'a str>,
}

impl<'a> PickContext<'a> {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { key: None, tried: None, subset: None }
    }

    /// What keeps the call together with others, for
    /// [`Policy::ConsistentHash`](crate::Policy::ConsistentHash).
    #[must_use]
    pub const fn with_key(mut self, key: HashKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The subset of a [`Split`](crate::Split) that the call goes to. One that does not exist, or has
    /// no endpoint, counts as none.
    #[must_use]
    pub const fn with_subset(mut self, name: &'a str) -> Self {
        self.subset = Some(name);
        self
    }

    /// Where earlier attempts have been, to go elsewhere; the picked endpoint is added there.
    #[must_use]
    pub const fn with_tried(mut self, tried: &'a Tried) -> Self {
        self.tried = Some(tried);
        self
    }
}
