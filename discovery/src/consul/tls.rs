//! Whom an agent trusts and who it is trusted by.

use reqwest::{Certificate, ClientBuilder, Identity};
use seawall_core::ConfigError;

/// What the builder was told of certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    roots: Vec<Certificate>,
    identity: Option<Identity>,
    any: bool,
}

impl Tls {
    /// # Errors
    ///
    /// When `pem` holds no certificate.
    pub(super) fn trust(&mut self, pem: &[u8]) -> Result<(), ConfigError> {
        let refused = |why: &str| ConfigError::new("ca_pem", why, "certificates in PEM");
        let certificates =
            Certificate::from_pem_bundle(pem).map_err(|error| refused(&error.to_string()))?;
        if certificates.is_empty() {
            return Err(refused("without a certificate"));
        }
        self.roots.extend(certificates);
        Ok(())
    }

    /// # Errors
    ///
    /// When these are no certificate and key. The error repeats nothing of them.
    pub(super) fn identify(&mut self, certificate: &[u8], key: &[u8]) -> Result<(), ConfigError> {
        let both = [certificate, b"\n", key].concat();
        let identity = Identity::from_pem(&both).map_err(|_| {
            let allowed = "a certificate and its key in PEM";
            ConfigError::new("identity_pem", "not shown", allowed)
        })?;
        self.identity = Some(identity);
        Ok(())
    }

    pub(super) fn trust_any(&mut self) {
        self.any = true;
    }

    pub(super) fn apply(&self, mut client: ClientBuilder) -> ClientBuilder {
        if !self.roots.is_empty() {
            client = client.tls_certs_only(self.roots.iter().cloned());
        }
        if let Some(identity) = &self.identity {
            client = client.identity(identity.clone());
        }
        if self.any {
            client = client.tls_danger_accept_invalid_certs(true);
        }
        client
    }
}
