//! Where an endpoint listens.

use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

/// Where an endpoint listens: a host name or an IP address, and a port.
///
/// ```
/// use seawall_core::Address;
///
/// let address: Address = "[::1]:50051".parse()?;
/// assert_eq!((address.host(), address.port()), ("::1", 50051));
/// assert_eq!(address.to_string(), "[::1]:50051");
/// assert!("orders.internal".parse::<Address>().is_err());
/// # Ok::<(), seawall_core::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "String", try_from = "String")
)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// The address `host`:`port`.
    ///
    /// # Errors
    ///
    /// When `host` is no IP address (an IPv6 one may stand in brackets) and holds anything but the
    /// letters, digits, `-`, `.` and `_` of a host name, or when `port` is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let named = !bare.is_empty()
            && bare.len() <= 253
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let known = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => true,
            Ok(IpAddr::V4(_)) | Err(_) => named && bare.len() == host.len(),
        };
        if !known || port == 0 {
            return Err(AddressError { text: format!("{host}:{port}") });
        }
        Ok(Self { host: bare.into(), port })
    }

    /// The host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let refused = || AddressError { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(refused)?;
        // `::1:80` would be read as one address or another; brackets say which.
        if host.contains(':') && !host.starts_with('[') {
            return Err(refused());
        }
        Self::new(host, port.parse().map_err(|_| refused())?).map_err(|_| refused())
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl TryFrom<SocketAddr> for Address {
    type Error = AddressError;

    /// # Errors
    ///
    /// When the port is 0.
    fn try_from(address: SocketAddr) -> Result<Self, AddressError> {
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A text that is not the address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    text: String,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no address: want host:port with a port from 1 to 65535", self.text)
    }
}

impl StdError for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cannot_be_called_are_refused() {
        for text in [
            "",
            ":80",
            "host",
            "host:0",
            "host:70000",
            "host:-1",
            "::1:80",
            "a b:80",
            "h\u{e9}:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "[::1:80",
            "host:",
            "http://host:80",
            "a:80:80",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn addresses_round_trip_through_their_text() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443", "orders.svc_1-x.local:65535"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(Address::new("::1", 1).unwrap().to_string(), "[::1]:1");
    }
}
