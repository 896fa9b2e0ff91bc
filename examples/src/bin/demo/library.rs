//! What the clients did about the faults, read from their snapshots.

use std::collections::BTreeMap;

use serde::Serialize;

/// Which of the two clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    pub(crate) const BOTH: [Self; 2] = [Self::Grpc, Self::Http];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
        }
    }
}

/// The circuit breaker that a client has for an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Breaker {
    /// The client knows no such endpoint, or has not called it yet.
    #[default]
    None,
    Closed,
    HalfOpen,
    Open,
}

impl Breaker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
        }
    }
}

/// A client at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Client {
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) limiter: Limiter,
}

/// An endpoint of a client at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    pub(crate) weight: u16,
    pub(crate) in_flight: u64,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) ejections: u64,
    pub(crate) breaker: Breaker,
}

/// What a rate limiter let through and what not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Limiter {
    pub(crate) allowed: u64,
    pub(crate) rejected: u64,
}

/// One thing that a client did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Deed {
    pub(crate) kind: DeedKind,
    pub(crate) endpoint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeedKind {
    /// The registry has told of a new endpoint.
    Found,
    /// The registry has told of a new address.
    Moved,
    /// The registry says that the endpoint is gone.
    Dropped,
    /// The breaker opened: calls go elsewhere.
    Opened,
    /// The breaker lets a probe through.
    Probes,
    /// The breaker closed: the endpoint gets calls again.
    Closed,
}

impl DeedKind {
    /// What happened to an endpoint, to be read after the name of the client.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Found => "found it in the registry",
            Self::Moved => "follows it to its new address",
            Self::Dropped => "forgot it: its registration expired",
            Self::Opened => "breaker opened, calls go elsewhere",
            Self::Probes => "breaker lets a probe through",
            Self::Closed => "breaker closed, it gets calls again",
        }
    }
}

/// Counts of one endpoint over the whole run, whatever became of it in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    /// How often it was left alone: it was ejected, or its breaker opened.
    pub(crate) ejections: u64,
}

/// Follows one client from snapshot to snapshot.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    now: Client,
    /// Counts of those that left the client, which start over when they come back.
    left: BTreeMap<String, Totals>,
    /// How often each breaker opened.
    opened: BTreeMap<String, u64>,
}

impl Follower {
    /// The client as it was at the last step.
    pub(crate) fn now(&self) -> &Client {
        &self.now
    }

    /// What an endpoint counted in the whole run.
    pub(crate) fn totals(&self, id: &str) -> Totals {
        let mut totals = self.left.get(id).copied().unwrap_or_default();
        if let Some(endpoint) = self.now.endpoints.get(id) {
            totals.add(endpoint);
        }
        totals.ejections += self.opened.get(id).copied().unwrap_or_default();
        totals
    }

    /// Goes on to `next` and tells what the client did in between.
    pub(crate) fn step(&mut self, next: Client) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for (id, endpoint) in &next.endpoints {
            let mut tell = |kind| deeds.push(Deed { kind, endpoint: id.clone() });
            match self.now.endpoints.get(id) {
                None => tell(DeedKind::Found),
                Some(before) => {
                    if before.address != endpoint.address {
                        tell(DeedKind::Moved);
                    }
                    self.left.entry(id.clone()).or_default().keep(before, endpoint);
                }
            }
            let before = self.now.endpoints.get(id).map(|before| before.breaker);
            match (before.unwrap_or_default(), endpoint.breaker) {
                (Breaker::Open, Breaker::Open) | (_, Breaker::None) => {}
                (_, Breaker::Open) => {
                    tell(DeedKind::Opened);
                    *self.opened.entry(id.clone()).or_default() += 1;
                }
                (Breaker::HalfOpen, Breaker::HalfOpen) => {}
                (_, Breaker::HalfOpen) => tell(DeedKind::Probes),
                (Breaker::Open | Breaker::HalfOpen, Breaker::Closed) => tell(DeedKind::Closed),
                (Breaker::None | Breaker::Closed, Breaker::Closed) => {}
            }
        }
        for (id, endpoint) in &self.now.endpoints {
            if !next.endpoints.contains_key(id) {
                deeds.push(Deed { kind: DeedKind::Dropped, endpoint: id.clone() });
                self.left.entry(id.clone()).or_default().add(endpoint);
            }
        }
        self.now = next;
        deeds
    }
}

impl Totals {
    /// Keeps what a count was that has started over, as for a new process under the old id.
    fn keep(&mut self, before: &Endpoint, after: &Endpoint) {
        let lost = |before: u64, after: u64| if after < before { before } else { 0 };
        self.calls += lost(before.calls, after.calls);
        self.errors += lost(before.errors, after.errors);
        self.ejections += lost(before.ejections, after.ejections);
    }

    fn add(&mut self, endpoint: &Endpoint) {
        self.calls += endpoint.calls;
        self.errors += endpoint.errors;
        self.ejections += endpoint.ejections;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(endpoints: &[(&str, &str, u64, Breaker)]) -> Client {
        let endpoint = |&(id, address, calls, breaker): &(&str, &str, u64, Breaker)| {
            let address = address.to_owned();
            (id.to_owned(), Endpoint { address, calls, breaker, ..Endpoint::default() })
        };
        Client { endpoints: endpoints.iter().map(endpoint).collect(), ..Client::default() }
    }

    fn kinds(deeds: &[Deed]) -> Vec<DeedKind> {
        deeds.iter().map(|deed| deed.kind).collect()
    }

    #[test]
    fn a_breaker_is_told_of_when_it_changes_and_not_while_it_stays() {
        use Breaker::*;
        let mut follower = Follower::default();
        follower.step(client(&[("a", "h:1", 0, None)]));
        for (breaker, deed) in [
            (Closed, &[][..]),
            (Open, &[DeedKind::Opened]),
            (Open, &[]),
            (HalfOpen, &[DeedKind::Probes]),
            (Open, &[DeedKind::Opened]),
            (Closed, &[DeedKind::Closed]),
            (None, &[]),
        ] {
            let deeds = follower.step(client(&[("a", "h:1", 0, breaker)]));
            assert_eq!(kinds(&deeds), deed, "to {breaker:?}");
        }
    }

    #[test]
    fn endpoints_come_move_and_go() {
        let mut follower = Follower::default();
        let deeds = follower.step(client(&[("a", "h:1", 0, Breaker::None)]));
        assert_eq!(kinds(&deeds), [DeedKind::Found]);
        let deeds = follower.step(client(&[("a", "h:2", 0, Breaker::None)]));
        assert_eq!(kinds(&deeds), [DeedKind::Moved]);
        let deeds = follower.step(client(&[]));
        assert_eq!(kinds(&deeds), [DeedKind::Dropped]);
    }

    #[test]
    fn counts_go_on_when_an_endpoint_starts_over() {
        let mut follower = Follower::default();
        let mut after = |endpoints: &[_]| {
            follower.step(client(endpoints));
            follower.totals("a").calls
        };
        assert_eq!(after(&[("a", "h:1", 10, Breaker::Closed)]), 10);
        assert_eq!(after(&[]), 10);
        assert_eq!(after(&[("a", "h:1", 3, Breaker::Closed)]), 13);
        assert_eq!(after(&[("a", "h:1", 1, Breaker::Closed)]), 14);
    }

    #[test]
    fn an_open_breaker_counts_as_left_alone_each_time_it_opens() {
        let mut follower = Follower::default();
        for breaker in [Breaker::Closed, Breaker::Open, Breaker::HalfOpen, Breaker::Open] {
            follower.step(client(&[("a", "h:1", 0, breaker)]));
        }
        assert_eq!(follower.totals("a").ejections, 2);
    }
}
