//! Lists that never change.

use std::collections::{HashMap, HashSet};

use seawall_core::{ConfigError, Endpoint};

use crate::{Publisher, Resolver, Watch};

/// A resolver that knows lists of endpoints, which never change.
///
/// # Examples
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_discovery::{Fixed, Resolver as _};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fixed = Fixed::new().with(
///     "orders",
///     [Endpoint::new("a", "10.0.0.1:80".parse()?), Endpoint::new("b", "10.0.0.2:80".parse()?)],
/// )?;
/// assert_eq!(fixed.watch("orders").current().len(), 2);
/// assert_eq!(fixed.watch("nobody").current().len(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    services: HashMap<String, Publisher>,
}

impl Fixed {
    /// A resolver that knows no service.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service, in place of one with the same name.
    ///
    /// # Errors
    ///
    /// When two endpoints have one id.
    pub fn with(
        mut self,
        service: impl Into<String>,
        endpoints: impl IntoIterator<Item = Endpoint>,
    ) -> Result<Self, ConfigError> {
        let endpoints: Vec<_> = endpoints.into_iter().collect();
        let mut seen = HashSet::new();
        if let Some(twice) = endpoints.iter().find(|endpoint| !seen.insert(endpoint.id())) {
            return Err(ConfigError::new("endpoints", twice.id(), "of different ids"));
        }
        let publisher = Publisher::new();
        publisher.publish(endpoints);
        self.services.insert(service.into(), publisher);
        Ok(self)
    }
}

impl Resolver for Fixed {
    fn watch(&self, service: &str) -> Watch {
        match self.services.get(service) {
            Some(publisher) => publisher.subscribe(),
            None => {
                let nobody = Publisher::new();
                nobody.publish(Vec::new());
                nobody.subscribe()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_comes_once_and_whole() {
        let endpoint = |id: &str| Endpoint::new(id, "h:1".parse().unwrap());
        let fixed = Fixed::new().with("s", [endpoint("a"), endpoint("b")]).unwrap();
        let mut watch = fixed.watch("s");
        assert!(watch.state().is_fresh());
        assert_eq!(watch.next().await.unwrap().len(), 2);
        assert_eq!(watch.next().now_or_never(), None);
        let error = Fixed::new().with("s", [endpoint("a"), endpoint("a")]).unwrap_err();
        assert_eq!((error.field(), error.value()), ("endpoints", "a"));
    }
}
