//! What the checks of an instance amount to.

use std::fmt;

use seawall_core::Health;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::entry::Text;

/// What a node or an operator puts on an instance, in place of its own health.
const NODE_MAINTENANCE: &str = "_node_maintenance";
const SERVICE_MAINTENANCE: &str = "_service_maintenance";

/// The worst of the checks, as Consul itself sums up: maintenance beats critical, which beats
/// warning.
#[derive(Default)]
pub(super) struct Checks {
    worst: Health,
    /// The first whose status is none.
    unknown: Option<String>,
}

#[derive(Deserialize)]
struct Check<'a> {
    #[serde(rename = "CheckID", borrow)]
    id: Option<Text<'a>>,
    #[serde(rename = "Status", borrow)]
    status: Option<Text<'a>>,
}

impl Checks {
    /// # Errors
    ///
    /// Names a check whose status is none.
    pub(super) fn health(&self) -> Result<Health, String> {
        match &self.unknown {
            Some(why) => Err(why.clone()),
            None => Ok(self.worst),
        }
    }

    fn take(&mut self, check: &Check<'_>) {
        let id = check.id.as_ref().map_or("", |id| &id.0);
        let health = match check.status.as_ref().map_or("", |status| &status.0) {
            _ if id == NODE_MAINTENANCE || id.starts_with(SERVICE_MAINTENANCE) => {
                Health::Maintenance
            }
            "passing" => Health::Passing,
            "warning" => Health::Warning,
            "critical" => Health::Critical,
            unknown => {
                let why = || format!("the status of its check {id:?} is {unknown:?}");
                self.unknown.get_or_insert_with(why);
                return;
            }
        };
        self.worst = self.worst.max(health);
    }
}

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Checks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of checks")
            }

            fn visit_unit<E>(self) -> Result<Checks, E> {
                Ok(Checks::default())
            }

            fn visit_none<E>(self) -> Result<Checks, E> {
                Ok(Checks::default())
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Checks, D::Error> {
                from.deserialize_seq(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Checks, A::Error> {
                let mut checks = Checks::default();
                while let Some(check) = list.next_element::<Check<'de>>()? {
                    checks.take(&check);
                }
                Ok(checks)
            }
        }

        from.deserialize_option(List)
    }
}
