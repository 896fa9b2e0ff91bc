//! The checks that a registration passes before any registry sees it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use seawall_core::{Address, ConfigError, Health};

use super::{Check, Registration, ZONE};

const TTL: Duration = Duration::from_secs(15);
const FORGET_AFTER: Duration = Duration::from_secs(5 * 60);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter ones would have a heartbeat on the wire all the time.
const TTL_MIN: Duration = Duration::from_millis(100);
/// Consul takes less for one minute without a word.
const FORGET_MIN: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest name that is checked to work; Consul itself sets no limit but its DNS does.
pub(super) const NAME_MAX: usize = 255;
/// Consul's limits for metadata.
const PAIRS_MAX: usize = 64;
const KEY_MAX: usize = 128;
pub(super) const VALUE_MAX: usize = 512;

/// Describes a [`Registration`].
///
/// | field | default |
/// |---|---|
/// | `id` | service, host and port, joined by `-` |
/// | `weight` | 1 |
/// | `warning_weight` | 1 |
/// | `zone`, `tags`, `metadata` | none |
/// | `health` | passing |
/// | `ttl` | 15 s |
/// | `check` | none |
/// | `forget_after` | 5 min |
/// | `shutdown_timeout` | 5 s |
#[derive(Clone, Debug)]
#[must_use]
pub struct RegistrationBuilder {
    registration: Registration,
    id: Option<Arc<str>>,
}

impl RegistrationBuilder {
    pub(super) fn new(service: Arc<str>, address: Address) -> Self {
        let registration = Registration {
            id: Arc::clone(&service),
            service,
            address,
            weight: 1,
            warning_weight: 1,
            zone: None,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
            health: Health::Passing,
            ttl: Some(TTL),
            checks: Vec::new(),
            forget_after: Some(FORGET_AFTER),
            shutdown_timeout: SHUTDOWN_TIMEOUT,
        };
        Self { registration, id: None }
    }

    /// What identifies the instance, in place of service, host and port: 1 to 255 bytes, without
    /// spaces, slashes and control characters. Two instances with one id replace each other.
    pub fn id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Its share of the calls while it is passing: 1 to 65,535, 1 by default.
    pub fn weight(mut self, weight: u16) -> Self {
        self.registration.weight = weight;
        self
    }

    /// Its share of the calls while it is in warning: 0 to 65,535, 1 by default.
    pub fn warning_weight(mut self, weight: u16) -> Self {
        self.registration.warning_weight = weight;
        self
    }

    /// Where it runs, for balancers that prefer the near. A registry without a field for it
    /// carries it as the metadata `zone`.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.registration.zone = Some(zone.into());
        self
    }

    /// Its tags, in place of those it had.
    pub fn tags<T: Into<Arc<str>>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.registration.tags = tags.into_iter().map(Into::into).collect();
        self
    }

    /// One entry of its metadata, in place of one with the same key. At most 64; a key has up to
    /// 128 letters, digits, `-` or `_`, a value up to 512 bytes.
    pub fn metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.registration.metadata.insert(key.into(), value.into());
        self
    }

    /// The health that it starts with; [`Lease::set_health`](crate::Lease::set_health) changes it.
    /// A server that still warms up starts as [`Health::Critical`].
    pub fn health(mut self, health: Health) -> Self {
        self.registration.health = health;
        self
    }

    /// How long it counts as alive after a heartbeat: 100 ms to 24 h, 15 s by default. A heartbeat
    /// is sent every third of it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.registration.ttl = Some(ttl);
        self
    }

    /// Without heartbeats: it counts as alive until it is deregistered. Every 10 s the lease asks
    /// the registry whether it is still there, and registers again when it is not.
    pub fn without_ttl(mut self) -> Self {
        self.registration.ttl = None;
        self
    }

    /// One more check, which the registry makes by itself.
    pub fn check(mut self, check: Check) -> Self {
        self.registration.checks.push(check);
        self
    }

    /// When the registry forgets an instance whose heartbeats stopped: 1 min to 24 h after it
    /// became critical, 5 min by default. Without heartbeats, it is any of its checks that counts.
    pub fn forget_after(mut self, after: Duration) -> Self {
        self.registration.forget_after = Some(after);
        self
    }

    /// An instance whose heartbeats stopped stays in the registry, as critical, until somebody
    /// removes it.
    pub fn never_forget(mut self) -> Self {
        self.registration.forget_after = None;
        self
    }

    /// How long [`Lease::shutdown`](crate::Lease::shutdown) takes at most: up to 24 h, 5 s by
    /// default.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.registration.shutdown_timeout = timeout;
        self
    }

    /// The registration, once all of it is known to be sound.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<Registration, ConfigError> {
        let mut built = self.registration;
        name("service", &built.service)?;
        built.id = self.id.unwrap_or_else(|| {
            let (host, port) = (built.address.host(), built.address.port());
            format!("{}-{host}-{port}", built.service).into()
        });
        name("id", &built.id)?;
        if built.weight == 0 {
            let allowed = "1 to 65535: warning or critical health takes calls away";
            return Err(ConfigError::new("weight", 0, allowed));
        }
        for tag in &built.tags {
            text("tags", tag, VALUE_MAX)?;
        }
        if let Some(zone) = &built.zone {
            text("zone", zone, VALUE_MAX)?;
        }
        metadata(&built)?;
        if let Some(ttl) = built.ttl {
            within("ttl", ttl, TTL_MIN, DAY, "100 ms to 24 h")?;
        }
        for (place, check) in built.checks.iter().enumerate() {
            check.check(&built.checks[..place])?;
        }
        if let Some(after) = built.forget_after {
            within("forget_after", after, FORGET_MIN, DAY, "1 min to 24 h")?;
        }
        within("shutdown_timeout", built.shutdown_timeout, Duration::ZERO, DAY, "up to 24 h")?;
        Ok(built)
    }
}

/// A name stands in paths of URLs and in DNS, so it is kept to what survives there.
pub(super) fn name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    let sound = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '?' | '#');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(sound) || dots(name) {
        let allowed = "1 to 255 bytes without spaces, slashes, `?`, `#` and control characters";
        return Err(ConfigError::new(field, format_args!("{name:?}"), allowed));
    }
    Ok(())
}

/// Clients and proxies resolve these two away when they stand in a path.
fn dots(name: &str) -> bool {
    matches!(name, "." | "..")
}

pub(super) fn text(field: &'static str, text: &str, max: usize) -> Result<(), ConfigError> {
    if text.len() > max || text.chars().any(char::is_control) {
        let allowed = format!("at most {max} bytes without control characters");
        return Err(ConfigError::new(field, format_args!("{text:?}"), allowed));
    }
    Ok(())
}

fn metadata(registration: &Registration) -> Result<(), ConfigError> {
    let pairs = registration.metadata.len() + usize::from(registration.zone.is_some());
    if pairs > PAIRS_MAX {
        return Err(ConfigError::new("metadata", pairs, "at most 64 entries, the zone included"));
    }
    for (key, value) in &registration.metadata {
        let shaped = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        // Consul keeps the prefix to itself.
        let reserved =
            key.starts_with("consul-") || (&**key == ZONE && registration.zone.is_some());
        if key.is_empty() || key.len() > KEY_MAX || !shaped || reserved {
            let allowed = "a key of 1 to 128 letters, digits, `-` or `_`, not starting with \
                           `consul-`, and not `zone` beside a zone";
            return Err(ConfigError::new("metadata", format_args!("{key:?}"), allowed));
        }
        text("metadata", value, VALUE_MAX)?;
    }
    Ok(())
}

pub(super) fn within(
    field: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    // Registries count milliseconds at best; a fraction of one would be lost.
    if value < min || value > max || !value.subsec_nanos().is_multiple_of(1_000_000) {
        let allowed = format!("{allowed}, in whole milliseconds");
        return Err(ConfigError::new(field, format_args!("{value:?}"), allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> RegistrationBuilder {
        Registration::builder("orders", "10.0.0.7:80".parse().unwrap())
    }

    #[test]
    fn what_a_registry_would_refuse_or_bend_is_refused_by_name() {
        let address = || "10.0.0.7:80".parse::<Address>().unwrap();
        let ms = Duration::from_millis;
        for (field, built) in [
            ("service", Registration::builder("", address())),
            ("service", Registration::builder("a b", address())),
            ("service", Registration::builder("a/b", address())),
            ("service", Registration::builder("..", address())),
            ("service", Registration::builder("a".repeat(256), address())),
            ("id", builder().id("")),
            ("id", builder().id("a\n")),
            ("weight", builder().weight(0)),
            ("tags", builder().tags(["a\u{7}"])),
            ("zone", builder().zone("z".repeat(513))),
            ("metadata", builder().metadata("", "v")),
            ("metadata", builder().metadata("a.b", "v")),
            ("metadata", builder().metadata("consul-x", "v")),
            ("metadata", builder().metadata("k", "v".repeat(513))),
            ("metadata", builder().zone("a").metadata("zone", "b")),
            ("metadata", (0..65).fold(builder(), |b, n| b.metadata(format!("k{n}"), "v"))),
            ("ttl", builder().ttl(ms(99))),
            ("ttl", builder().ttl(Duration::ZERO)),
            ("ttl", builder().ttl(Duration::MAX)),
            ("ttl", builder().ttl(Duration::from_micros(100_001))),
            ("forget_after", builder().forget_after(ms(59_999))),
            ("shutdown_timeout", builder().shutdown_timeout(Duration::MAX)),
        ] {
            let error = built.build().expect_err(field);
            assert_eq!(error.field(), field, "{error}");
        }
    }

    #[test]
    fn a_port_or_a_weight_beyond_its_range_cannot_be_written_down() {
        for address in ["h:0", "h:65536", "h:70000", ":80", ""] {
            assert!(address.parse::<Address>().is_err(), "{address}");
        }
        assert!(u16::try_from(65_536).is_err(), "and a weight is one");
    }

    #[test]
    fn what_is_just_inside_every_limit_is_taken() {
        let built = (0..64)
            .fold(builder(), |b, n| b.metadata(format!("{n:0128}"), "v".repeat(512)))
            .id("i".repeat(255))
            .weight(u16::MAX)
            .warning_weight(0)
            .ttl(TTL_MIN)
            .forget_after(FORGET_MIN)
            .shutdown_timeout(Duration::ZERO);
        built.build().unwrap();
    }

    #[test]
    fn warning_takes_the_warning_weight_and_critical_takes_the_endpoint() {
        let built = builder().weight(7).warning_weight(2).zone("z").metadata("k", "v");
        let built = built.build().unwrap();
        let passing = built.endpoint(Health::Passing).unwrap();
        assert_eq!((passing.weight(), passing.zone()), (7, Some("z")));
        assert_eq!(passing.metadata("k"), Some("v"));
        assert_eq!(built.endpoint(Health::Warning).unwrap().weight(), 2);
        assert_eq!(built.endpoint(Health::Critical), None);
        assert_eq!(built.endpoint(Health::Maintenance), None);
    }

    #[test]
    fn the_default_id_of_an_ipv6_address_is_a_sound_name() {
        let built = Registration::new("orders", "[2001:db8::1]:80".parse().unwrap()).unwrap();
        assert_eq!(built.id(), "orders-2001:db8::1-80");
    }
}
