//! One instance in the answer of `/v1/health/service/…`.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use seawall_core::{Address, Endpoint, Health};
use serde::Deserialize;

use super::WeightFrom;
use crate::registration::ZONE;

/// What a node or an operator puts on an instance, in place of its own health.
const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    node: Node<'a>,
    #[serde(borrow)]
    service: Service<'a>,
    #[serde(borrow)]
    checks: Option<Vec<Check<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node<'a> {
    #[serde(borrow)]
    node: Option<Text<'a>>,
    #[serde(borrow)]
    address: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID", borrow)]
    id: Text<'a>,
    #[serde(borrow)]
    address: Option<Text<'a>>,
    port: i64,
    #[serde(borrow)]
    tags: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    meta: Option<BTreeMap<Text<'a>, Option<Text<'a>>>>,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: Option<i64>,
    warning: Option<i64>,
}

#[derive(Deserialize)]
struct Check<'a> {
    #[serde(rename = "CheckID", borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "Status", borrow)]
    status: Option<Text<'a>>,
}

/// Borrows inside an `Option` too, which a bare `Cow` does not.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Entry<'_> {
    pub(super) fn id(&self) -> &str {
        &self.service.id.0
    }

    /// The name of its node, empty if that has none.
    pub(super) fn into_node(self) -> String {
        self.node.node.map(|name| name.0.into_owned()).unwrap_or_default()
    }

    /// `None` if it is not to be called now.
    ///
    /// # Errors
    ///
    /// What about it makes no sense.
    pub(super) fn endpoint(&self, weights: &WeightFrom) -> Result<Option<Endpoint>, String> {
        let health = self.health()?;
        if matches!(health, Health::Critical | Health::Maintenance) {
            return Ok(None);
        }
        let service = &self.service;
        if service.id.0.is_empty() {
            return Err("it has no id".to_owned());
        }
        let own = [&service.address, &self.node.address];
        let host = own.into_iter().flatten().map(|text| &*text.0).find(|host| !host.is_empty());
        let host = host.ok_or("neither it nor its node has an address")?;
        let port = u16::try_from(service.port).map_err(|_| format!("its port is {}", service.port));
        let address = Address::new(host, port?).map_err(|error| error.to_string())?;
        let mut endpoint = Endpoint::new(&*service.id.0, address)
            .with_health(health)
            .with_weight(self.weight(health, weights)?)
            .with_tags(service.tags.iter().flatten().map(|tag| Arc::from(&*tag.0)));
        for (key, value) in service.meta.iter().flatten() {
            let value = value.as_ref().map_or("", |value| &value.0);
            if key.0 == ZONE && !value.is_empty() {
                endpoint = endpoint.with_zone(value);
            }
            endpoint = endpoint.with_metadata(&*key.0, value);
        }
        Ok(Some(endpoint))
    }

    /// As Consul itself sums up: maintenance beats critical, which beats warning.
    fn health(&self) -> Result<Health, String> {
        let mut worst = Health::Passing;
        for check in self.checks.iter().flatten() {
            let id = check.id.as_ref().map_or("", |id| &id.0);
            let health = match check.status.as_ref().map_or("", |status| &status.0) {
                _ if id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE) => {
                    Health::Maintenance
                }
                "passing" => Health::Passing,
                "warning" => Health::Warning,
                "critical" => Health::Critical,
                unknown => return Err(format!("the status of its check {id:?} is {unknown:?}")),
            };
            worst = worst.max(health);
        }
        Ok(worst)
    }

    fn weight(&self, health: Health, from: &WeightFrom) -> Result<u16, String> {
        let service = &self.service;
        let text = match from {
            WeightFrom::Weights => None,
            WeightFrom::Tag(key) => service.tags.iter().flatten().find_map(|tag| {
                let (name, value) = tag.0.split_once('=')?;
                (*name == **key).then_some(value)
            }),
            WeightFrom::Metadata(key) => service
                .meta
                .iter()
                .flatten()
                .find_map(|(name, value)| (*name.0 == **key).then_some(&*value.as_ref()?.0)),
        };
        if let Some(text) = text {
            return text.parse().map_err(|_| format!("its weight is {text:?}"));
        }
        let weight = service.weights.as_ref().and_then(|weights| match health {
            Health::Warning => weights.warning,
            _ => weights.passing,
        });
        let weight = weight.unwrap_or(1);
        u16::try_from(weight).map_err(|_| format!("its weight is {weight}"))
    }
}
