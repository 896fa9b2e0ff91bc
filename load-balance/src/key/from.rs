//! Where the key of an HTTP or gRPC request comes from.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ::http::{HeaderMap, HeaderName, Request};
use seawall_core::ConfigError;

use super::{HashKey, KeySource, cookie};
use crate::Attempt;

/// Where the key of a request comes from. A [`HashKey`] in a request's extensions, or in an
/// [`Attempt`], comes before all places.
///
/// # Cost
///
/// One look at the request and one hash of what is found; nothing is allocated.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use seawall_load_balance::{HashKey, KeyFrom, KeySource};
///
/// let by_user = KeyFrom::header("x-user")?.or(KeyFrom::cookie("session"));
/// let request = Request::get("/").header("cookie", "session=7f").body(())?;
/// assert_eq!(by_user.key(&request), Some(HashKey::of("7f")));
/// assert_eq!(by_user.key(&Request::new(())), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFrom {
    /// The first that is there counts.
    places: Vec<Place>,
    ketama: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Header(HeaderName),
    Cookie(Arc<str>),
    Path,
    Peer,
}

impl KeyFrom {
    fn place(place: Place) -> Self {
        Self { places: vec![place], ketama: false }
    }

    /// The first value of a header.
    ///
    /// # Errors
    ///
    /// When the name cannot be that of a header.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        Self::named("header", name)
    }

    /// The first value of an entry of gRPC metadata, which is a header on the wire; of a binary
    /// entry (`-bin`), its encoded form.
    ///
    /// # Errors
    ///
    /// When the name cannot be that of metadata.
    pub fn metadata(name: &str) -> Result<Self, ConfigError> {
        Self::named("metadata", name)
    }

    fn named(field: &'static str, name: &str) -> Result<Self, ConfigError> {
        let parsed = HeaderName::try_from(name);
        let name = parsed.map_err(|_| ConfigError::new(field, name, "the name of a header"))?;
        Ok(Self::place(Place::Header(name)))
    }

    /// The value of a cookie, for sticky sessions; see [`StickyLayer`](crate::StickyLayer) for
    /// clients that have none yet.
    pub fn cookie(name: impl Into<Arc<str>>) -> Self {
        Self::place(Place::Cookie(name.into()))
    }

    /// The path of the URL, without its query: for caches. Of a gRPC call, service and method.
    pub fn path() -> Self {
        Self::place(Place::Path)
    }

    /// The address of the caller whose request is passed on, without its port: a
    /// [`SocketAddr`] or an [`IpAddr`] in the request's extensions, which whoever accepted the
    /// request puts there.
    pub fn peer() -> Self {
        Self::place(Place::Peer)
    }

    /// Where this finds nothing, the key comes from `other`.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.places.extend(other.places);
        self
    }

    /// Hashes as ketama does: for [`Ring::ketama`](crate::Ring::ketama), in step with other
    /// programs.
    #[must_use]
    pub fn ketama(mut self) -> Self {
        self.ketama = true;
        self
    }

    fn hash(&self, bytes: &[u8]) -> HashKey {
        if self.ketama { HashKey::ketama(bytes) } else { HashKey::of(bytes) }
    }
}

impl<Req: KeyedRequest> KeySource<Req> for KeyFrom {
    fn key(&self, request: &Req) -> Option<HashKey> {
        let found = |place: &Place| match place {
            Place::Header(name) => {
                let value = request.headers().get(name)?;
                Some(self.hash(value.as_bytes()))
            }
            Place::Cookie(name) => Some(self.hash(cookie(request.headers(), name)?)),
            Place::Path => Some(self.hash(request.path().as_bytes())),
            Place::Peer => Some(match request.peer()? {
                IpAddr::V4(ip) => self.hash(&ip.octets()),
                IpAddr::V6(ip) => self.hash(&ip.octets()),
            }),
        };
        request.given().or_else(|| self.places.iter().find_map(found))
    }
}

/// A request in which [`KeyFrom`] can look for a key.
pub trait KeyedRequest {
    /// Its headers.
    fn headers(&self) -> &HeaderMap;

    /// The path of its URL.
    fn path(&self) -> &str;

    /// Whose request it is, if that is known.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// A key that comes with it.
    fn given(&self) -> Option<HashKey> {
        None
    }
}

impl<B> KeyedRequest for Request<B> {
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn peer(&self) -> Option<IpAddr> {
        let extensions = self.extensions();
        let socket = extensions.get().map(SocketAddr::ip);
        socket.or_else(|| extensions.get().copied())
    }

    fn given(&self) -> Option<HashKey> {
        self.extensions().get().copied()
    }
}

impl<Req: KeyedRequest> KeyedRequest for Attempt<Req> {
    fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    fn path(&self) -> &str {
        self.request.path()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.request.peer()
    }

    fn given(&self) -> Option<HashKey> {
        self.key.or_else(|| self.request.given())
    }
}

#[cfg(feature = "reqwest")]
impl KeyedRequest for ::reqwest::Request {
    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn path(&self) -> &str {
        self.url().path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<()> {
        let builder = Request::get("http://a/orders/7?page=2").header("tenant", "t");
        let mut request = builder.header("cookie", "route=r").body(()).unwrap();
        request.extensions_mut().insert(SocketAddr::from(([10, 0, 0, 7], 4711)));
        request
    }

    #[test]
    fn each_place_gives_its_own_key() {
        let request = request();
        let of = |from: KeyFrom| from.key(&request);
        assert_eq!(of(KeyFrom::header("Tenant").unwrap()), Some(HashKey::of("t")));
        assert_eq!(of(KeyFrom::metadata("tenant").unwrap()), Some(HashKey::of("t")));
        assert_eq!(of(KeyFrom::cookie("route")), Some(HashKey::of("r")));
        assert_eq!(of(KeyFrom::path()), Some(HashKey::of("/orders/7")));
        assert_eq!(of(KeyFrom::peer()), Some(HashKey::of([10, 0, 0, 7])));
        assert_eq!(of(KeyFrom::path().ketama()), Some(HashKey::ketama("/orders/7")));
    }

    #[test]
    fn what_is_not_there_gives_none_or_the_next() {
        let nothing = Request::new(());
        assert_eq!(KeyFrom::peer().key(&nothing), None);
        let from = KeyFrom::cookie("no").or(KeyFrom::header("tenant").unwrap());
        assert_eq!(from.key(&request()), Some(HashKey::of("t")));
        assert_eq!(from.key(&nothing), None);
    }

    #[test]
    fn a_key_that_comes_with_the_request_wins() {
        let mut request = request();
        request.extensions_mut().insert(HashKey::of("own"));
        assert_eq!(KeyFrom::path().key(&request), Some(HashKey::of("own")));
        let attempt = Attempt { key: Some(HashKey::of("other")), ..Attempt::new(request) };
        assert_eq!(KeyFrom::path().key(&attempt), Some(HashKey::of("other")));
    }

    #[test]
    fn the_port_of_a_peer_is_no_part_of_its_key() {
        let mut other = Request::new(());
        other.extensions_mut().insert(IpAddr::from([10, 0, 0, 7]));
        assert_eq!(KeyFrom::peer().key(&other), KeyFrom::peer().key(&request()));
    }

    #[test]
    fn a_name_that_no_header_can_have_is_refused() {
        assert_eq!(KeyFrom::header("two words").unwrap_err().field(), "header");
        assert_eq!(KeyFrom::metadata("").unwrap_err().field(), "metadata");
    }

    #[cfg(feature = "reqwest")]
    #[test]
    fn a_reqwest_request_has_the_same_keys() {
        use ::reqwest::{Method, Request};
        let mut request = Request::new(Method::GET, "http://a/orders/7".parse().unwrap());
        request.headers_mut().insert("tenant", "t".parse().unwrap());
        let attempt = Attempt::new(request);
        assert_eq!(KeyFrom::header("tenant").unwrap().key(&attempt), Some(HashKey::of("t")));
        assert_eq!(KeyFrom::path().key(&attempt), Some(HashKey::of("/orders/7")));
        assert_eq!(KeyFrom::peer().key(&attempt), None);
    }
}
