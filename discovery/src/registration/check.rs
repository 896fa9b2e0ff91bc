//! The checks that a registry makes of an instance by itself.

use std::{sync::Arc, time::Duration};

use seawall_core::{Address, ConfigError, Health};

use super::builder::{DAY, NAME_MAX, VALUE_MAX, name, text, within};

/// Consul raises what is shorter to this, without a word.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MIN: Duration = Duration::from_millis(1);
const URL_MAX: usize = 2_048;

/// A check that the registry makes of an instance by itself: a request every so often.
///
/// Beside the heartbeats of a [TTL](crate::RegistrationBuilder::ttl), or in their place; the worst
/// of all that an instance has is its health. A check starts as critical, so that an instance is
/// not called before the registry has seen it work, unless [`starts`](Self::starts) says otherwise.
///
/// Every kind needs an interval, which is why there is none to be made without one, and the TTL has
/// none:
///
/// ```compile_fail
/// let check = seawall_discovery::Check::http("http://10.0.0.7:80/health");
/// ```
///
/// ```compile_fail
/// # use std::time::Duration;
/// # let registration = seawall_discovery::Registration::builder("a", "h:1".parse().unwrap());
/// registration.ttl(Duration::from_secs(9)).interval(Duration::from_secs(3));
/// ```
///
/// Consul's agent makes the requests, so addresses are as it sees them. A registry inside the
/// process makes none: with [`Memory`](crate::Memory) the health is what the lease says.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use seawall_discovery::{Check, Registration};
///
/// let every = Duration::from_secs(10);
/// let registration = Registration::builder("orders", "10.0.0.7:50051".parse()?)
///     .check(Check::grpc("10.0.0.7:50051".parse()?, every).timeout(Duration::from_secs(1)))
///     .check(Check::http("http://10.0.0.7:8080/disk", every).id("disk"))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Check {
    pub(crate) id: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) interval: Duration,
    pub(crate) timeout: Option<Duration>,
    pub(crate) starts: Health,
    pub(crate) trusts_any: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Http { url: Arc<str> },
    Tcp { address: Address },
    Grpc { address: Address, service: Option<Arc<str>>, tls: bool },
}

impl Check {
    /// `GET url` every `interval`: 2xx is passing, 429 a warning, anything else critical.
    pub fn http(url: impl Into<Arc<str>>, interval: Duration) -> Self {
        Self::new("http", Kind::Http { url: url.into() }, interval)
    }

    /// A connection to `address` every `interval`, which is passing when it comes about.
    pub fn tcp(address: Address, interval: Duration) -> Self {
        Self::new("tcp", Kind::Tcp { address }, interval)
    }

    /// gRPC's own health check of the whole server at `address` every `interval`.
    pub fn grpc(address: Address, interval: Duration) -> Self {
        Self::new("grpc", Kind::Grpc { address, service: None, tls: false }, interval)
    }

    /// gRPC's own health check of one `service` of the server at `address` every `interval`.
    pub fn grpc_service(
        address: Address,
        service: impl Into<Arc<str>>,
        interval: Duration,
    ) -> Self {
        let service = Some(service.into());
        Self::new("grpc", Kind::Grpc { address, service, tls: false }, interval)
    }

    fn new(id: &str, kind: Kind, interval: Duration) -> Self {
        let (id, starts) = (id.into(), Health::Critical);
        Self { id, kind, interval, timeout: None, starts, trusts_any: false }
    }

    /// What tells it from the other checks of the instance, in place of `http`, `tcp` or `grpc`.
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = id.into();
        self
    }

    /// How long an answer may take: 1 ms up to the interval. Consul's own default is 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// What it counts as until it was made for the first time: critical, by default. Passing has
    /// the instance called at once, also when it is registered anew after the registry lost it.
    pub fn starts(mut self, health: Health) -> Self {
        self.starts = health;
        self
    }

    /// A gRPC check goes over TLS.
    pub fn tls(mut self) -> Self {
        if let Kind::Grpc { tls, .. } = &mut self.kind {
            *tls = true;
        }
        self
    }

    /// Over TLS, any certificate will do: what the agent checks is reached by its address, which
    /// few certificates name.
    pub fn trust_any_certificate(mut self) -> Self {
        self.trusts_any = true;
        self
    }

    pub(super) fn check(&self, others: &[Self]) -> Result<(), ConfigError> {
        name("check.id", &self.id)?;
        if &*self.id == "ttl" || others.iter().any(|other| other.id == self.id) {
            let allowed = "one that no other check of the instance has, and not `ttl`";
            return Err(ConfigError::new("check.id", format_args!("{:?}", self.id), allowed));
        }
        within("check.interval", self.interval, INTERVAL_MIN, DAY, "1 s to 24 h")?;
        if let Some(timeout) = self.timeout {
            let allowed = "1 ms to the interval";
            within("check.timeout", timeout, TIMEOUT_MIN, self.interval, allowed)?;
        }
        if self.starts == Health::Maintenance {
            let allowed = "passing, warning or critical";
            return Err(ConfigError::new("check.starts", "maintenance", allowed));
        }
        match &self.kind {
            Kind::Http { url } => http_url(url),
            Kind::Grpc { service: Some(service), .. } if service.is_empty() => {
                Err(ConfigError::new("check.service", "empty", "the name of a gRPC service"))
            }
            Kind::Grpc { service: Some(service), .. } => text("check.service", service, VALUE_MAX),
            Kind::Grpc { .. } | Kind::Tcp { .. } => Ok(()),
        }
    }
}

fn http_url(url: &str) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let sound = url.len() <= URL_MAX && !url.chars().any(|c| c.is_control() || c.is_whitespace());
    // A name without a host would have the agent ask itself.
    if !sound || host.is_none_or(|host| host.is_empty() || host.starts_with(':')) {
        let allowed = "an http or https URL of at most 2048 bytes with a host";
        return Err(ConfigError::new("check.url", format_args!("{url:?}"), allowed));
    }
    if host.is_some_and(|host| host.len() > NAME_MAX || host.contains('@')) {
        let allowed = "one without a user, which everybody could read in the registry";
        return Err(ConfigError::new("check.url", "one with a user", allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Registration, RegistrationBuilder};

    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn builder() -> RegistrationBuilder {
        Registration::builder("orders", "10.0.0.7:80".parse().unwrap())
    }

    fn tcp() -> Check {
        Check::tcp("h:1".parse().unwrap(), EVERY)
    }

    #[test]
    fn a_check_that_a_registry_would_refuse_or_bend_is_refused_by_name() {
        let (ms, every) = (Duration::from_millis, EVERY);
        let grpc = |service: &str| Check::grpc_service("h:1".parse().unwrap(), service, every);
        for (field, check) in [
            ("check.interval", Check::tcp("h:1".parse().unwrap(), Duration::ZERO)),
            ("check.interval", Check::tcp("h:1".parse().unwrap(), ms(999))),
            ("check.interval", Check::http("http://h/", Duration::MAX)),
            ("check.timeout", tcp().timeout(Duration::ZERO)),
            ("check.timeout", tcp().timeout(every + ms(1))),
            ("check.starts", tcp().starts(Health::Maintenance)),
            ("check.id", tcp().id("")),
            ("check.id", tcp().id("a b")),
            ("check.id", tcp().id("ttl")),
            ("check.url", Check::http("", every)),
            ("check.url", Check::http("h:80/health", every)),
            ("check.url", Check::http("ftp://h/", every)),
            ("check.url", Check::http("http:///health", every)),
            ("check.url", Check::http("http://:80/health", every)),
            ("check.url", Check::http("http://h/a b", every)),
            ("check.url", Check::http("http://u:p@h/", every)),
            ("check.service", grpc("")),
            ("check.service", grpc("a\n")),
        ] {
            let error = builder().check(check).build().expect_err(field);
            assert_eq!(error.field(), field, "{error}");
        }
    }

    #[test]
    fn several_checks_need_different_ids() {
        let error = builder().check(tcp()).check(tcp()).build().unwrap_err();
        assert_eq!((error.field(), error.value()), ("check.id", "\"tcp\""));
        let grpc = Check::grpc("h:1".parse().unwrap(), EVERY).tls();
        let http = Check::http("https://h/?a#b", EVERY).trust_any_certificate();
        let checks = [tcp(), tcp().id("other"), grpc, http.timeout(EVERY)];
        let built = checks.into_iter().fold(builder(), RegistrationBuilder::check).build();
        assert_eq!(built.unwrap().checks.len(), 4);
    }
}
