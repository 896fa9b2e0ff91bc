//! What the headers of a response say about the limit.

use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};

use crate::{Quota, decision::Standing};

/// Which headers tell callers about the limit. A refusal has `Retry-After` in any case.
///
/// Times are whole seconds, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Headers {
    /// `RateLimit-Policy: "default";q=100;w=60` and `RateLimit: "default";r=50;t=30`, as in
    /// [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10):
    /// the quota in cells and its window, what is left of it and when it is whole again. Of
    /// [several](crate::algorithm::Several) quotas all are listed, as `"default-1"`, `"default-2"`,
    /// and what is left is that of the scarcest, or of the one that refused.
    #[default]
    RateLimit,
    /// `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`, as in
    /// [draft 6](https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06) and
    /// before.
    Separate,
    /// The same as `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, which no
    /// standard describes and much is used.
    Legacy,
    /// None of these.
    Nothing,
}

/// The headers of one limit, as far as they are the same for every response.
#[derive(Debug)]
pub(super) struct Writer {
    headers: Headers,
    /// What most responses say, and the quotas that it says.
    policy: HeaderValue,
    quotas: Vec<Quota>,
    /// The name of each quota as a structured string: quoted, and numbered from 1 where there are
    /// several.
    names: Vec<String>,
}

/// How a caller stands.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) writer: Arc<OnceLock<Writer>>,
    pub(super) standing: Standing,
    /// Where they are not those that the writer was made with.
    pub(super) quotas: Option<Vec<Quota>>,
}

impl Told {
    pub(super) fn write(&self, to: &mut HeaderMap) {
        if let Some(writer) = self.writer.get() {
            writer.write(to, self.quotas.as_deref(), &self.standing);
        }
    }
}

impl Writer {
    pub(super) fn new(headers: Headers, quotas: Vec<Quota>, name: Option<&str>) -> Self {
        let name = name.unwrap_or("default");
        let names: Vec<_> = match quotas.len() {
            1 => vec![quoted(name)],
            count => (1..=count).map(|number| quoted(&format!("{name}-{number}"))).collect(),
        };
        Self { headers, policy: policies(&names, &quotas), quotas, names }
    }

    /// Whether it was made for another quota in this place.
    pub(super) fn is_old(&self, index: usize, quota: Quota) -> bool {
        self.headers == Headers::RateLimit && self.quotas.get(index) != Some(&quota)
    }

    fn write(&self, to: &mut HeaderMap, quotas: Option<&[Quota]>, standing: &Standing) {
        let (limit, remaining) = (standing.limit(), standing.remaining());
        let reset = seconds(standing.reset_after());
        let [limit_name, remaining_name, reset_name] = match self.headers {
            Headers::RateLimit => {
                // A limit that was added since has the name of the first.
                let name = self.names.get(standing.index()).unwrap_or(&self.names[0]);
                let mut value = String::with_capacity(name.len() + 32);
                write!(value, "{name};r={remaining};t={reset}")
                    .expect("a string takes what is written");
                let changed = quotas.map(|quotas| policies(&self.names, quotas));
                to.insert(POLICY, changed.unwrap_or_else(|| self.policy.clone()));
                to.insert(RATE_LIMIT, value.try_into().expect("quoted text is printable"));
                return;
            }
            Headers::Separate => SEPARATE,
            Headers::Legacy => LEGACY,
            Headers::Nothing => return,
        };
        to.insert(limit_name, limit.into());
        to.insert(remaining_name, remaining.into());
        to.insert(reset_name, reset.into());
    }
}

/// Each quota by its name, in a list.
fn policies(names: &[String], quotas: &[Quota]) -> HeaderValue {
    let policy = |(name, quota): (&String, &Quota)| {
        format!("{name};q={};w={}", quota.capacity(), seconds(refill(*quota)))
    };
    let list: Vec<_> = names.iter().zip(quotas).map(policy).collect();
    list.join(", ").try_into().expect("quoted text is printable")
}

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const SEPARATE: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];
const LEGACY: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// When to come back: at least one second, because none is an invitation to come back at once.
pub(super) fn retry_after(to: &mut HeaderMap, wait: Duration) {
    to.insert(RETRY_AFTER, seconds(wait).max(1).into());
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// The time in which as many cells pass as the limiter holds.
fn refill(quota: Quota) -> Duration {
    let nanos = quota.period().as_nanos() * u128::from(quota.capacity());
    let nanos = nanos.div_ceil(u128::from(quota.limit().max(1)));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// `name` as a string of RFC 9651, which has printable ASCII only; anything else becomes `?`.
fn quoted(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for char in name.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            ' '..='~' => quoted.push(char),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (nanos, whole) in
            [(0, 0), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2)]
        {
            assert_eq!(seconds(Duration::from_nanos(nanos)), whole, "{nanos} ns");
        }
        assert_eq!(seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn retry_after_is_never_zero() {
        let mut headers = HeaderMap::new();
        retry_after(&mut headers, Duration::ZERO);
        assert_eq!(headers[RETRY_AFTER], "1");
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\r\nd\u{e9}"), "\"a\\\"b\\\\c??d?\"");
    }

    #[test]
    fn the_window_of_a_bucket_is_the_time_that_fills_it() {
        assert_eq!(refill(Quota::per_minute(100)), Duration::from_secs(60));
        assert_eq!(refill(Quota::per_minute(100).burst(10)), Duration::from_secs(6));
    }
}
