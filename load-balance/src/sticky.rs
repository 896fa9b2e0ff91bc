//! Sticky sessions: a cookie for clients that have none yet.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::http::{HeaderValue, Request, Response, header::SET_COOKIE};
use pin_project_lite::pin_project;
use seawall_core::ConfigError;
use tower_layer::Layer;
use tower_service::Service;

use crate::{HashKey, key::cookie};

/// Gives clients a cookie whose value keeps their calls on one endpoint: for gateways, around a
/// balancer with [`Policy::ConsistentHash`](crate::Policy::ConsistentHash) and
/// [`KeyFrom::cookie`](crate::KeyFrom::cookie) of the same name.
///
/// A request with the cookie passes as it is. One without gets a random key, which decides on the
/// endpoint of this very call too, and its response a `Set-Cookie` with that key. The cookie names
/// no endpoint: when the client's endpoint leaves or is ejected, the ring's fall-back is the next
/// one, the same for all calls of the session.
///
/// The cookie is `HttpOnly` and `SameSite=Lax`, for the path `/`, until the client's session ends,
/// unless told otherwise. Its value is random but no secret, and proves nothing.
///
/// # Cost
///
/// A look at the `Cookie` headers. Three allocations for a request without the cookie.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_load_balance::StickyLayer;
///
/// let sticky = StickyLayer::new("route")?.with_max_age(Duration::from_secs(3600)).with_secure();
/// // ServiceBuilder::new().layer(sticky).service(balancer)
/// # let _ = sticky;
/// # Ok::<(), seawall_core::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct StickyLayer {
    name: Arc<str>,
    max_age: Option<Duration>,
    secure: bool,
}

impl StickyLayer {
    /// A cookie with this name.
    ///
    /// # Errors
    ///
    /// When the name is not a token of RFC 6265: letters, digits, and some signs.
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(ConfigError::new("name", name, "a token of RFC 6265"));
        }
        Ok(Self { name: name.into(), max_age: None, secure: false })
    }

    /// How long the client keeps the cookie, in whole seconds; until it closes unless set.
    #[must_use]
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Lets the client send the cookie over https alone.
    #[must_use]
    pub fn with_secure(mut self) -> Self {
        self.secure = true;
        self
    }

    fn set_cookie(&self, token: u128) -> Option<HeaderValue> {
        use std::fmt::Write as _;

        let mut line = format!("{}={token:032x}; Path=/; HttpOnly; SameSite=Lax", self.name);
        if let Some(max_age) = self.max_age {
            // Never fails: a string takes whatever it is given.
            let _ = write!(line, "; Max-Age={}", max_age.as_secs());
        }
        if self.secure {
            line.push_str("; Secure");
        }
        HeaderValue::try_from(line).ok()
    }
}

impl<S> Layer<S> for StickyLayer {
    type Service = StickyService<S>;

    fn layer(&self, inner: S) -> StickyService<S> {
        StickyService { inner, layer: self.clone() }
    }
}

/// A service whose clients have a cookie from [`StickyLayer`].
#[derive(Clone, Debug)]
pub struct StickyService<S> {
    inner: S,
    layer: StickyLayer,
}

impl<S, B, D> Service<Request<B>> for StickyService<S>
where
    S: Service<Request<B>, Response = Response<D>>,
{
    type Response = Response<D>;
    type Error = S::Error;
    type Future = StickyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let known = cookie(request.headers(), &self.layer.name).is_some();
        let set_cookie = if known {
            None
        } else {
            let token = fastrand::u128(..);
            // As the cookie will be hashed when it comes back.
            request.extensions_mut().insert(HashKey::of(format!("{token:032x}")));
            self.layer.set_cookie(token)
        };
        StickyFuture { future: self.inner.call(request), set_cookie }
    }
}

pin_project! {
    /// The future of a call through a [`StickyService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct StickyFuture<F> {
        #[pin]
        future: F,
        set_cookie: Option<HeaderValue>,
    }
}

impl<F, D, E> Future for StickyFuture<F>
where
    F: Future<Output = Result<Response<D>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        Poll::Ready(result.map(|mut response| {
            if let Some(set_cookie) = this.set_cookie.take() {
                response.headers_mut().append(SET_COOKIE, set_cookie);
            }
            response
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_says_what_it_was_told() {
        let plain = StickyLayer::new("route").unwrap();
        let line = plain.set_cookie(7).unwrap();
        let expected = "route=00000000000000000000000000000007; Path=/; HttpOnly; SameSite=Lax";
        assert_eq!(line, expected);
        let full = plain.with_max_age(Duration::from_millis(90_500)).with_secure();
        let expected = format!("{expected}; Max-Age=90; Secure");
        assert_eq!(full.set_cookie(7).unwrap(), expected.as_str());
    }

    #[test]
    fn a_name_that_no_cookie_can_have_is_refused() {
        for name in ["", "two words", "a=b", "a;b", "ä"] {
            assert_eq!(StickyLayer::new(name).unwrap_err().field(), "name", "{name}");
        }
    }
}
