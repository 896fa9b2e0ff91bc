//! What is done to the servers, and when.

use std::time::Duration;

use serde::Serialize;

/// How much longer an answer of the slowed server takes.
pub(crate) const SLOW_BY: Duration = Duration::from_millis(80);

/// One thing that is done to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// SIGKILL.
    Kill,
    /// The killed one comes back on another port.
    Restart,
    /// SIGSTOP.
    Hang,
    /// SIGCONT.
    Resume,
    /// Answers take longer.
    Slow,
    /// Answers take as long as before.
    Normal,
}

/// What is done to which server, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// The place of the server in the fleet.
    pub(crate) server: usize,
}

/// What is done, in order; `at` is a share of the run.
const STORY: [(f64, Kind, usize); 6] = [
    (0.125, Kind::Kill, 0),
    (0.325, Kind::Restart, 0),
    (0.425, Kind::Hang, 1),
    (0.600, Kind::Resume, 1),
    (0.675, Kind::Slow, 2),
    (0.850, Kind::Normal, 2),
];

/// When callers ask for more than the limit allows, as shares of the run.
const RUSH: (f64, f64) = (0.90, 0.95);

/// How much more they ask for.
pub(crate) const RUSH_FACTOR: f64 = 4.0;

/// The faults of a run over three servers; `seed` decides which server gets which.
pub(crate) fn story(duration: Duration, seed: u64) -> [Fault; 6] {
    let mut servers = [0, 1, 2];
    fastrand::Rng::with_seed(seed).shuffle(&mut servers);
    STORY.map(|(share, kind, server)| Fault {
        at: duration.mul_f64(share),
        kind,
        server: servers[server],
    })
}

/// From when to when callers ask for more than the limit allows.
pub(crate) fn rush(duration: Duration) -> (Duration, Duration) {
    (duration.mul_f64(RUSH.0), duration.mul_f64(RUSH.1))
}

/// How long a registration outlives the last sign of life: a small part of the time that a server is
/// away, so that both the library alone and the registry get to act.
pub(crate) fn registration_ttl(duration: Duration) -> Duration {
    duration.mul_f64(0.1).clamp(Duration::from_millis(500), Duration::from_secs(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_gets_one_fault_and_its_end() {
        for seed in 0..50 {
            let faults = story(Duration::from_secs(20), seed);
            let mut servers: Vec<_> = faults.chunks(2).map(|pair| pair[0].server).collect();
            assert!(faults.chunks(2).all(|pair| pair[0].server == pair[1].server), "{seed}");
            assert!(faults.is_sorted_by_key(|fault| fault.at), "{seed}");
            servers.sort_unstable();
            assert_eq!(servers, [0, 1, 2], "{seed}");
        }
    }

    #[test]
    fn the_seed_decides_and_only_the_seed() {
        let of = |seed| story(Duration::from_secs(20), seed);
        assert_eq!(of(7), of(7));
        assert!((0..20).any(|seed| of(seed) != of(7)));
    }
}
