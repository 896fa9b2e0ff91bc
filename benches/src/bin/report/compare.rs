//! One of our functions beside its peer.

use std::{error::Error, time::SystemTime};

use crate::{
    areas::{Group, Row, Target},
    measured::{Measured, Median},
};

/// A row of the page: what was measured of it, and what that says.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) bare: Option<Median>,
    pub(crate) ours: Option<Median>,
    /// The fastest peer, and its name.
    pub(crate) peer: Option<(String, Median)>,
    pub(crate) ratio: Option<f64>,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    NoTarget,
    /// A side of the comparison is missing.
    Unknown,
    Met,
    Missed,
}

impl Comparison {
    pub(crate) fn of(
        group: &Group,
        row: &Row,
        measured: &Measured,
    ) -> Result<Self, Box<dyn Error>> {
        let median = |function: &str| measured.median(&group.name, function);
        let bare = if group.bare { median("bare")? } else { None };
        let ours = median(&row.ours)?;
        let mut peers = Vec::new();
        for name in &row.peers {
            peers.push(median(name)?.map(|median| (name.clone(), median)));
        }
        // The fastest peer is known only when all of them ran.
        let peer = peers
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .and_then(|peers| peers.into_iter().min_by(|a, b| a.1.nanos.total_cmp(&b.1.nanos)));
        let ratio = match (ours, &peer, bare) {
            (_, _, None) if group.bare => None,
            (Some(ours), Some((_, peer)), bare) => {
                ratio(ours.nanos, peer.nanos, bare.map_or(0.0, |bare| bare.nanos))
            }
            _ => None,
        };
        let met = row.at_most.map(|target| match target {
            Target::Ratio(most) => ratio.map(|ratio| ratio <= most),
            Target::Nanos(most) => ours.map(|ours| ours.nanos <= most),
        });
        let verdict = match met {
            None => Verdict::NoTarget,
            Some(None) => Verdict::Unknown,
            Some(Some(true)) => Verdict::Met,
            Some(Some(false)) => Verdict::Missed,
        };
        Ok(Self { bare, ours, peer, ratio, verdict })
    }

    /// When each part was measured.
    pub(crate) fn times(&self) -> impl Iterator<Item = SystemTime> {
        [self.bare, self.ours, self.peer.as_ref().map(|(_, median)| *median)]
            .into_iter()
            .flatten()
            .map(|median| median.when)
    }
}

/// What ours adds to `bare` as a share of what the peer adds; none when the peer adds nothing that
/// can be measured.
fn ratio(ours: f64, peer: f64, bare: f64) -> Option<f64> {
    (peer > bare).then(|| (ours - bare).max(0.0) / (peer - bare))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    /// A folder as criterion keeps it, gone when dropped.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str, medians: &[(&str, f64)]) -> Self {
            let home = std::env::temp_dir().join(format!("report-{}-{name}", std::process::id()));
            for (function, nanos) in medians {
                let folder = home.join(function).join("new");
                fs::create_dir_all(&folder).unwrap();
                let estimates = format!(r#"{{"mean":{{}},"median":{{"point_estimate":{nanos}}}}}"#);
                fs::write(folder.join("estimates.json"), estimates).unwrap();
            }
            Self(home)
        }

        fn compare(&self, group: &str) -> Comparison {
            let group: Group = toml::from_str(group).unwrap();
            Comparison::of(&group, &group.rows[0], &Measured::new(self.0.clone())).unwrap()
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_fastest_peer_counts() {
        let home = Home::new("fastest", &[("g/seawall", 8.0), ("g/a", 20.0), ("g/b", 10.0)]);
        let row = home.compare("name = 'g'\nrows = [{ peers = ['a', 'b'], at_most = 0.8 }]");
        assert_eq!(row.peer.as_ref().unwrap().0, "b");
        assert_eq!((row.ratio, row.verdict), (Some(0.8), Verdict::Met));
    }

    #[test]
    fn what_a_bare_call_costs_is_in_neither_side() {
        let home = Home::new("bare", &[("g/bare", 10.0), ("g/seawall", 14.0), ("g/a", 26.0)]);
        let group = "name = 'g'\nbare = true\nrows = [{ peers = ['a'], at_most = 0.2 }]";
        let row = home.compare(group);
        assert_eq!((row.ratio, row.verdict), (Some(0.25), Verdict::Missed));
    }

    #[test]
    fn nothing_is_said_of_what_did_not_run() {
        let home = Home::new("missing", &[("g/seawall", 14.0), ("g/a", 26.0)]);
        let row = home.compare("name = 'g'\nrows = [{ peers = ['a', 'b'], at_most = 1.0 }]");
        assert_eq!((row.ratio, row.verdict), (None, Verdict::Unknown));
        let no_bare = "name = 'g'\nbare = true\nrows = [{ peers = ['a'], at_most = 1.0 }]";
        assert_eq!(home.compare(no_bare).ratio, None);
    }

    #[test]
    fn a_peer_may_come_from_another_group() {
        let home = Home::new("other", &[("big/seawall", 30.0), ("small/seawall", 15.0)]);
        let row = home.compare("name = 'big'\nrows = [{ peers = ['small/seawall'] }]");
        assert_eq!((row.ratio, row.verdict), (Some(2.0), Verdict::NoTarget));
    }

    #[test]
    fn a_target_in_time_needs_no_peer() {
        let home = Home::new("time", &[("g/seawall", 3e6)]);
        let row = home.compare("name = 'g'\nrows = [{ at_most = '2 ms' }]");
        assert_eq!(row.verdict, Verdict::Missed);
    }
}
