//! What a lease asks of a Consul agent.

use std::collections::BTreeMap;

use seawall_core::Health;
use serde::Serialize;

use super::Consul;
use crate::{Agent, RegisterError, Registration, registration::ZONE, wire};

/// The body of `/v1/agent/service/register`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: &'a str,
    port: u16,
    tags: Vec<&'a str>,
    meta: BTreeMap<&'a str, &'a str>,
    weights: Weights,
    checks: Vec<Check>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    name: String,
    #[serde(rename = "TTL")]
    ttl: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deregister_critical_service_after: Option<String>,
}

/// The body of `/v1/agent/check/update/…`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    status: &'static str,
}

impl<'a> Service<'a> {
    fn new(of: &'a Registration, health: Health) -> Self {
        let mut meta: BTreeMap<_, _> = of.metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        if let Some(zone) = &of.zone {
            meta.insert(ZONE, zone);
        }
        let check = of.ttl.map(|ttl| Check {
            id: wire::check_id(of),
            name: format!("heartbeats of {}", of.id),
            ttl: wire::millis(ttl),
            status: wire::status(health),
            deregister_critical_service_after: of.forget_after.map(wire::millis),
        });
        Self {
            id: &of.id,
            name: &of.service,
            address: of.address.host(),
            port: of.address.port(),
            tags: of.tags.iter().map(|tag| &**tag).collect(),
            meta,
            weights: Weights { passing: of.weight, warning: of.warning_weight },
            checks: check.into_iter().collect(),
        }
    }
}

impl Agent for Consul {
    async fn register(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        wire::check_allows(registration, health)?;
        let body = self.json(&Service::new(registration, health))?;
        let path = ["v1", "agent", "service", "register"];
        // Ends the maintenance that an earlier life of the same id may have left, too.
        self.shared.http.put(&path, &[("replace-existing-checks", "true")], body).await?;
        if health == Health::Maintenance {
            self.maintain(registration, true).await?;
        }
        Ok(())
    }

    async fn heartbeat(
        &self,
        registration: &Registration,
        health: Health,
    ) -> Result<(), RegisterError> {
        if registration.ttl.is_none() {
            let id = &registration.id;
            return self.shared.http.ask(&["v1", "agent", "service", id]).await.map(drop);
        }
        let body = self.json(&Update { status: wire::status(health) })?;
        let id = wire::check_id(registration);
        self.shared.http.put(&["v1", "agent", "check", "update", &id], &[], body).await
    }

    async fn change_health(
        &self,
        registration: &Registration,
        before: Health,
        after: Health,
    ) -> Result<(), RegisterError> {
        wire::check_allows(registration, after)?;
        if (before == Health::Maintenance) != (after == Health::Maintenance) {
            self.maintain(registration, after == Health::Maintenance).await?;
        }
        self.heartbeat(registration, after).await
    }

    async fn deregister(&self, id: &str) -> Result<(), RegisterError> {
        Consul::deregister(self, id).await
    }
}

impl Consul {
    async fn maintain(&self, of: &Registration, enable: bool) -> Result<(), RegisterError> {
        let query = [("enable", if enable { "true" } else { "false" })];
        let path = ["v1", "agent", "service", "maintenance", &of.id];
        self.shared.http.put(&path, &query, Vec::new()).await
    }

    fn json(&self, body: &impl Serialize) -> Result<Vec<u8>, RegisterError> {
        serde_json::to_vec(body).map_err(|error| self.shared.http.garbled(error))
    }
}
