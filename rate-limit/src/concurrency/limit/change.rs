//! A limit that moves, by hand or by itself.

use std::sync::atomic::Ordering::Relaxed;

use seawall_core::ConfigError;

use super::{ConcurrencyLimit, Rule};
use crate::concurrency::{
    config::{Config, Limit, Queueing},
    estimator::Estimator,
    sample::Sample,
};

impl ConcurrencyLimit {
    /// Changes the limit while it is in use. Calls in flight stay, those who wait are let in as far
    /// as there is room. A limit that adapts goes on from there.
    ///
    /// # Errors
    ///
    /// When it is not 1 to 1,000,000, or outside of the bounds of a limit that adapts. Nothing has
    /// changed then.
    pub fn set_limit(&self, limit: u32) -> Result<(), ConfigError> {
        let now = {
            let mut rule = self.rule();
            let bounds = rule.limit.bounds();
            if bounds.clamp(limit) != limit {
                let allowed = format!("{} to {}", bounds.min, bounds.max);
                return Err(ConfigError::new("limit", limit, allowed));
            }
            if let Limit::Fixed(fixed) = &mut rule.limit {
                *fixed = limit;
            }
            rule.estimator = Estimator::starting_at(rule.limit, limit);
            self.move_limit(&rule)
        };
        self.moved(now);
        Ok(())
    }

    /// Goes by another configuration from now on. Calls in flight stay, and so do those who wait,
    /// with the time that they were given. A limit that adapts goes on from where it is, or from its
    /// nearest bound.
    pub fn reconfigure(&self, config: Config) {
        let Config { limit, queue } = config;
        let moved = {
            let mut rule = self.rule();
            *rule =
                Rule { limit, estimator: Estimator::starting_at(limit, rule.estimator.limit()) };
            // Relaxed: a call that sees the old values is one that came a moment earlier.
            self.shared.measures.store(limit.measures(), Relaxed);
            self.shared.queues.store(queue.calls > 0, Relaxed);
            self.shared.gate.set_rule(queue);
            self.move_limit(&rule)
        };
        self.moved(moved);
    }

    /// What it goes by.
    pub fn config(&self) -> Config {
        let limit = self.rule().limit;
        let queue: Queueing = self.shared.gate.rule();
        Config { limit, queue }
    }

    /// A call has ended, and still holds its place.
    pub(in crate::concurrency) fn sample(&self, sample: &Sample) {
        let moved = {
            let mut rule = self.rule();
            let before = rule.estimator.limit();
            rule.estimator.sample(self.clock().now(), sample);
            if rule.estimator.limit() == before {
                return;
            }
            self.move_limit(&rule)
        };
        self.moved(moved);
    }

    /// Makes the limit that of `rule`, whose lock keeps two moves in order.
    fn move_limit(&self, rule: &Rule) -> (u32, u32) {
        let to = rule.estimator.limit();
        (self.gate().set_limit(to), to)
    }

    fn moved(&self, (from, to): (u32, u32)) {
        if from != to
            && let Some(observer) = &self.shared.observer
        {
            observer.limit_changed(self.name(), from, to);
        }
    }
}
