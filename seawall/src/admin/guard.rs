//! Who may look, and who may act.

use std::{hint::black_box, net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};

use super::{Shown, refuse};

pub(super) struct Guard {
    pub(super) token: Option<Arc<str>>,
    pub(super) public: bool,
}

/// Refuses requests to a host that is not loopback, unless the pages are public: a page of another
/// site whose name leads here would read them.
pub(super) async fn hosts(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    if !shown.guard.public && !host.is_some_and(is_loopback) {
        return refuse(StatusCode::FORBIDDEN, "ask for a loopback address or localhost\n");
    }
    next.run(request).await
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Guard {
    /// Says how to refuse who may not act.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let Some(token) = &self.token else {
            return Err((StatusCode::FORBIDDEN, "there are no actions without a token\n"));
        };
        // The token alone keeps other sites out; a browser says besides where a request is from.
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
            return Err((StatusCode::FORBIDDEN, "asked for by another site\n"));
        }
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|given| given.split_at_checked("Bearer ".len()));
        match given {
            Some((scheme, given))
                if scheme.eq_ignore_ascii_case(b"Bearer ") && same(given, token.as_bytes()) =>
            {
                Ok(())
            }
            _ => Err((StatusCode::UNAUTHORIZED, "the token is missing or wrong\n")),
        }
    }
}

/// Whether two secrets are the same, in a time that depends on the length of the given one alone.
fn same(given: &[u8], secret: &[u8]) -> bool {
    let mut different = u8::from(given.len() != secret.len());
    for (at, byte) in given.iter().enumerate() {
        different |= black_box(byte ^ secret[at % secret.len()]);
    }
    black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_is_the_same() {
        assert!(same(b"0123456789abcdef", b"0123456789abcdef"));
        for given in ["", "0123456789abcdeg", "1123456789abcdef", "0123456789abcde"] {
            assert!(!same(given.as_bytes(), b"0123456789abcdef"), "{given}");
        }
        assert!(!same(b"abcdabcd", b"abcd"), "repeated");
    }

    #[test]
    fn loopback_hosts_are_told_from_others() {
        for host in ["localhost", "LOCALHOST:9901", "127.0.0.1:80", "[::1]:9901", "127.9.9.9"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:80", "10.0.0.1", "[::2]", "", "a b"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
