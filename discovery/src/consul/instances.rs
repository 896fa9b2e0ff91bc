//! The instances of one service, as they are followed.

use super::{
    Query,
    decode::{self, Skipped},
    follow::Subject,
};
use crate::Publisher;
use seawall_core::Endpoint;

pub(super) struct Instances {
    service: String,
    query: Query,
    publisher: Publisher,
    /// Those that were warned of.
    skipped: Vec<Skipped>,
}

impl Instances {
    pub(super) fn new(service: String, query: Query, publisher: Publisher) -> Self {
        Self { service, query, publisher, skipped: Vec::new() }
    }
}

impl Subject for Instances {
    type Set = Vec<Endpoint>;

    fn name(&self) -> &str {
        &self.service
    }

    fn path(&self) -> Vec<&str> {
        vec!["v1", "health", "service", &self.service]
    }

    fn query(&self) -> &Query {
        &self.query
    }

    fn read(&mut self, body: &[u8]) -> Result<Vec<Endpoint>, serde_json::Error> {
        let read = decode::instances(body, self.query.weights())?;
        if read.skipped != self.skipped {
            for Skipped { id, why } in &read.skipped {
                tracing::warn!(service = self.service, id, why, "instance is skipped");
            }
            self.skipped = read.skipped;
        }
        Ok(read.endpoints)
    }

    fn is_empty(set: &Vec<Endpoint>) -> bool {
        set.is_empty()
    }

    fn holds_any(&self) -> bool {
        !self.publisher.current().is_empty()
    }

    fn publish(&self, set: Vec<Endpoint>) {
        self.publisher.publish(set);
    }

    fn fresh(&self) {
        self.publisher.fresh();
    }

    fn stale(&self, why: String) {
        self.publisher.stale(why);
    }
}
