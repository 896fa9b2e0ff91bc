//! The answer of Consul, for those who fetched it themselves.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use seawall_core::Endpoint;

use super::{WeightFrom, decode};

/// The answer to `GET /v1/health/service/:name`, read as a watch reads it: for those who have it
/// from elsewhere, such as a file, a proxy or a test.
///
/// # Examples
///
/// ```
/// use seawall_discovery::{HealthAnswer, WeightFrom};
///
/// let body = br#"[
///     {"Node": {"Address": "10.0.0.1"}, "Service": {"ID": "a", "Port": 80}, "Checks": []},
///     {"Node": {"Address": "10.0.0.2"}, "Service": {"ID": "b", "Port": 70000}, "Checks": []}
/// ]"#;
/// let answer = HealthAnswer::read(body, &WeightFrom::Weights)?;
/// assert_eq!(answer.endpoints()[0].address().to_string(), "10.0.0.1:80");
/// assert_eq!(answer.skipped().next(), Some(("b", "its port is 70000")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug)]
pub struct HealthAnswer(decode::Instances);

impl HealthAnswer {
    /// Reads `body`.
    ///
    /// # Errors
    ///
    /// When it is no list at all, or cut short. An instance that makes no sense is skipped.
    pub fn read(body: &[u8], weights: &WeightFrom) -> Result<Self, serde_json::Error> {
        decode::instances(body, weights).map(Self)
    }

    /// The instances that can be called.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.0.endpoints
    }

    /// The instances that make no sense: the id, or the place in the answer, and why.
    pub fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.skipped.iter().map(|skipped| (&*skipped.id, &*skipped.why))
    }

    /// A number by which a watch knows an answer that it has read already, without reading it.
    ///
    /// # Cost
    ///
    /// One pass over the bytes; builds nothing.
    pub fn fingerprint(body: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        hasher.finish()
    }
}
