//! One instance in the answer of `/v1/health/service/…`.

use std::borrow::Cow;

use seawall_core::{Address, Endpoint, Health};
use serde::Deserialize;

use super::{WeightFrom, checks::Checks, pairs::Pairs, words::Words};
use crate::registration::ZONE;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    node: Node<'a>,
    #[serde(borrow)]
    service: Service<'a>,
    #[serde(default)]
    checks: Checks,
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
    meta: Option<Pairs<'a>>,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: Option<i64>,
    warning: Option<i64>,
}

/// Borrows inside an `Option` too, which a bare `Cow` does not.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'a> Entry<'a> {
    pub(super) fn id(&self) -> &str {
        &self.service.id.0
    }

    /// The name of its node, empty if that has none.
    pub(super) fn into_node(self) -> Cow<'a, str> {
        self.node.node.map(|name| name.0).unwrap_or_default()
    }

    /// `None` if it is not to be called now.
    ///
    /// # Errors
    ///
    /// What about it makes no sense.
    pub(super) fn endpoint(
        &self,
        weights: &WeightFrom,
        words: &mut Words,
    ) -> Result<Option<Endpoint>, String> {
        let health = self.checks.health()?;
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
            .with_tags(service.tags.iter().flatten().map(|tag| words.shared(&tag.0)));
        for (key, value) in service.meta.iter().flat_map(Pairs::iter) {
            let shared = words.shared(value.unwrap_or(""));
            if key == ZONE && !shared.is_empty() {
                endpoint = endpoint.with_zone(shared.clone());
            }
            endpoint = endpoint.with_metadata(words.shared(key), shared);
        }
        Ok(Some(endpoint))
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
                .flat_map(Pairs::iter)
                .find_map(|(name, value)| if *name == **key { value } else { None }),
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
