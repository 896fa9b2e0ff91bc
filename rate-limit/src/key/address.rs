//! The address of the caller.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{Extensions, HeaderMap, HeaderName, Request, header::FORWARDED};

use super::FindKey;

/// How many bits of an IPv6 address are one customer's: a host has a /64 to choose from.
const IPV6_PREFIX: u32 = 64;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What of an address to limit by: all of an IPv4 address, the first 64 bits of an IPv6 address,
/// because whoever has one of those addresses has them all.
///
/// ```
/// use seawall_rate_limit::key::network;
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

/// The [network](network()) that the connection comes from.
///
/// It looks in the extensions of the request for axum's `ConnectInfo<SocketAddr>` (with the feature
/// `axum`, from a server with `into_make_service_with_connect_info`), for tonic's `TcpConnectInfo`
/// (with the feature `tonic`), and for a plain [`SocketAddr`].
///
/// Behind a proxy that is the proxy's: see [`ForwardedFor`].
#[derive(Clone, Copy, Debug)]
pub struct Peer;

impl<B> FindKey<Request<B>> for Peer {
    type Key = IpAddr;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&IpAddr>) -> R) -> R {
        then(peer(request.extensions()).map(network).as_ref())
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    #[cfg(feature = "axum")]
    if let Some(info) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(info.0.ip());
    }
    #[cfg(feature = "tonic")]
    if let Some(info) = extensions.get::<::tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr().map(|address| address.ip());
    }
    extensions.get::<SocketAddr>().map(SocketAddr::ip)
}

/// The [network](network()) of the caller by the word of the proxies in front of the server, each of
/// which appends to `X-Forwarded-For` whom it got the request from.
///
/// Counted from the right, because everything on the left is what the caller claims. There is no key
/// when fewer proxies have written, or when what the outermost of them wrote is no address.
///
/// ```
/// use std::net::IpAddr;
/// use seawall_rate_limit::key::{FindKey, ForwardedFor};
///
/// let request = http::Request::get("/").header("x-forwarded-for", "6.6.6.6, 192.0.2.1").body(())?;
/// let caller: Option<IpAddr> = ForwardedFor::trusting(1).with_key(&request, |key| key.copied());
/// assert_eq!(caller, Some("192.0.2.1".parse()?), "the caller made the other one up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ForwardedFor {
    trusted_proxies: usize,
}

impl ForwardedFor {
    /// Takes the word of so many proxies; of none, there is no key.
    pub const fn trusting(trusted_proxies: usize) -> Self {
        Self { trusted_proxies }
    }
}

impl<B> FindKey<Request<B>> for ForwardedFor {
    type Key = IpAddr;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&IpAddr>) -> R) -> R {
        let element = nth_from_right(request.headers(), &X_FORWARDED_FOR, self.trusted_proxies);
        then(element.and_then(address).map(network).as_ref())
    }
}

/// The same by the `for` of `Forwarded`
/// ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)). A proxy that hides whom it got the request
/// from, by `unknown` or a name of its own, leaves no key.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded {
    trusted_proxies: usize,
}

impl Forwarded {
    /// Takes the word of so many proxies; of none, there is no key.
    pub const fn trusting(trusted_proxies: usize) -> Self {
        Self { trusted_proxies }
    }
}

impl<B> FindKey<Request<B>> for Forwarded {
    type Key = IpAddr;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&IpAddr>) -> R) -> R {
        let element = nth_from_right(request.headers(), &FORWARDED, self.trusted_proxies);
        then(element.and_then(forwarded_for).map(network).as_ref())
    }
}

/// The element that the outermost of `trusted` proxies wrote.
///
/// Quotes are told from the right too: what the caller wrote on the left, such as a quote that never
/// ends, cannot swallow what a proxy has appended.
fn nth_from_right<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    trusted: usize,
) -> Option<&'a [u8]> {
    let mut skip = trusted.checked_sub(1)?;
    for line in headers.get_all(name).iter().rev() {
        let mut quoted = false;
        let separates = |&byte: &u8| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        };
        for element in line.as_bytes().rsplit(separates) {
            if skip == 0 {
                return Some(element.trim_ascii());
            }
            skip -= 1;
        }
    }
    None
}

/// The address in the `for` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (&pair[..at], &pair[at + 1..]);
        if !name.trim_ascii().eq_ignore_ascii_case(b"for") {
            return None;
        }
        let value = value.trim_ascii();
        address(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
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

    fn found<X: FindKey<Request<()>, Key = IpAddr>>(
        find: X,
        name: HeaderName,
        lines: &[&str],
    ) -> Option<String> {
        let mut request = Request::new(());
        for line in lines {
            request.headers_mut().append(name.clone(), HeaderValue::from_str(line).unwrap());
        }
        find.with_key(&request, |key| key.map(ToString::to_string))
    }

    #[test]
    fn proxies_are_counted_from_the_right_over_all_lines() {
        let lines = ["1.1.1.1, 2.2.2.2", "3.3.3.3:80,[2001:db8::1]:443 , [2001:db8:0:1::2]"];
        let forwarded = [
            "for=1.1.1.1;proto=https, For=2.2.2.2",
            r#"proto=http;for="3.3.3.3:80",for="[2001:db8::1]:443" , by=9.9.9.9;for="[2001:db8:0:1::2]""#,
        ];
        for (trusted, key) in [
            (0, None),
            (1, Some("2001:db8:0:1::")),
            (2, Some("2001:db8::")),
            (3, Some("3.3.3.3")),
            (4, Some("2.2.2.2")),
            (5, Some("1.1.1.1")),
            (6, None),
        ] {
            let x = found(ForwardedFor::trusting(trusted), X_FORWARDED_FOR, &lines);
            assert_eq!(x.as_deref(), key, "{trusted}");
            let standard = found(Forwarded::trusting(trusted), FORWARDED, &forwarded);
            assert_eq!(standard.as_deref(), key, "{trusted}");
        }
    }

    #[test]
    fn what_is_no_address_is_no_key() {
        for line in ["", "unknown", "1.1.1.1,", "1.2.3", "[1.2.3.4]", "::1]", "\u{20ac}"] {
            assert_eq!(found(ForwardedFor::trusting(1), X_FORWARDED_FOR, &[line]), None, "{line}");
        }
        for line in ["", "for=unknown", "for=_hidden", "by=1.1.1.1", "for=\"", "for", "1.1.1.1"] {
            assert_eq!(found(Forwarded::trusting(1), FORWARDED, &[line]), None, "{line}");
        }
    }

    #[test]
    fn a_caller_cannot_hide_what_the_proxy_appends() {
        for line in [r#"for="6.6.6.6, for=1.1.1.1"#, r#"for="6.6.6.6;\", for="1.1.1.1""#] {
            let key = found(Forwarded::trusting(1), FORWARDED, &[line]);
            assert_eq!(key.as_deref(), Some("1.1.1.1"), "{line}");
        }
    }

    #[test]
    fn the_peer_of_a_plain_socket_is_found_by_its_network() {
        let peer = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 2, 3, 4, 5), 443));
        let request = Request::builder().extension(peer).body(()).unwrap();
        let key = Peer.with_key(&request, |key| key.map(ToString::to_string));
        assert_eq!(key.as_deref(), Some("2001:db8:0:1::"));
        assert!(!Peer.with_key(&Request::new(()), |key| key.is_some()));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn the_peer_of_an_axum_server_is_found() {
        let info = axum::extract::ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 80)));
        let request = Request::builder().extension(info).body(()).unwrap();
        let key = Peer.with_key(&request, |key| key.map(ToString::to_string));
        assert_eq!(key.as_deref(), Some("192.0.2.7"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(
            bytes in proptest::collection::vec(0x20..=0xff_u8, 0..40),
            trusted_proxies in 0..6_usize,
        ) {
            prop_assume!(!bytes.contains(&0x7f));
            let mut request = Request::new(());
            let value = HeaderValue::from_bytes(&bytes).unwrap();
            request.headers_mut().append(X_FORWARDED_FOR, value.clone());
            request.headers_mut().append(FORWARDED, value);
            ForwardedFor::trusting(trusted_proxies).with_key(&request, |_| ());
            Forwarded::trusting(trusted_proxies).with_key(&request, |_| ());
        }
    }
}
