//! How names are asked for.

use std::{net::SocketAddr, time::Duration};

use seawall_core::ConfigError;

use super::Dns;
use crate::backoff::Backoff;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Empty: those of the system.
    pub(super) name_servers: Vec<SocketAddr>,
    pub(super) port: Option<u16>,
    pub(super) ttl_min: Duration,
    pub(super) ttl_max: Duration,
    pub(super) timeout: Duration,
    pub(super) empty_grace: Duration,
    pub(super) backoff: Backoff,
}

/// Describes how a [`Dns`] asks for names.
#[derive(Clone, Debug)]
#[must_use = "nothing is built until `build`"]
pub struct DnsBuilder {
    settings: Settings,
}

impl Default for DnsBuilder {
    fn default() -> Self {
        let settings = Settings {
            name_servers: Vec::new(),
            port: None,
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
            empty_grace: Duration::from_secs(30),
            backoff: Backoff::default(),
        };
        Self { settings }
    }
}

impl DnsBuilder {
    /// Asks this server, over UDP and TCP, in place of the system's; one more at each call.
    pub fn name_server(mut self, server: SocketAddr) -> Self {
        self.settings.name_servers.push(server);
        self
    }

    /// The port of services that name none; unset by default.
    pub fn port(mut self, port: u16) -> Self {
        self.settings.port = Some(port);
        self
    }

    /// The shortest time between two questions for one name; 1 s by default.
    pub fn ttl_min(mut self, ttl: Duration) -> Self {
        self.settings.ttl_min = ttl;
        self
    }

    /// The longest time that an answer is believed, whatever its TTL; 60 s by default.
    pub fn ttl_max(mut self, ttl: Duration) -> Self {
        self.settings.ttl_max = ttl;
        self
    }

    /// How long one answer may take, further tries included; 5 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long the last set stays in use after DNS said that there is none; 30 s by default.
    ///
    /// A name server that restarts, or has not read its zone yet, says that too. Zero believes it
    /// at once, `Duration::MAX` never.
    pub fn empty_grace(mut self, grace: Duration) -> Self {
        self.settings.empty_grace = grace;
        self
    }

    #[cfg(test)]
    pub(super) fn settings(self) -> Settings {
        self.settings
    }

    /// Builds the resolver. Asks nothing yet.
    ///
    /// # Errors
    ///
    /// When a time or the port is zero, `ttl_min` is above `ttl_max`, or the system's configuration
    /// is needed and cannot be read.
    pub fn build(self) -> Result<Dns, ConfigError> {
        let settings = self.settings;
        for (field, value) in [
            ("ttl_min", settings.ttl_min),
            ("ttl_max", settings.ttl_max),
            ("timeout", settings.timeout),
        ] {
            if value.is_zero() {
                return Err(ConfigError::new(field, "0s", "above zero"));
            }
        }
        if settings.ttl_min > settings.ttl_max {
            let allowed = format!("at most the ttl_max of {:?}", settings.ttl_max);
            return Err(ConfigError::new("ttl_min", format!("{:?}", settings.ttl_min), allowed));
        }
        if settings.port == Some(0) {
            return Err(ConfigError::new("port", 0, "1 to 65535"));
        }
        Dns::start(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let second = Duration::from_secs(1);
        for (builder, field) in [
            (Dns::builder().ttl_min(Duration::ZERO), "ttl_min"),
            (Dns::builder().ttl_max(Duration::ZERO), "ttl_max"),
            (Dns::builder().timeout(Duration::ZERO), "timeout"),
            (Dns::builder().ttl_min(2 * second).ttl_max(second), "ttl_min"),
            (Dns::builder().port(0), "port"),
        ] {
            assert_eq!(builder.build().unwrap_err().field(), field);
        }
    }
}
