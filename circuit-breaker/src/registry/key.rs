//! Keys that are found in HTTP and gRPC requests.

use ::http::{
    Request,
    uri::{Authority, PathAndQuery},
};

/// The host and port that an HTTP request is for; `None` for one that names none.
///
/// Clones share the text of the request.
pub fn authority<B>(request: &Request<B>) -> Option<Authority> {
    request.uri().authority().cloned()
}

/// The method that a gRPC request calls, such as `/shop.Orders/List`.
///
/// Clones share the text of the request.
///
/// ```
/// use http::uri::PathAndQuery;
/// use seawall_circuit_breaker::{Config, registry::{Registry, RegistryLayer, grpc_method}};
///
/// let breakers: Registry<Option<PathAndQuery>> = Registry::builder(Config::default()).build()?;
/// let layer = RegistryLayer::new(breakers, grpc_method::<String>);
/// # let _ = layer;
/// # Ok::<(), seawall_circuit_breaker::ConfigError>(())
/// ```
pub fn grpc_method<B>(request: &Request<B>) -> Option<PathAndQuery> {
    request.uri().path_and_query().cloned()
}
