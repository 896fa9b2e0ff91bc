//! How long an HTTP server asks to be left alone.

use std::time::{Duration, SystemTime};

use ::http::{
    HeaderMap, HeaderName, StatusCode,
    header::{DATE, RETRY_AFTER},
};

/// The wait that `Retry-After` asks for
/// ([RFC 9110, section 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)).
///
/// A date counts from the response's own `Date`, where it has one, so that a wrong clock on either
/// side does not matter; a date that has passed is no wait. `None` without the header, and for a
/// value that is neither seconds nor a date. The value is the server's word, up to centuries:
/// whoever obeys it sets a bound.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue, header};
/// use seawall_core::http::retry_after;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(retry_after(&headers), None);
/// headers.insert(header::RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
/// ```
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let sent = date(headers, DATE).unwrap_or_else(SystemTime::now);
    Some(until.duration_since(sent).unwrap_or(Duration::ZERO))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// The wait that a refusal asks for: 429, and the server errors. Elsewhere the header speaks of
/// something else, such as a redirection.
pub(super) fn of_refusal(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    let refusal = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    if refusal { retry_after(headers) } else { None }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn asked(pairs: &[(HeaderName, &'static str)]) -> Option<Duration> {
        let pairs = pairs.iter().cloned();
        retry_after(&pairs.map(|(name, value)| (name, HeaderValue::from_static(value))).collect())
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_response() {
        let until = (RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT");
        let sent = (DATE, "Fri, 31 Dec 1999 23:59:29 GMT");
        assert_eq!(asked(&[until.clone(), sent]), Some(Duration::from_secs(30)));
        let later = (DATE, "Sat, 01 Jan 2000 00:00:00 GMT");
        assert_eq!(asked(&[until.clone(), later]), Some(Duration::ZERO));
        assert_eq!(asked(&[until]), Some(Duration::ZERO), "it passed long ago");
    }

    #[test]
    fn what_is_neither_seconds_nor_a_date_is_no_wait() {
        for value in ["", "-1", "1.5", "soon", "99999999999999999999999", "Fri, 31 Dec 1999"] {
            assert_eq!(asked(&[(RETRY_AFTER, value)]), None, "{value:?}");
        }
        assert_eq!(asked(&[(RETRY_AFTER, " 0 ")]), Some(Duration::ZERO));
    }
}
