//! Checks over HTTP.

use std::{ops::RangeInclusive, sync::Arc};

use seawall_core::Endpoint;

use crate::{Check, CheckFuture, MakeEndpoint, reqwest::MakeClient};

/// Passes when a GET of a path is answered with an expected status: 200 to 299 unless set.
///
/// ```
/// use seawall_load_balance::{ActiveChecks, reqwest::{HttpCheck, MakeClient}};
///
/// let client = MakeClient::new("orders.internal");
/// let checks = ActiveChecks::new(HttpCheck::new(client, "https://orders.internal/healthz"));
/// # let _ = checks;
/// ```
///
/// # Cost
///
/// Each check makes a client and a connection of its own, so that it sees what a new caller would.
#[derive(Clone, Debug)]
pub struct HttpCheck {
    make: MakeClient,
    url: Arc<str>,
    expected: RangeInclusive<u16>,
}

impl HttpCheck {
    /// Gets `url`, whose host is the one that `make` was made for, from each endpoint.
    pub fn new(make: MakeClient, url: impl Into<Arc<str>>) -> Self {
        Self { make, url: url.into(), expected: 200..=299 }
    }

    /// The statuses that pass.
    #[must_use]
    pub fn expect(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.expected = statuses;
        self
    }
}

impl Check for HttpCheck {
    fn check(&self, endpoint: &Endpoint) -> CheckFuture {
        let client = self.make.make(endpoint);
        let (url, expected) = (self.url.clone(), self.expected.clone());
        Box::pin(async move {
            let status = client?.get(&*url).send().await?.status();
            if expected.contains(&status.as_u16()) {
                Ok(())
            } else {
                Err(format!("answered {status}").into())
            }
        })
    }
}
