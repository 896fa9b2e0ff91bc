//! Which instances of a service are followed, and how they are read.

use std::sync::Arc;

use reqwest::Url;
use seawall_core::ConfigError;

/// How up to date an answer has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// As the leader knows it, which it does not check with the others first.
    #[default]
    Leader,
    /// As the leader knows it once it has made sure that it still leads: one more round trip.
    Consistent,
    /// As any server knows it, leader or not: works without a leader too, and may be behind.
    Stale,
    /// As the agent's own cache knows it, which follows the servers in the background.
    Cached,
}

/// Where the weight of an instance comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightFrom {
    /// The weights of Consul itself, which differ for passing and warning.
    #[default]
    Weights,
    /// A tag `key=N`. Without one, the weights of Consul itself.
    Tag(Arc<str>),
    /// The metadata under this key. Without it, the weights of Consul itself.
    Metadata(Arc<str>),
}

/// Which instances of a service [`Consul::watch_with`](crate::Consul::watch_with) follows, and how
/// they are read.
///
/// The default is all that pass or warn, as the leader knows them.
///
/// # Examples
///
/// ```no_run
/// use seawall_discovery::{Consistency, Consul, Query};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let consul = Consul::new("http://127.0.0.1:8500")?;
/// let query = Query::new().tag("canary").consistency(Consistency::Stale);
/// let canaries = consul.watch_with("orders", query)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[must_use]
pub struct Query {
    tags: Vec<String>,
    filter: Option<String>,
    datacenter: Option<String>,
    near: Option<String>,
    consistency: Consistency,
    weight_from: WeightFrom,
}

impl Query {
    /// All instances that pass or warn, as the leader of the agent's own datacenter knows them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only instances with this tag, beside those asked for before.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Only instances that fit this expression in
    /// [Consul's language](https://developer.hashicorp.com/consul/api-docs/features/filtering),
    /// such as `Service.Meta.version == "3"`. One that Consul refuses makes the watch stale, with
    /// what Consul says.
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.filter = Some(expression.into());
        self
    }

    /// The instances of this datacenter. Each datacenter has indexes of its own.
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = Some(name.into());
        self
    }

    /// Orders the instances by the round trip from this node, the nearest first; `_agent` is the
    /// node of the agent that is asked. The order is that of
    /// [`Watch::current`](crate::Watch::current) when the set last changed: distances that move
    /// are no change.
    pub fn near(mut self, node: impl Into<String>) -> Self {
        self.near = Some(node.into());
        self
    }

    /// How up to date an answer has to be.
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

    /// Where the weights come from.
    pub fn weight_from(mut self, source: WeightFrom) -> Self {
        self.weight_from = source;
        self
    }

    pub(super) fn weights(&self) -> &WeightFrom {
        &self.weight_from
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let refused = |field: &'static str| Err(ConfigError::new(field, "empty", "some text"));
        if self.tags.iter().any(String::is_empty) {
            return refused("query.tag");
        }
        if self.filter.as_deref() == Some("") {
            return refused("query.filter");
        }
        match &self.weight_from {
            WeightFrom::Tag(key) | WeightFrom::Metadata(key) if key.is_empty() => {
                refused("query.weight_from")
            }
            _ if self.datacenter.as_deref() == Some("") => refused("query.datacenter"),
            _ if self.near.as_deref() == Some("") => refused("query.near"),
            _ => Ok(()),
        }
    }

    /// What a list of services can be asked for.
    pub(super) fn check_of_services(&self) -> Result<(), ConfigError> {
        self.check()?;
        if let Some(tag) = self.tags.first() {
            return Err(ConfigError::new("query.tag", tag, "none, for a list of services"));
        }
        Ok(())
    }

    /// Adds what Consul has to know.
    pub(super) fn write(&self, url: &mut Url) {
        let mut pairs = url.query_pairs_mut();
        for tag in &self.tags {
            pairs.append_pair("tag", tag);
        }
        if let Some(expression) = &self.filter {
            pairs.append_pair("filter", expression);
        }
        if let Some(name) = &self.datacenter {
            pairs.append_pair("dc", name);
        }
        if let Some(node) = &self.near {
            pairs.append_pair("near", node);
        }
        match self.consistency {
            Consistency::Leader => {}
            Consistency::Consistent => drop(pairs.append_key_only("consistent")),
            Consistency::Stale => drop(pairs.append_key_only("stale")),
            Consistency::Cached => drop(pairs.append_key_only("cached")),
        }
    }

    /// Tells watches of one service apart that ask for different things.
    pub(super) fn key(&self, service: &str) -> String {
        if *self == Self::default() { service.to_owned() } else { format!("{service}\0{self:?}") }
    }
}
