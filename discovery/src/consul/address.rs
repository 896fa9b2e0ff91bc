//! Where an agent listens.

use std::path::PathBuf;

use reqwest::{ClientBuilder, Url};
use seawall_core::ConfigError;

/// Where an agent listens, as `http://…`, `https://…` or `unix://…`.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) base: Url,
    socket: Option<PathBuf>,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        if let Some(path) = url.strip_prefix("unix://") {
            return Self::unix(path);
        }
        let allowed = "an http or https URL without user, query and fragment, such as \
                       http://127.0.0.1:8500, or unix:// and a path";
        let refused = |shown: &str| ConfigError::new("url", shown, allowed);
        let base = Url::parse(url).map_err(|_| refused(&format!("{url:?}")))?;
        // What may hold a secret is not repeated.
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(refused("one with a user or a query"));
        }
        let known = matches!(base.scheme(), "http" | "https");
        if !known || !base.has_host() || base.fragment().is_some() {
            return Err(refused(&format!("{url:?}")));
        }
        Ok(Self { base, socket: None })
    }

    fn unix(path: &str) -> Result<Self, ConfigError> {
        let refused = |allowed| ConfigError::new("url", format_args!("unix://{path:?}"), allowed);
        if !cfg!(unix) {
            return Err(refused("http or https on this system"));
        }
        if !path.starts_with('/') {
            return Err(refused("unix:// and an absolute path"));
        }
        let base = Url::parse("http://localhost").map_err(|_| refused("a path"))?;
        Ok(Self { base, socket: Some(path.into()) })
    }

    /// What errors and logs call it.
    pub(super) fn name(&self) -> String {
        match &self.socket {
            Some(path) => format!("consul at unix://{}", path.display()),
            None => format!("consul at {}", self.base.as_str().trim_end_matches('/')),
        }
    }

    pub(super) fn apply(&self, client: ClientBuilder) -> ClientBuilder {
        #[cfg(unix)]
        if let Some(path) = &self.socket {
            return client.unix_socket(path.clone());
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_socket() {
        let name = |url| Address::parse(url).unwrap().name();
        assert_eq!(name("http://127.0.0.1:8500"), "consul at http://127.0.0.1:8500");
        assert_eq!(name("https://h/below/"), "consul at https://h/below");
        assert_eq!(name("unix:///run/consul.sock"), "consul at unix:///run/consul.sock");
        for url in ["127.0.0.1:8500", "", "ftp://h", "http://h/#x", "unix://", "unix://a"] {
            assert_eq!(Address::parse(url).unwrap_err().field(), "url", "{url}");
        }
    }
}
