//! What a response tells about the limit of the peer.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap, Response, StatusCode,
    header::{DATE, HeaderName},
};
use seawall_core::http::retry_after;

/// A reset beyond this is a Unix time: three years from now it would be otherwise.
const UNIX_TIMES_FROM: u64 = 100_000_000;

/// The most policies that are looked at.
const POLICIES_MAX: usize = 16;

/// What a response tells about the limit of the peer: its own words, without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// How many cells are left; of several limits, of the one with the least.
    pub remaining: Option<u64>,
    /// How long until there are more.
    pub reset_after: Option<Duration>,
    /// How many cells there are after a reset.
    pub limit: Option<u64>,
    /// How long those have to last.
    pub window: Option<Duration>,
    /// How long to stay away, after a refusal.
    pub retry_after: Option<Duration>,
}

/// A response that has a status and headers.
pub trait Head {
    /// The status.
    fn status(&self) -> StatusCode;

    /// The headers.
    fn headers(&self) -> &HeaderMap;
}

impl<B> Head for Response<B> {
    fn status(&self) -> StatusCode {
        Self::status(self)
    }

    fn headers(&self) -> &HeaderMap {
        Self::headers(self)
    }
}

#[cfg(feature = "reqwest")]
impl Head for ::reqwest::Response {
    fn status(&self) -> StatusCode {
        Self::status(self)
    }

    fn headers(&self) -> &HeaderMap {
        Self::headers(self)
    }
}

impl Told {
    /// Reads the head of a response. What cannot be read is as if it were not there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::{HeaderMap, HeaderValue, StatusCode};
    /// use seawall_rate_limit::learn::Told;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("ratelimit", HeaderValue::from_static("\"default\";r=50;t=30"));
    /// let told = Told::read(StatusCode::OK, &headers);
    /// assert_eq!(told.remaining, Some(50));
    /// assert_eq!(told.reset_after, Some(Duration::from_secs(30)));
    /// ```
    pub fn read(status: StatusCode, headers: &HeaderMap) -> Self {
        let told = structured(headers).or_else(|| separate(headers, "ratelimit-"));
        let told = told.or_else(|| separate(headers, "x-ratelimit-")).unwrap_or_default();
        Self { retry_after: asked_to_wait(status, headers), ..told }
    }
}

fn asked_to_wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if let Some(code) = headers.get("grpc-status") {
        // A call that succeeded asks for nothing.
        return if code == "0" { None } else { pushback(headers).or_else(|| retry_after(headers)) };
    }
    let refused = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    if refused { retry_after(headers) } else { None }
}

#[cfg(feature = "tonic")]
fn pushback(headers: &HeaderMap) -> Option<Duration> {
    match seawall_core::tonic::pushback(headers) {
        seawall_core::Retry::After(wait) => Some(wait),
        _ => None,
    }
}

#[cfg(not(feature = "tonic"))]
fn pushback(headers: &HeaderMap) -> Option<Duration> {
    number(headers.get("grpc-retry-pushback-ms")?.as_bytes()).map(Duration::from_millis)
}

/// `RateLimit: "default";r=50;t=30` with `RateLimit-Policy: "default";q=100;w=60`, or
/// `RateLimit: limit=100, remaining=50, reset=30`.
fn structured(headers: &HeaderMap) -> Option<Told> {
    let mut tightest: Option<(&[u8], Told)> = None;
    let mut dictionary = Told::default();
    for member in members(headers, "ratelimit") {
        let (name, parameters) = member;
        if !name.starts_with(b"\"") {
            match pair(name) {
                Some((b"limit", value)) => dictionary.limit = number(value),
                Some((b"remaining", value)) => dictionary.remaining = number(value),
                Some((b"reset", value)) => dictionary.reset_after = seconds(value),
                _ => {}
            }
            continue;
        }
        let told = Told {
            remaining: parameter(parameters, b"r").and_then(number),
            reset_after: parameter(parameters, b"t").and_then(seconds),
            ..Told::default()
        };
        // The least that is left decides, and of those the longest wait.
        let rank = |told: &Told| (told.remaining.unwrap_or(u64::MAX), told.reset_after);
        let is_tighter = tightest.as_ref().is_none_or(|(_, least)| {
            let ((left, wait), (least, longest)) = (rank(&told), rank(least));
            left < least || left == least && wait > longest
        });
        if told.remaining.is_some() && is_tighter {
            tightest = Some((name, told));
        }
    }
    let Some((name, mut told)) = tightest else {
        return dictionary.remaining.is_some().then_some(dictionary);
    };
    if let Some((_, policy)) =
        members(headers, "ratelimit-policy").find(|(other, _)| *other == name)
    {
        told.limit = parameter(policy, b"q").and_then(number);
        told.window = parameter(policy, b"w").and_then(seconds);
    }
    Some(told)
}

/// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, or the same with `X-`.
fn separate(headers: &HeaderMap, prefix: &str) -> Option<Told> {
    let value = |name: &str| Some(headers.get(format!("{prefix}{name}"))?.as_bytes());
    let remaining = value("remaining").and_then(number)?;
    let reset_after = value("reset").and_then(number).and_then(|reset| {
        if reset < UNIX_TIMES_FROM {
            return Some(Duration::from_secs(reset));
        }
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(reset))?;
        // By the clock that made the reset, where it is told.
        let now = date(headers, DATE).unwrap_or_else(SystemTime::now);
        Some(at.duration_since(now).unwrap_or(Duration::ZERO))
    });
    let limit = value("limit").and_then(number);
    Some(Told { remaining: Some(remaining), reset_after, limit, ..Told::default() })
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// The members of a structured list (RFC 9651), each as what it is and its parameters.
fn members<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let lines = headers.get_all(name).iter();
    let members = lines.flat_map(|line| split_outside_quotes(line.as_bytes(), b','));
    members.take(POLICIES_MAX).map(|member| {
        let member = member.trim_ascii();
        let item = split_outside_quotes(member, b';').next().unwrap_or_default();
        (item.trim_ascii(), &member[item.len()..])
    })
}

fn split_outside_quotes(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        byte == separator && !quoted
    })
}

fn parameter<'a>(parameters: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = split_outside_quotes(parameters, b';').filter_map(pair);
    pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
}

fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b'=')?;
    Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
}

fn seconds(text: &[u8]) -> Option<Duration> {
    number(text).map(Duration::from_secs)
}

/// The whole number that `text` begins with; what is too large is the largest.
fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value =
        |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    (digits > 0).then(|| text[..digits].iter().fold(0, value))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(status: u16, pairs: &[(&'static str, &str)]) -> Told {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Told::read(StatusCode::from_u16(status).unwrap(), &headers)
    }

    fn told(remaining: u64, reset: u64, limit: Option<u64>, window: Option<u64>) -> Told {
        let window = window.map(Duration::from_secs);
        let reset_after = Some(Duration::from_secs(reset));
        Told { remaining: Some(remaining), reset_after, limit, window, retry_after: None }
    }

    #[test]
    fn each_form_is_read() {
        let policy = ("ratelimit-policy", r#""default";q=100;w=60"#);
        let now = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (pairs, expected) in [
            (
                &[policy, ("ratelimit", r#""default";r=50;t=30"#)][..],
                told(50, 30, Some(100), Some(60)),
            ),
            (&[("ratelimit", r#""a,b;r=1" ; r=7 ;pk=:x:;t=3"#)], told(7, 3, None, None)),
            (&[("ratelimit", "limit=10, remaining=5, reset=3")], told(5, 3, Some(10), None)),
            (
                &[
                    ("ratelimit-limit", "100, 100;w=60"),
                    ("ratelimit-remaining", "9"),
                    ("ratelimit-reset", "4"),
                ],
                told(9, 4, Some(100), None),
            ),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "7")], told(0, 7, None, None)),
            (
                &[now, ("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "784111787")],
                told(3, 10, None, None),
            ),
            (&[policy], Told::default()),
        ] {
            assert_eq!(read(200, pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn of_several_limits_the_tightest_counts_with_its_own_policy() {
        let pairs = [
            ("ratelimit-policy", r#""burst";q=10;w=1, "day";q=1000;w=86400"#),
            ("ratelimit", r#""burst";r=0;t=1"#),
            ("ratelimit", r#""day";r=0;t=3600, "hour";r=7;t=60"#),
        ];
        assert_eq!(read(200, &pairs), told(0, 3_600, Some(1_000), Some(86_400)));
    }

    #[test]
    fn only_a_refusal_asks_for_a_wait() {
        let after = [("retry-after", "5")];
        assert_eq!(read(429, &after).retry_after, Some(Duration::from_secs(5)));
        assert_eq!(read(503, &after).retry_after, Some(Duration::from_secs(5)));
        assert_eq!(read(301, &after).retry_after, None);
        let grpc = [("grpc-status", "8"), ("grpc-retry-pushback-ms", "250"), ("retry-after", "1")];
        assert_eq!(read(200, &grpc).retry_after, Some(Duration::from_millis(250)));
        let fine = [("grpc-status", "0"), ("retry-after", "5")];
        assert_eq!(read(200, &fine).retry_after, None);
    }

    proptest! {
        #[test]
        fn nothing_that_a_peer_sends_makes_it_panic(
            name in 0..6_usize,
            value in r#"["\\;,=rt a0-9-]{0,40}|["';=,:?*\u{80}-\u{ff}a-z0-9]{0,40}"#,
            status in 100..600_u16,
        ) {
            let names = [
                "ratelimit", "ratelimit-policy", "retry-after", "x-ratelimit-remaining",
                "x-ratelimit-reset", "grpc-retry-pushback-ms",
            ];
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append("grpc-status", HeaderValue::from_static("8"));
            headers.append("x-ratelimit-remaining", HeaderValue::from_static("1"));
            headers.append(names[name], value);
            let _ = Told::read(StatusCode::from_u16(status).unwrap(), &headers);
        }
    }
}
