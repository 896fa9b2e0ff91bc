//! What to ask for, from the name of a service.

use seawall_core::{Address, ConfigError};

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The addresses of `host`.
    Addresses { host: String, port: u16 },
    /// The SRV records of `name`.
    Services { name: String },
}

impl Question {
    /// What `service` asks for; `port` is for one that names none.
    pub(super) fn new(service: &str, port: Option<u16>) -> Result<Self, ConfigError> {
        let refused = |allowed: &'static str| ConfigError::new("service", service, allowed);
        if service.starts_with('_') {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            return match service.chars().all(plain) {
                true => Ok(Self::Services { name: service.to_owned() }),
                false => Err(refused("the name of SRV records such as _grpc._tcp.orders.internal")),
            };
        }
        let named = service.parse::<Address>().ok().map(|address| (address.port(), address));
        let address = match (named, port) {
            (Some((_, address)), _) => address,
            (None, Some(port)) => Address::new(service, port)
                .map_err(|_| refused("a host name, with a port or without"))?,
            (None, None) => {
                return Err(refused("a host name with a port, where no port is set for all"));
            }
        };
        Ok(Self::Addresses { host: address.host().to_owned(), port: address.port() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(host: &str, port: u16) -> Question {
        Question::Addresses { host: host.to_owned(), port }
    }

    #[test]
    fn a_port_of_its_own_comes_before_that_of_all() {
        assert_eq!(Question::new("orders:80", Some(1)).unwrap(), addresses("orders", 80));
        assert_eq!(Question::new("orders", Some(1)).unwrap(), addresses("orders", 1));
        assert_eq!(Question::new("[::1]:80", None).unwrap(), addresses("::1", 80));
        let name = "_grpc._tcp.orders".to_owned();
        assert_eq!(Question::new(&name, None).unwrap(), Question::Services { name });
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for service in ["", "orders", "a b:80", "orders:0", "orders:99999", "_a b._tcp"] {
            let error = Question::new(service, None).unwrap_err();
            assert_eq!((error.field(), error.value()), ("service", service));
        }
    }
}
