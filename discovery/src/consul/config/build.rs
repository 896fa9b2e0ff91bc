//! The checks that a description of agents passes before any request.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, redirect};
use seawall_core::ConfigError;
use tokio::sync::Semaphore;

use super::ConsulBuilder;
use crate::{
    Consul, EmptyAnswers,
    consul::{
        Shared,
        address::Address,
        herd::Herd,
        http::{Http, Peer},
        settings::Settings,
        turns::Turns,
    },
    hub::Hub,
};

/// Consul answers no later than this, whatever it is asked for.
const WAIT_MAX: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Finds out that the other side vanished without a word while a query waits.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Registrations and heartbeats under way at once. With those of the watches, half of the
/// connections that Consul grants to one client address.
const COMMANDS: usize = 32;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl ConsulBuilder {
    /// The agent. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<Consul, ConfigError> {
        let addresses = self.addresses()?;
        let ms = Duration::from_millis;
        within("return_after", self.return_after, ms(10), DAY, "10 ms to 24 h")?;
        within("wait", self.wait, ms(10), WAIT_MAX, "10 ms to 10 min")?;
        within("wait_slack", self.slack, ms(10), DAY, "10 ms to 24 h")?;
        within("request_timeout", self.request_timeout, ms(10), DAY, "10 ms to 24 h")?;
        within("backoff", self.backoff.first, ms(1), self.backoff.most, "1 ms to its own most")?;
        within("backoff", self.backoff.most, ms(1), DAY, "1 ms to 24 h")?;
        if let EmptyAnswers::HoldFor(grace) = self.empty_answers {
            within("empty_answers", grace, Duration::ZERO, DAY, "up to 24 h")?;
        }
        if self.answer_max < 1024 {
            return Err(ConfigError::new("max_answer_bytes", self.answer_max, "at least 1024"));
        }
        if self.in_flight == 0 {
            return Err(ConfigError::new("max_in_flight", 0, "at least 1"));
        }
        self.query.check()?;
        for (field, name) in [("namespace", &self.namespace), ("partition", &self.partition)] {
            if name.as_deref() == Some("") {
                return Err(ConfigError::new(field, "empty", "a name"));
            }
        }
        let token = self.token.clone()?;
        let peers = addresses.into_iter().map(|address| self.peer(address));
        let peers: Vec<_> = peers.collect::<Result<_, _>>()?;
        let settings = Settings {
            token,
            auth: self.auth,
            return_after: self.return_after,
            query: self.query,
            namespace: self.namespace,
            partition: self.partition,
            wait: self.wait,
            slack: self.slack,
            request_timeout: self.request_timeout,
            backoff: self.backoff,
            empty_answers: self.empty_answers,
            answer_max: self.answer_max,
            in_flight: self.in_flight,
        };
        let http = Http::new(peers, settings.clone());
        let turns = Turns::new(settings.in_flight);
        let (hub, herd) = (Hub::default(), Herd::default());
        Ok(Consul { shared: Arc::new(Shared { settings, http, hub, turns, herd }) })
    }

    fn addresses(&self) -> Result<Vec<Address>, ConfigError> {
        let mut addresses = Vec::<Address>::new();
        for url in &self.urls {
            let address = Address::parse(url)?;
            if addresses.iter().any(|other| other.name() == address.name()) {
                return Err(ConfigError::new("url", address.name(), "each agent once"));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }

    fn peer(&self, address: Address) -> Result<Peer, ConfigError> {
        let (control, waiting) = (self.client(&address)?, self.client(&address)?);
        let places = Semaphore::new(COMMANDS);
        Ok(Peer { control, places, waiting, name: address.name(), base: address.base })
    }

    fn client(&self, address: &Address) -> Result<Client, ConfigError> {
        let client = Client::builder()
            // A proxy for the web at large is none for an agent on this machine.
            .no_proxy()
            // A redirect would carry the token to wherever it points.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE);
        let client = address.apply(client);
        #[cfg(feature = "consul-tls")]
        let client = self.tls.clone()?.apply(client);
        (self.customize)(client).build().map_err(|error| {
            ConfigError::new("customize_client", error, "what reqwest can build a client of")
        })
    }
}

fn within(
    field: &'static str,
    value: Duration,
    min: Duration,
    max: Duration,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if value < min || value > max {
        return Err(ConfigError::new(field, format_args!("{value:?}"), allowed));
    }
    Ok(())
}
