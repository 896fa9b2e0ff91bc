//! Parts of a request as its key.

use std::{any, fmt, hash::Hash, marker::PhantomData};

use http::{HeaderName, Request, header::CONTENT_TYPE};

use super::FindKey;

/// The value of a header, such as an API key: the first, where there are several.
///
/// ```
/// use seawall_rate_limit::{KeyedLimiter, Quota, key::{Header, WithoutKey}, server::ServerLayer};
///
/// let limiter = KeyedLimiter::<[u8]>::new(Quota::per_minute(100), 10_000)?;
/// let by_key = limiter.by(Header::new("x-api-key")).without_key(WithoutKey::Refuse);
/// let app: axum::Router = axum::Router::new().layer(ServerLayer::new(by_key));
/// # Ok::<(), seawall_rate_limit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Header(HeaderName);

impl Header {
    /// The header of this name, in lower case.
    ///
    /// # Panics
    ///
    /// When that is no name of a header.
    pub fn new(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }
}

impl From<HeaderName> for Header {
    fn from(name: HeaderName) -> Self {
        Self(name)
    }
}

impl<B> FindKey<Request<B>> for Header {
    type Key = [u8];

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&[u8]>) -> R) -> R {
        then(request.headers().get(&self.0).map(|value| value.as_bytes()))
    }
}

/// The path of the URL as it came, without the query.
///
/// Whoever may ask for any path may make up any key: limit by it where paths are few.
#[derive(Clone, Copy, Debug)]
pub struct Path;

impl<B> FindKey<Request<B>> for Path {
    type Key = str;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&str>) -> R) -> R {
        then(Some(request.uri().path()))
    }
}

/// The method of a gRPC call, as in `/helloworld.Greeter/SayHello`. Other requests have no key.
#[derive(Clone, Copy, Debug)]
pub struct GrpcMethod;

impl<B> FindKey<Request<B>> for GrpcMethod {
    type Key = str;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&str>) -> R) -> R {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(crate::server::is_grpc);
        then(is_grpc.then(|| request.uri().path()))
    }
}

/// What a layer outside has put into the extensions of the request, such as the user it let in.
pub struct Extension<T>(PhantomData<fn() -> T>);

impl<T> Extension<T> {
    /// The extension of the type `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Extension<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Extension<T> {}

impl<T> fmt::Debug for Extension<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extension<{}>", any::type_name::<T>())
    }
}

impl<T, B> FindKey<Request<B>> for Extension<T>
where
    T: Hash + Send + Sync + 'static,
{
    type Key = T;

    fn with_key<R>(&self, request: &Request<B>, then: impl FnOnce(Option<&T>) -> R) -> R {
        then(request.extensions().get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<X: FindKey<Request<()>, Key = str>>(find: X, request: &Request<()>) -> Option<String> {
        find.with_key(request, |key| key.map(String::from))
    }

    #[test]
    fn a_path_has_no_query_and_only_grpc_has_a_method() {
        let request = Request::get("http://host/a/b?c=d").body(()).unwrap();
        assert_eq!(key(Path, &request).as_deref(), Some("/a/b"));
        assert_eq!(key(GrpcMethod, &request), None);
        let request = Request::post("/helloworld.Greeter/SayHello")
            .header(CONTENT_TYPE, "application/grpc+proto")
            .body(())
            .unwrap();
        assert_eq!(key(GrpcMethod, &request).as_deref(), Some("/helloworld.Greeter/SayHello"));
    }

    #[test]
    fn headers_and_extensions_are_found_where_they_are() {
        let request =
            Request::get("/").header("x-api-key", "one").extension(7_u32).body(()).unwrap();
        let header = Header::new("x-api-key").with_key(&request, |key| key.map(<[u8]>::to_vec));
        assert_eq!(header.as_deref(), Some(&b"one"[..]));
        assert!(!Header::new("x-user").with_key(&request, |key| key.is_some()));
        assert_eq!(Extension::<u32>::new().with_key(&request, |key| key.copied()), Some(7));
        assert!(!Extension::<u64>::new().with_key(&request, |key| key.is_some()));
    }
}
