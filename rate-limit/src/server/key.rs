//! One limit for each caller of a server.

use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, Request};

use super::{Admit, Policy};
use crate::{Allowed, KeyedLimiter, Quota, Rejected};

/// How many bits of an IPv6 address are one customer's: a host has a /64 to choose from.
const IPV6_PREFIX: u32 = 64;

const FORWARDED_FOR: &str = "x-forwarded-for";

impl<K: Hash> KeyedLimiter<K> {
    /// Limits requests by the key that `key` finds in them, for a
    /// [`ServerLayer`](super::ServerLayer).
    ///
    /// Requests without a key share one limit, unless [set](ByKey::without_key) otherwise.
    ///
    /// ```
    /// use http::{HeaderValue, Request};
    /// use seawall_rate_limit::{KeyedLimiter, Quota, server::ServerLayer};
    ///
    /// // Clones of a header share its bytes: nothing is allocated for the key.
    /// let limiter = KeyedLimiter::<HeaderValue>::new(Quota::per_minute(100), 10_000)?;
    /// let layer = ServerLayer::new(
    ///     limiter.by(|request: &Request<axum::body::Body>| request.headers().get("x-api-key").cloned()),
    /// );
    /// let app: axum::Router = axum::Router::new().layer(layer);
    /// # Ok::<(), seawall_rate_limit::ConfigError>(())
    /// ```
    pub fn by<F, B>(self, key: F) -> ByKey<K, F>
    where
        F: Fn(&Request<B>) -> Option<K>,
    {
        ByKey { limiter: self, key, without_key: WithoutKey::default() }
    }
}

/// Limits requests by a key that is found in them. Made by [`KeyedLimiter::by`].
pub struct ByKey<K, F> {
    limiter: KeyedLimiter<K>,
    key: F,
    without_key: WithoutKey,
}

/// What becomes of a request that has no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutKey {
    /// It shares one limit, that of a key, with all others that have none.
    #[default]
    Share,
    /// It is refused, and told no time at which it would not be.
    Refuse,
}

impl<K, F> ByKey<K, F> {
    /// What becomes of a request that has no key; [`WithoutKey::Share`] unless set.
    #[must_use]
    pub fn without_key(mut self, without_key: WithoutKey) -> Self {
        self.without_key = without_key;
        self
    }
}

impl<K, F, B> Admit<B> for ByKey<K, F>
where
    K: Hash,
    F: Fn(&Request<B>) -> Option<K>,
{
    fn admit(&self, request: &Request<B>) -> Result<Allowed, Rejected> {
        match ((self.key)(request), self.without_key) {
            (Some(key), _) => self.limiter.check(&key),
            (None, WithoutKey::Share) => self.limiter.check_unkeyed(),
            (None, WithoutKey::Refuse) => Err(self.limiter.never()),
        }
    }
}

impl<K, F> Policy for ByKey<K, F> {
    fn quota(&self) -> Quota {
        self.limiter.quota()
    }

    fn name(&self) -> Option<&str> {
        self.limiter.name()
    }
}

impl<K, F: Clone> Clone for ByKey<K, F> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone(), key: self.key.clone(), without_key: self.without_key }
    }
}

impl<K, F> fmt::Debug for ByKey<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey")
            .field("limiter", &self.limiter)
            .field("without_key", &self.without_key)
            .finish_non_exhaustive()
    }
}

/// What of an address to limit by: all of an IPv4 address, the first 64 bits of an IPv6 address,
/// because whoever has one of those addresses has them all.
///
/// ```
/// use seawall_rate_limit::server::network;
///
/// assert_eq!(network("2001:db8::7:1".parse()?), network("2001:db8::9".parse()?));
/// // An IPv4 address that came over an IPv6 socket is the same address.
/// assert_eq!(network("::ffff:192.0.2.1".parse()?), network("192.0.2.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = address.to_bits() >> IPV6_PREFIX << IPV6_PREFIX;
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

/// The address of the caller by the word of so many proxies in front of the server, each of which
/// appends to `X-Forwarded-For` whom it got the request from.
///
/// Counted from the right, because everything on the left is what the caller claims. `None` when
/// fewer proxies have written, when there are no `trusted_proxies`, or when what the outermost of
/// them wrote is no address.
///
/// ```
/// use seawall_rate_limit::server::forwarded_for;
///
/// let request = http::Request::get("/").header("x-forwarded-for", "6.6.6.6, 192.0.2.1").body(())?;
/// let caller = forwarded_for(request.headers(), 1);
/// assert_eq!(caller, Some("192.0.2.1".parse()?), "the caller made the other one up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn forwarded_for(headers: &HeaderMap, trusted_proxies: usize) -> Option<IpAddr> {
    let mut skip = trusted_proxies.checked_sub(1)?;
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    for line in lines.iter().rev() {
        for part in line.as_bytes().rsplit(|&byte| byte == b',') {
            if skip == 0 {
                return address(part.trim_ascii());
            }
            skip -= 1;
        }
    }
    None
}

/// An address, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let plain = text.parse().or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    plain.ok().or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn forwarded(lines: &[&str], trusted_proxies: usize) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        forwarded_for(&headers, trusted_proxies).map(|address| address.to_string())
    }

    #[test]
    fn proxies_are_counted_from_the_right_over_all_lines() {
        let lines = ["1.1.1.1, 2.2.2.2", "3.3.3.3:80,[2001:db8::1]:443 , [2001:db8::2]"];
        for (trusted, found) in [
            (0, None),
            (1, Some("2001:db8::2")),
            (2, Some("2001:db8::1")),
            (3, Some("3.3.3.3")),
            (4, Some("2.2.2.2")),
            (5, Some("1.1.1.1")),
            (6, None),
        ] {
            assert_eq!(forwarded(&lines, trusted).as_deref(), found, "{trusted}");
        }
    }

    #[test]
    fn what_is_no_address_is_no_key() {
        for line in ["", "unknown", "1.1.1.1,", "1.2.3", "[1.2.3.4]", "::1]", "\u{20ac}"] {
            assert_eq!(forwarded(&[line], 1), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            bytes in proptest::collection::vec(0x20..=0xff_u8, 0..40),
            trusted_proxies in 0..6_usize,
        ) {
            prop_assume!(!bytes.contains(&0x7f));
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(&bytes).unwrap());
            let _ = forwarded_for(&headers, trusted_proxies);
        }
    }
}
