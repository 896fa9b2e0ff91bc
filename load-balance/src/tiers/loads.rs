//! How much of the calls each priority and each zone gets.

/// The endpoints of one part: those that are well, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) well: usize,
    pub(crate) all: usize,
}

/// The percentage of the calls that each priority gets, in order; they add up to 100 unless there is
/// no endpoint. The second says whether the healths of all fall short of 100, so that panic is to
/// be thought of.
pub(crate) fn priorities(levels: &[Count], overprovisioning: u32) -> (Vec<u32>, bool) {
    let score = |level: &Count| {
        let percent = (overprovisioning as usize * level.well).checked_div(level.all);
        percent.unwrap_or(0).min(100) as u32
    };
    let scores: Vec<_> = levels.iter().map(score).collect();
    let sum = scores.iter().sum::<u32>().min(100);
    if sum == 0 {
        // Nobody is well: by the number of endpoints.
        let all = levels.iter().map(|level| level.all).sum::<usize>().max(1);
        let parts = levels.iter().map(|level| (level.all * 100 / all) as u32).collect();
        return (rounded(parts, |at| levels[at].all > 0), true);
    }
    let mut left = 100;
    let parts = scores.iter().map(|score| {
        let part = (score * 100 / sum).min(left);
        left -= part;
        part
    });
    let parts = parts.collect();
    (rounded(parts, |at| scores[at] > 0), sum < 100)
}

/// What rounding left out goes to the first that has any.
fn rounded(mut parts: Vec<u32>, has: impl Fn(usize) -> bool) -> Vec<u32> {
    let left = 100 - parts.iter().sum::<u32>();
    if let Some(at) = (0..parts.len()).find(|at| has(*at)) {
        parts[at] += left;
    }
    parts
}

/// One zone, as seen by a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    /// The endpoints that are well.
    pub(crate) well: usize,
    pub(crate) clients: u32,
    /// The caller runs there.
    pub(crate) local: bool,
}

/// The parts of ten thousand that each zone gets, in order.
pub(crate) fn zones(zones: &[Zone]) -> Vec<u32> {
    const ALL: u64 = 10_000;
    let well = zones.iter().map(|zone| zone.well as u64).sum::<u64>().max(1);
    let clients = zones.iter().map(|zone| u64::from(zone.clients)).sum::<u64>().max(1);
    let upstream = |zone: &Zone| zone.well as u64 * ALL / well;
    let own = |zone: &Zone| u64::from(zone.clients) * ALL / clients;
    let stay: u64 = zones
        .iter()
        .filter(|zone| zone.local)
        .map(|zone| (upstream(zone) * ALL).checked_div(own(zone)).unwrap_or(ALL).min(ALL))
        .sum();
    let spare = |zone: &Zone| if zone.local { 0 } else { upstream(zone).saturating_sub(own(zone)) };
    let mut spares: Vec<_> = zones.iter().map(spare).collect();
    let mut sum: u64 = spares.iter().sum();
    if sum == 0 {
        // Rounding, or clients where no endpoints are: by the number of endpoints.
        let others = |zone: &Zone| if zone.local { 0 } else { zone.well as u64 };
        spares = zones.iter().map(others).collect();
        sum = spares.iter().sum();
    }
    let goes = |(zone, spare): (&Zone, &u64)| {
        let part =
            if zone.local { stay } else { ((ALL - stay) * spare).checked_div(sum).unwrap_or(0) };
        part as u32
    };
    zones.iter().zip(&spares).map(goes).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(well: &[usize]) -> Vec<Count> {
        well.iter().map(|well| Count { well: *well, all: 100 }).collect()
    }

    #[test]
    fn priorities_follow_the_tables_that_envoy_publishes() {
        for (well, expected) in [
            (vec![100, 100], vec![100, 0]),
            (vec![72, 100], vec![100, 0]),
            (vec![71, 100], vec![99, 1]),
            (vec![50, 100], vec![70, 30]),
            (vec![25, 100], vec![35, 65]),
            (vec![0, 100], vec![0, 100]),
            (vec![72, 72, 100], vec![100, 0, 0]),
            (vec![71, 71, 100], vec![99, 1, 0]),
            (vec![50, 50, 100], vec![70, 30, 0]),
            (vec![25, 100, 100], vec![35, 65, 0]),
            (vec![25, 25, 100], vec![35, 35, 30]),
            // What its program makes of it; rounding to the nearest would give 36, 36, 28.
            (vec![25, 25, 20], vec![37, 35, 28]),
        ] {
            assert_eq!(priorities(&of(&well), 140).0, expected, "{well:?}");
        }
    }

    #[test]
    fn where_nobody_is_well_calls_go_by_the_number_of_endpoints() {
        let levels = [Count { well: 0, all: 30 }, Count { well: 0, all: 60 }];
        assert_eq!(priorities(&levels, 140), (vec![34, 66], true));
    }

    fn zone(well: usize, clients: u32, local: bool) -> Zone {
        Zone { well, clients, local }
    }

    #[test]
    fn a_zone_with_its_part_of_the_endpoints_keeps_all_calls() {
        let equal = [zone(5, 1, true), zone(5, 1, false)];
        assert_eq!(zones(&equal), [10_000, 0]);
        let more = [zone(8, 1, true), zone(2, 1, false)];
        assert_eq!(zones(&more), [10_000, 0]);
    }

    #[test]
    fn what_a_zone_cannot_bear_goes_to_where_there_is_room() {
        // A quarter of the endpoints and half of the clients: half stays.
        let half = [zone(5, 2, true), zone(5, 1, false), zone(10, 1, false)];
        assert_eq!(zones(&half), [5000, 0, 5000]);
        assert_eq!(zones(&[zone(0, 1, true), zone(7, 1, false)]), [0, 10_000]);
    }

    proptest! {
        #[test]
        fn everything_goes_somewhere(
            levels in proptest::collection::vec((0..50_usize, 0..50_usize), 1..6),
            well in proptest::collection::vec((0..50_usize, 0..9_u32), 1..6),
        ) {
            let levels: Vec<_> =
                levels.iter().map(|(well, ill)| Count { well: *well, all: well + ill }).collect();
            let (parts, _) = priorities(&levels, 140);
            if levels.iter().any(|level| level.all > 0) {
                prop_assert_eq!(parts.iter().sum::<u32>(), 100);
            }
            for (part, level) in parts.iter().zip(&levels) {
                prop_assert!(*part == 0 || level.all > 0);
            }
            let all: Vec<_> = well
                .iter()
                .enumerate()
                .map(|(at, (well, clients))| zone(*well, *clients, at == 0))
                .collect();
            let parts = zones(&all);
            prop_assert!(parts.iter().sum::<u32>() <= 10_000);
            // Parts are rounded down, one by each zone at most.
            if all.iter().any(|zone| zone.well > 0) {
                let whole = parts.iter().sum::<u32>() + all.len() as u32;
                prop_assert!(whole >= 10_000 || all[0].well == all.iter().map(|z| z.well).sum::<usize>());
            }
        }
    }
}
