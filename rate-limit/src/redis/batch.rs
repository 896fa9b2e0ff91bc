//! Questions that go out together.

use std::collections::HashMap;

use ::redis::Value;
use tokio::time::Instant;

use super::{
    ask::{Ask, Failure},
    link::{Call, short_answer},
    plan::{Plan, RunReply},
    rule::State,
    slot::name,
    store::Question,
};

/// Questions by key: each group is one call of the script.
pub(super) struct Batch {
    groups: Vec<Group>,
}

/// Questions about one key, in order.
struct Group {
    questions: Vec<Question>,
    /// Equal questions in a row, and how many they are.
    runs: Vec<(Ask, u64)>,
}

impl Batch {
    pub(super) fn new(questions: Vec<Question>) -> Self {
        let is_one = questions.windows(2).all(|pair| pair[0].is_alike(&pair[1]));
        let mut groups = Vec::new();
        if is_one {
            groups.push(Group::new(questions));
        } else {
            let mut places = HashMap::with_capacity(questions.len());
            for question in questions {
                let place = *places.entry(question.key.clone()).or_insert(groups.len());
                match groups.get_mut(place) {
                    Some(Group { questions, .. }) if question.is_alike(&questions[0]) => {
                        questions.push(question);
                    }
                    _ => {
                        // Another plan than before: a call of its own, after the first.
                        places.insert(question.key.clone(), groups.len());
                        groups.push(Group { questions: vec![question], runs: Vec::new() });
                    }
                }
            }
            groups.iter_mut().for_each(Group::find_runs);
        }
        Self { groups }
    }

    pub(super) fn calls(&self, prefix: &str) -> Vec<Call> {
        self.groups.iter().map(|group| group.call(prefix)).collect()
    }

    /// When the next one is too late that has no answer yet.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let groups = self.groups.iter();
        // Those who asked first are first, in each group.
        groups
            .filter_map(|group| group.questions.iter().find(|question| question.tell.is_some()))
            .map(|question| question.deadline)
            .min()
    }

    pub(super) fn each_open(&mut self, mut act: impl FnMut(&mut Question)) {
        self.groups.iter_mut().flat_map(|group| &mut group.questions).for_each(&mut act);
    }

    pub(super) fn tell(&mut self, replies: Vec<(usize, Result<Value, Failure>)>) {
        for (place, reply) in replies {
            let group = &mut self.groups[place];
            if let Err(failure) = reply.and_then(|reply| group.tell(&reply)) {
                for question in &mut group.questions {
                    question.tell(Err(failure.clone()));
                }
            }
        }
    }
}

impl Question {
    fn is_alike(&self, other: &Self) -> bool {
        self.key == other.key && self.plan.is(&other.plan)
    }
}

impl Group {
    fn new(questions: Vec<Question>) -> Self {
        let mut group = Self { questions, runs: Vec::new() };
        group.find_runs();
        group
    }

    fn find_runs(&mut self) {
        for question in &self.questions {
            match self.runs.last_mut() {
                Some((ask, count)) if *ask == question.ask => *count += 1,
                _ => self.runs.push((question.ask, 1)),
            }
        }
    }

    fn plan(&self) -> &Plan {
        &self.questions[0].plan
    }

    fn call(&self, prefix: &str) -> Call {
        let (plan, key) = (self.plan(), &self.questions[0].key);
        let mut call = Call {
            keys: Vec::with_capacity(plan.rules().len()),
            arguments: Vec::with_capacity((plan.rules().len() + self.runs.len()) * 4),
        };
        for (index, rule) in plan.rules().iter().enumerate() {
            let (algorithm, rate, cell, size) = rule.arguments();
            call.keys.push(name(prefix, key, algorithm, index));
            call.arguments.push(vec![algorithm as u8]);
            call.arguments.extend([rate, cell, size].map(|number| number.to_string().into_bytes()));
        }
        for (ask, count) in &self.runs {
            call.arguments.push(ask.kind.word().into());
            let numbers = [ask.cost.into(), ask.spare, *count];
            call.arguments.extend(numbers.map(|number: u64| number.to_string().into_bytes()));
        }
        call
    }

    /// Tells each of them its answer.
    fn tell(&mut self, reply: &Value) -> Result<(), Failure> {
        let limits = self.plan().rules().len();
        let numbers = numbers(reply).ok_or_else(short_answer)?;
        let plan = self.plan().clone();
        let (now, rest) = numbers.split_first().ok_or_else(short_answer)?;
        if rest.len() != self.runs.len() * (1 + 3 * limits) {
            return Err(short_answer().into());
        }
        let mut questions = self.questions.iter_mut();
        let mut states: Vec<State> = Vec::with_capacity(limits);
        for (&(ask, count), run) in self.runs.iter().zip(rest.chunks_exact(1 + 3 * limits)) {
            states.clear();
            states.extend(run[1..].chunks_exact(3).map(|state| [state[0], state[1], state[2]]));
            let run = RunReply { passed: run[0], states: &states };
            for (place, question) in (0..count).zip(&mut questions) {
                question.tell(Ok(plan.answer(&run, ask, place, *now)));
            }
        }
        Ok(())
    }
}

fn numbers(reply: &Value) -> Option<Vec<u64>> {
    let Value::Array(values) = reply else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    values.iter().map(number).collect()
}
