//! Policies from the manifests of a service mesh.

mod destination_rule;
mod report;
mod virtual_service;

use serde::Deserialize as _;
use serde_json::Value;

use self::report::Fields;
pub use self::report::{FromIstio, Ignored};
use super::{Policy, PolicyError};

impl Policy {
    /// Reads Istio's `DestinationRule` and `VirtualService` from a stream of YAML documents, as a
    /// mesh has them for one host. What a client can do is in the policy; every other field is named
    /// with the reason why it is not.
    ///
    /// Istio's fields and ours stand side by side in [`guide_from_istio`](crate::guide_from_istio).
    ///
    /// ```
    /// use seawall::policy::Policy;
    ///
    /// let read = Policy::from_istio("
    /// apiVersion: networking.istio.io/v1
    /// kind: VirtualService
    /// metadata: { name: orders }
    /// spec:
    ///   hosts: [orders]
    ///   http:
    ///     - route: [{ destination: { host: orders } }]
    ///       timeout: 30s
    ///       retries: { attempts: 3, perTryTimeout: 10s, retryOn: 'connect-failure,reset' }
    ///       mirror: { host: orders-test }
    /// ")?;
    /// assert_eq!(read.policy, Policy::from_yaml(
    ///     "{ timeout: 30s, retries: { attempts: 3, per_try_timeout: 10s, \
    ///        retry_on: [connect-failure, reset] } }")?);
    /// assert_eq!(read.ignored[0].path, "VirtualService/orders: spec.http[0].mirror");
    /// # Ok::<(), seawall::policy::PolicyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the text is no YAML, when it has a document of another kind, two of one kind, or none,
    /// when a field that is honoured has a value that cannot be, or when the whole is refused by
    /// [`check`](Self::check).
    pub fn from_istio(text: &str) -> Result<FromIstio, PolicyError> {
        let mut rule = None;
        let mut service = None;
        for document in yaml_serde::Deserializer::from_str(text) {
            let document = Value::deserialize(document)
                .map_err(|error| PolicyError::new("", error.to_string()))?;
            let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            let place = match kind.as_str() {
                "DestinationRule" => &mut rule,
                "VirtualService" => &mut service,
                // A stream often ends in a separator.
                _ if document.is_null() => continue,
                _ => {
                    let message =
                        format!("`{kind}` is neither `DestinationRule` nor `VirtualService`");
                    return Err(PolicyError::new("kind", message));
                }
            };
            if place.replace(document).is_some() {
                let message = format!("a second {kind}: a policy is for one host");
                return Err(PolicyError::new("kind", message));
            }
        }
        if rule.is_none() && service.is_none() {
            return Err(PolicyError::new("", "neither a `DestinationRule` nor a `VirtualService`"));
        }
        let mut read = FromIstio::default();
        // The route decides which of the rule's subsets are used.
        let mut policy = Policy::new();
        let mut host = None;
        let mut subsets = Vec::new();
        if let Some(rule) = rule {
            let mut fields = Fields::of(rule);
            (policy, host, subsets) = destination_rule::read(&mut fields)?;
            fields.close(&mut read);
        }
        if let Some(service) = service {
            let mut fields = Fields::of(service);
            policy = virtual_service::read(&mut fields, policy, host.as_deref())?;
            fields.close(&mut read);
        }
        let named = |name: &str| {
            let routes = policy.routes.iter().map(|r| (&r.split, r.subset.as_deref()));
            routes.chain([(&policy.split, None)]).any(|(split, own)| {
                own == Some(name) || split.iter().any(|share| share.subset.as_deref() == Some(name))
            })
        };
        let (used, unused): (Vec<_>, Vec<_>) =
            subsets.into_iter().partition(|subset| named(&subset.name));
        for subset in unused {
            let path = format!("DestinationRule: subset {}", subset.name);
            read.ignored.push(Ignored { path, why: "no route sends calls there".into() });
        }
        policy.subsets = used;
        if policy.split.is_empty() && !policy.subsets.is_empty() {
            let message = "some routes name subsets and the route without a `match` does not: say \
                           which part of the calls each subset gets there";
            return Err(PolicyError::new("spec.http", message));
        }
        policy.check()?;
        read.policy = policy;
        Ok(read)
    }
}

fn error(path: &str, message: impl Into<String>) -> PolicyError {
    PolicyError::new(path, message.into())
}

#[cfg(test)]
mod tests;
