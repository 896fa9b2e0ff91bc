//! The run as data: what the view shows, what `--json` writes, and what the report draws.

mod events;

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    faults::Kind,
    fleet::Condition,
    library::{Breaker, Client, DeedKind, Follower, Limiter, Protocol},
    meter::{Figures, Look},
};

pub(crate) use events::{Event, What};

/// A run, up to now.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) grpc: Figures,
    pub(crate) http: Figures,
    pub(crate) faults: Vec<Done>,
    pub(crate) endpoints: Vec<Row>,
    pub(crate) limiter: Limiter,
    /// Attempts that were made because an earlier one of the same call had failed.
    pub(crate) retries: u64,
    pub(crate) run: Run,
    pub(crate) events: Vec<Event>,
    pub(crate) windows: Vec<Window>,
    #[serde(skip)]
    followers: BTreeMap<Protocol, Follower>,
    /// Attempts beyond the calls, at the last look.
    #[serde(skip)]
    beyond: u64,
}

/// What was asked for, and how far it got.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) registry: String,
    pub(crate) duration_s: f64,
    pub(crate) rps: u32,
    pub(crate) seed: u64,
    /// How long it ran by now; less than `duration_s` at the end when it was stopped.
    pub(crate) ran_s: f64,
    /// When callers asked for more than the limit allows.
    pub(crate) rush_s: (f64, f64),
}

/// A fault that was done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) at_s: f64,
    pub(crate) kind: Kind,
    pub(crate) endpoint: String,
}

/// One endpoint: its counts over the run, in attempts, and how it is now.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) ejections: u64,
    /// Empty while it is not registered.
    pub(crate) address: String,
    pub(crate) condition: Condition,
    pub(crate) weight: u16,
    pub(crate) in_flight: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) errors_per_s: f64,
    /// Of the calls that it answered in the last window, retries included.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) grpc: Breaker,
    pub(crate) http: Breaker,
}

/// The figures of a short time.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Window {
    /// When it ended.
    pub(crate) at_s: f64,
    /// Since the run began.
    pub(crate) retries: u64,
    pub(crate) grpc: Figures,
    pub(crate) http: Figures,
    pub(crate) endpoints: Vec<Row>,
}

impl Record {
    pub(crate) fn new<T: Into<String>>(run: Run, servers: impl IntoIterator<Item = T>) -> Self {
        let row = |id: T| Row { id: id.into(), ..Row::default() };
        Self {
            grpc: Figures::default(),
            http: Figures::default(),
            faults: Vec::new(),
            endpoints: servers.into_iter().map(row).collect(),
            limiter: Limiter::default(),
            retries: 0,
            run,
            events: Vec::new(),
            windows: Vec::new(),
            followers: Protocol::BOTH.map(|protocol| (protocol, Follower::default())).into(),
            beyond: 0,
        }
    }

    /// Notes what was done to a server.
    pub(crate) fn fault(&mut self, at: Duration, kind: Kind, endpoint: &str, text: String) {
        let at_s = seconds(at);
        self.faults.push(Done { at_s, kind, endpoint: endpoint.to_owned() });
        let (what, endpoint) = (What::Demo(kind), Some(endpoint.to_owned()));
        self.events.push(Event { at_s, endpoint, what, text });
    }

    /// Notes what concerns no single server.
    pub(crate) fn event(&mut self, at: Duration, what: What, text: String) {
        self.events.push(Event { at_s: seconds(at), endpoint: None, what, text });
    }

    /// Notes how a client looks now, and what it did since the last time.
    pub(crate) fn client(&mut self, at: Duration, protocol: Protocol, client: Client) {
        let Some(follower) = self.followers.get_mut(&protocol) else { return };
        for deed in follower.step(client) {
            // Finding the servers at the start is no news.
            if deed.kind != DeedKind::Found || !self.faults.is_empty() {
                events::deed(&mut self.events, at, protocol, deed);
            }
        }
        self.limiter = self.followers.values().fold(Limiter::default(), |sum, follower| {
            let limiter = follower.now().limiter;
            Limiter {
                allowed: sum.allowed + limiter.allowed,
                rejected: sum.rejected + limiter.rejected,
            }
        });
        for row in &mut self.endpoints {
            row.read(&self.followers);
        }
    }

    /// Counts the retries, when both clients were just looked at.
    pub(crate) fn count_retries(&mut self) {
        // The limiter sees every call once, before its first attempt.
        let attempts: u64 = self.endpoints.iter().map(|row| row.calls).sum();
        let beyond = attempts.saturating_sub(self.limiter.allowed);
        // A call that began while its client was looked at is not a retry: the next look tells.
        self.retries = self.retries.max(beyond.min(self.beyond));
        self.beyond = beyond;
    }

    /// Notes which servers run.
    pub(crate) fn conditions(&mut self, conditions: impl IntoIterator<Item = Condition>) {
        for (row, condition) in self.endpoints.iter_mut().zip(conditions) {
            row.condition = condition;
        }
    }

    /// Closes a window that lasted `lasted`.
    pub(crate) fn window(
        &mut self,
        at: Duration,
        lasted: Duration,
        looks: BTreeMap<Protocol, Look>,
    ) {
        let before = self.windows.last().map_or(&[][..], |window| &window.endpoints);
        for row in &mut self.endpoints {
            let before = before.iter().find(|before| before.id == row.id);
            let (calls, errors) = before.map_or((0, 0), |before| (before.calls, before.errors));
            let per_second = |count: u64| count as f64 / lasted.as_secs_f64().max(0.001);
            row.calls_per_s = per_second(row.calls.saturating_sub(calls));
            row.errors_per_s = per_second(row.errors.saturating_sub(errors));
            let slowest = |pick: fn(&(f64, f64)) -> f64| {
                let of = looks.values().filter_map(|look| look.servers.get(&row.id)).map(pick);
                of.max_by(f64::total_cmp)
            };
            (row.p50_ms, row.p99_ms) = (slowest(|of| of.0), slowest(|of| of.1));
        }
        let mut window = Window {
            at_s: seconds(at),
            retries: self.retries,
            grpc: Figures::default(),
            http: Figures::default(),
            endpoints: self.endpoints.clone(),
        };
        for (protocol, look) in looks {
            let (run, in_window) = match protocol {
                Protocol::Grpc => (&mut self.grpc, &mut window.grpc),
                Protocol::Http => (&mut self.http, &mut window.http),
            };
            (*run, *in_window) = (look.run, look.window);
            for failure in look.failures {
                events::failed(&mut self.events, at, protocol, &failure);
            }
        }
        self.run.ran_s = seconds(at);
        self.windows.push(window);
    }

    /// Calls that failed.
    pub(crate) fn errors(&self) -> u64 {
        self.grpc.errors + self.http.errors
    }
}

impl Row {
    fn read(&mut self, followers: &BTreeMap<Protocol, Follower>) {
        (self.calls, self.errors, self.ejections, self.in_flight) = (0, 0, 0, 0);
        (self.weight, self.grpc, self.http) = (0, Breaker::None, Breaker::None);
        self.address.clear();
        for (protocol, follower) in followers {
            let totals = follower.totals(&self.id);
            self.calls += totals.calls;
            self.errors += totals.errors;
            self.ejections += totals.ejections;
            let Some(endpoint) = follower.now().endpoints.get(&self.id) else { continue };
            self.in_flight += endpoint.in_flight;
            self.weight = endpoint.weight;
            self.address.clone_from(&endpoint.address);
            match protocol {
                Protocol::Grpc => self.grpc = endpoint.breaker,
                Protocol::Http => self.http = endpoint.breaker,
            }
        }
    }
}

/// Seconds to the millisecond.
pub(crate) fn seconds(at: Duration) -> f64 {
    (at.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::library::Endpoint;

    pub(crate) fn run() -> Run {
        Run {
            registry: "memory".into(),
            duration_s: 20.0,
            rps: 400,
            seed: 7,
            ran_s: 0.0,
            rush_s: (18.0, 19.0),
        }
    }

    fn client(calls: u64, errors: u64, breaker: Breaker) -> Client {
        let address = "127.0.0.1:4001".to_owned();
        let endpoint =
            Endpoint { address, weight: 1, in_flight: 2, calls, errors, ejections: 0, breaker };
        let limiter = Limiter { allowed: calls, rejected: 1 };
        Client { endpoints: [("orders-1".to_owned(), endpoint)].into(), limiter }
    }

    #[test]
    fn what_both_clients_do_is_told_in_one_line() {
        let mut record = Record::new(run(), ["orders-1"]);
        let at = Duration::from_millis;
        for (protocol, millis) in [(Protocol::Grpc, 100), (Protocol::Http, 700)] {
            record.client(at(0), protocol, client(0, 0, Breaker::Closed));
            record.client(at(millis), protocol, client(5, 5, Breaker::Open));
        }
        let texts: Vec<_> = record.events.iter().map(|event| &*event.text).collect();
        assert_eq!(texts, ["gRPC and HTTP breakers opened, calls go elsewhere"]);

        record.client(at(800), Protocol::Grpc, client(5, 5, Breaker::Closed));
        record.client(at(1900), Protocol::Http, client(5, 5, Breaker::Closed));
        assert_eq!(record.events.len(), 3, "{:?}", record.events);
    }

    #[test]
    fn an_endpoint_adds_up_what_both_clients_did_to_it() {
        let mut record = Record::new(run(), ["orders-1"]);
        record.client(Duration::ZERO, Protocol::Grpc, client(10, 1, Breaker::Closed));
        record.client(Duration::ZERO, Protocol::Http, client(20, 2, Breaker::Open));
        let row = &record.endpoints[0];
        assert_eq!((row.calls, row.errors, row.in_flight, row.weight), (30, 3, 4, 1));
        assert_eq!((row.grpc, row.http), (Breaker::Closed, Breaker::Open));
        assert_eq!(record.limiter, Limiter { allowed: 30, rejected: 2 });
        assert_eq!(record.retries, 0);
    }

    #[test]
    fn attempts_beyond_the_calls_are_retries() {
        let mut record = Record::new(run(), ["orders-1"]);
        let mut client = client(10, 3, Breaker::Closed);
        client.limiter.allowed = 7;
        record.client(Duration::ZERO, Protocol::Grpc, client);
        record.count_retries();
        assert_eq!(record.retries, 0, "one look may have caught a call half-way");
        record.count_retries();
        assert_eq!(record.retries, 3);
    }

    #[test]
    fn a_window_has_the_rates_of_its_own_time() {
        let mut record = Record::new(run(), ["orders-1"]);
        let second = Duration::from_secs(1);
        for (n, calls) in [(1, 100), (2, 150)] {
            record.client(n * second, Protocol::Grpc, client(calls, 0, Breaker::Closed));
            record.window(n * second, second, BTreeMap::new());
        }
        let rates: Vec<_> = record.windows.iter().map(|w| w.endpoints[0].calls_per_s).collect();
        assert_eq!(rates, [100.0, 50.0]);
    }

    #[test]
    fn the_json_has_what_is_promised() {
        let mut record = Record::new(run(), ["orders-1"]);
        record.fault(Duration::from_millis(2500), Kind::Kill, "orders-1", "killed".into());
        let json = serde_json::to_value(&record).unwrap();
        for protocol in ["grpc", "http"] {
            for field in ["calls", "errors", "p50_ms", "p99_ms", "p999_ms", "calls_per_s"] {
                assert!(json[protocol][field].is_number(), "{protocol}.{field}");
            }
        }
        let fault = serde_json::json!({ "at_s": 2.5, "kind": "kill", "endpoint": "orders-1" });
        assert_eq!(json["faults"][0], fault);
        let event = &json["events"][0];
        assert_eq!((&event["by"], &event["kind"]), (&"demo".into(), &"kill".into()));
        for field in ["calls", "errors", "ejections"] {
            assert!(json["endpoints"][0][field].is_u64(), "{field}");
        }
        assert_eq!(json["endpoints"][0]["id"], "orders-1");
        assert_eq!(json["limiter"], serde_json::json!({ "allowed": 0, "rejected": 0 }));
    }
}
