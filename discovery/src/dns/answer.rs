//! What DNS answered, as endpoints.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use seawall_core::{Address, Endpoint};

/// What DNS answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// These endpoints, to be believed for `ttl`.
    Endpoints {
        endpoints: Vec<Endpoint>,
        ttl: Duration,
        /// What of it could not be asked for, so that it is what it was before.
        missing: Option<Arc<str>>,
    },
    /// That there is none.
    Nobody(Arc<str>),
    /// Nothing that can be used.
    Failed(Arc<str>),
}

/// The endpoint at `ip` and `port`; nothing for port 0.
pub(super) fn endpoint(ip: IpAddr, port: u16) -> Option<Endpoint> {
    let address = Address::try_from(SocketAddr::new(ip, port)).ok()?;
    Some(Endpoint::new(address.to_string(), address))
}

/// Each endpoint once, in an order that does not depend on the answer's.
pub(super) fn in_order(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    // The lowest priority of those that name the same address is the one that counts.
    endpoints.sort_by(|a, b| (a.id(), a.priority()).cmp(&(b.id(), b.priority())));
    endpoints.dedup_by(|later, first| later.id() == first.id());
    endpoints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_once_with_its_lowest_priority() {
        let at = |last: u8, priority| {
            endpoint(IpAddr::from([10, 0, 0, last]), 80).unwrap().with_priority(priority)
        };
        let expected = vec![at(1, 0), at(2, 1)];
        assert_eq!(in_order(vec![at(2, 1), at(1, 7), at(1, 0), at(1, 7)]), expected);
        assert_eq!(endpoint(IpAddr::from([10, 0, 0, 1]), 0), None);
        let v6 = endpoint("::1".parse().unwrap(), 80).unwrap();
        assert_eq!(v6.id().as_str(), "[::1]:80");
    }
}
