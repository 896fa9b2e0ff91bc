//! Cookies of requests, read without trust.

use ::http::{HeaderMap, header::COOKIE};

/// The value of the first cookie with this name, without quotes; RFC 6265, section 4.2.
///
/// Several `Cookie` headers, as HTTP/2 may send them, are read in turn. What is no pair is skipped.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (found, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let value = match value {
            [b'"', inner @ .., b'"'] => inner,
            value => value,
        };
        (found == name.as_bytes() && !value.is_empty()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let lines = lines.iter().filter_map(|line| HeaderValue::from_bytes(line).ok());
        lines.map(|line| (COOKIE, line)).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others_and_in_any_line() {
        let found = |lines: &[&[u8]]| cookie(&headers(lines), "route").map(<[u8]>::to_vec);
        let a = Some(b"a".to_vec());
        assert_eq!(found(&[b"route=a"]), a);
        assert_eq!(found(&[b"x=1; route=a; y=2"]), a);
        assert_eq!(found(&[b"x=1;route = \"a\""]), a);
        assert_eq!(found(&[b"x=1", b"route=a"]), a);
        assert_eq!(found(&[b"route=a; route=b"]), a);
        assert_eq!(found(&[b"route=a=b"]), Some(b"a=b".to_vec()));
        assert_eq!(found(&[b"reroute=a; routes=b; Route=c"]), None);
        assert_eq!(found(&[b"route=; route=\"\""]), None);
        assert_eq!(found(&[b"route", b"=", b";;", b"\xff\xfe=\xff", b"\"", b""]), None);
        assert_eq!(found(&[]), None);
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(line: Vec<u8>, name in ".{0,3}") {
            let _ = cookie(&headers(&[&line]), &name);
        }
    }
}
