//! What a limiter looks like at one moment.

use std::{sync::Arc, time::Duration};

use crate::{Quota, Totals};

/// How a limiter stood when it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// Its name, if it has one.
    pub name: Option<Arc<str>>,
    /// What it limits to.
    pub quota: Quota,
    /// How many cells are left.
    pub remaining: u32,
    /// How long until it is at rest, if nobody calls until then.
    #[cfg_attr(feature = "serde", serde(with = "seawall_core::duration"))]
    pub reset_after: Duration,
    /// How many cells sheddable calls leave alone.
    pub reserve: u32,
    /// Whether it refuses nothing.
    pub shadow: bool,
    /// How many calls it decided on, where that is counted.
    pub totals: Option<Totals>,
}
