//! The limits of a key, and how they answer what the script says.

use std::{num::NonZeroU64, sync::Arc};

use seawall_core::ConfigError;

use super::{
    ask::{Answer, Ask, Kind},
    rule::{Rule, State},
};
use crate::{
    Allowed, Quota, Rejected, TokenBucket,
    algorithm::{Algorithm, FixedWindow, Several, SlidingCounter, SlidingLog},
    decision::Standing,
};

/// The most limits of one key.
const LIMITS_MAX: usize = 64;

/// What Redis keeps for each key: one limit, or several of which a call has to meet all.
///
/// Made from a [`Quota`], which is a token bucket, or from the [`algorithm`](crate::algorithm) that a
/// local limiter would be made [of](crate::RateLimiter::of).
#[derive(Clone, Debug)]
pub struct Plan {
    rules: Arc<[Rule]>,
}

impl Plan {
    fn new(rule: Rule) -> Self {
        Self { rules: Arc::new([rule]) }
    }

    /// All of `plans`, 1 to 64 limits together, which may be of different algorithms.
    ///
    /// # Errors
    ///
    /// When there are none, or more.
    pub fn all_of(plans: impl IntoIterator<Item = Self>) -> Result<Self, ConfigError> {
        let rules: Vec<Rule> = plans
            .into_iter()
            .flat_map(|plan| plan.rules.iter().copied().collect::<Vec<_>>())
            .collect();
        if rules.is_empty() || rules.len() > LIMITS_MAX {
            let allowed = format!("1 to {LIMITS_MAX} limits");
            return Err(ConfigError::new("limits", rules.len(), allowed));
        }
        Ok(Self { rules: rules.into() })
    }

    /// The quota of the first limit.
    pub fn quota(&self) -> Quota {
        self.rules.first().map_or(Quota::per_second(1), Rule::quota)
    }

    pub(crate) fn quotas(&self) -> Vec<Quota> {
        self.rules.iter().map(Rule::quota).collect()
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How it stands as far as nobody knows better: nothing is left.
    pub(crate) fn unknown(&self) -> Allowed {
        let limit = self.rules.iter().map(|rule| rule.quota().capacity()).min().unwrap_or(0);
        Allowed::new(Standing {
            limit: limit.into(),
            room: 0,
            unit: NonZeroU64::MIN,
            reset_nanos: 0,
        })
    }

    /// The same limits, known without looking at them.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rules, &other.rules)
    }

    /// What the question at `place` of a run of equal ones is answered.
    pub(crate) fn answer(&self, run: &RunReply<'_>, ask: Ask, place: u64, now: u64) -> Answer {
        let (cost, spare) = (u64::from(ask.cost), ask.spare);
        let (passed, before, cells) = match ask.kind {
            Kind::Take => (place < run.passed, place.min(run.passed) * cost, cost),
            Kind::Peek => (place < run.passed, 0, cost),
            Kind::Refund => (true, 0, 0),
            Kind::AtMost => {
                let before = (place * cost).min(run.passed);
                (true, before, cost.min(run.passed - before))
            }
        };
        let result = if passed {
            Ok(self.allow(run.states, now, before, cells))
        } else {
            Err(self.refuse(run.states, now, before, cost + spare))
        };
        let took = passed && ask.kind != Kind::Peek;
        Answer { result, cells: if took { cells as u32 } else { 0 }, now_micros: now }
    }

    fn allow(&self, states: &[State], now: u64, before: u64, cells: u64) -> Allowed {
        let answers = (0..).zip(self.rules.iter().zip(states));
        let answers =
            answers.map(|(index, (rule, state))| rule.allow(*state, now, before, cells).at(index));
        // The first of those that are as scarce.
        answers
            .reduce(|least, next| if next.remaining() < least.remaining() { next } else { least })
            .expect("there is a limit, checked when it was built")
    }

    fn refuse(&self, states: &[State], now: u64, before: u64, asked: u64) -> Rejected {
        let answers = (0..).zip(self.rules.iter().zip(states));
        let answers = answers.filter_map(|(index, (rule, state))| {
            rule.refuse(*state, now, before, asked).map(|rejected| rejected.at(index))
        });
        let last = answers.reduce(|last, next| if next.is_later_than(&last) { next } else { last });
        // Each limit refused for less than a nanosecond.
        last.unwrap_or_else(|| {
            let (rule, state) = (&self.rules[0], states.first().copied().unwrap_or_default());
            Rejected::after(1, rule.allow(state, now, before, 0).standing())
        })
    }
}

/// What the script says about a run of equal questions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunReply<'a> {
    /// How many passed; how many cells, where the question is "at most".
    pub(crate) passed: u64,
    /// How each limit stood before.
    pub(crate) states: &'a [State],
}

/// What a shared limiter can be made of: a [`Quota`], or the algorithm of a local limiter.
pub trait IntoPlan {
    /// The limits in whole numbers that Redis can count with.
    ///
    /// # Errors
    ///
    /// When a period is not of whole microseconds, or when a quota is too large to be counted exactly
    /// in 53 bits.
    fn into_plan(self) -> Result<Plan, ConfigError>;
}

impl IntoPlan for Plan {
    fn into_plan(self) -> Result<Plan, ConfigError> {
        Ok(self)
    }
}

macro_rules! into_plan {
    ($($from:ty => $rule:path: $quota:expr),* $(,)?) => {$(
        impl IntoPlan for $from {
            fn into_plan(self) -> Result<Plan, ConfigError> {
                let quota: fn(Self) -> Quota = $quota;
                $rule(quota(self)).map(Plan::new)
            }
        }
    )*};
}

into_plan! {
    Quota => Rule::bucket: |quota| quota,
    TokenBucket => Rule::bucket: |bucket| Algorithm::quota(&bucket),
    SlidingLog => Rule::log: |log| Algorithm::quota(&log),
    SlidingCounter => Rule::counter: |counter| Algorithm::quota(&counter),
    FixedWindow => Rule::fixed: |window| Algorithm::quota(&window),
}

impl<A: Algorithm + IntoPlan> IntoPlan for Several<A> {
    fn into_plan(self) -> Result<Plan, ConfigError> {
        let plans = self.limits().iter().cloned().map(A::into_plan);
        Plan::all_of(plans.collect::<Result<Vec<_>, _>>()?)
    }
}
