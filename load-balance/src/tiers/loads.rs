//! How much of the calls each priority and each zone gets.

/// The endpoints of one part: those that are well, and all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) well: usize,
    pub(crate) all: usize,
}

/// What one priority gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    /// Of the calls.
    pub(crate) percent: u32,
    /// So few of its endpoints are well that the others are used all the same.
    pub(crate) panicking: bool,
}

/// What each priority gets, in order. The percentages add up to 100 unless there is no endpoint.
///
/// Nobody panics while the healths of all together come to 100; where all panic, calls go by the
/// number of endpoints, well or not.
pub(crate) fn priorities(levels: &[Count], overprovisioning: u32, panic: u8) -> Vec<Part> {
    let score = |level: &Count| {
        let percent = (overprovisioning as usize * level.well).checked_div(level.all);
        percent.unwrap_or(0).min(100) as u32
    };
    let scores: Vec<_> = levels.iter().map(score).collect();
    let sum = scores.iter().sum::<u32>().min(100);
    let panics = |level: &Count| sum < 100 && level.well * 100 < level.all * usize::from(panic);
    // One without endpoints has nobody to panic about, and keeps nobody from it.
    let all_panic = levels.iter().all(|level| level.all == 0 || panics(level));
    let percents = if sum == 0 || all_panic {
        by_size(levels)
    } else {
        let mut left = 100;
        let parts = scores.iter().map(|score| {
            let part = (score * 100 / sum).min(left);
            left -= part;
            part
        });
        let parts = parts.collect();
        rounded(parts, |at| scores[at] > 0)
    };
    let parts = percents.into_iter().zip(levels);
    parts.map(|(percent, level)| Part { percent, panicking: panics(level) }).collect()
}

fn by_size(levels: &[Count]) -> Vec<u32> {
    let all = levels.iter().map(|level| level.all).sum::<usize>().max(1);
    let parts = levels.iter().map(|level| (level.all * 100 / all) as u32).collect();
    rounded(parts, |at| levels[at].all > 0)
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

    fn percents(levels: &[Count]) -> Vec<u32> {
        priorities(levels, 140, 50).iter().map(|part| part.percent).collect()
    }

    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>
    #[test]
    fn priorities_follow_the_tables_that_envoy_publishes() {
        for (well, expected) in [
            // Two priorities, the second one well.
            (vec![100, 100], vec![100, 0]),
            (vec![72, 100], vec![100, 0]),
            (vec![71, 100], vec![99, 1]),
            (vec![50, 100], vec![70, 30]),
            (vec![25, 100], vec![35, 65]),
            (vec![0, 100], vec![0, 100]),
            // Two, neither of them well.
            (vec![72, 72], vec![100, 0]),
            (vec![71, 71], vec![99, 1]),
            (vec![50, 50], vec![70, 30]),
            (vec![25, 25], vec![50, 50]),
            // Three.
            (vec![100, 100, 100], vec![100, 0, 0]),
            (vec![72, 72, 100], vec![100, 0, 0]),
            (vec![71, 71, 100], vec![99, 1, 0]),
            (vec![50, 50, 100], vec![70, 30, 0]),
            (vec![25, 100, 100], vec![35, 65, 0]),
            (vec![25, 25, 100], vec![35, 35, 30]),
        ] {
            assert_eq!(percents(&of(&well)), expected, "{well:?}");
        }
        // The text's example: healths of 20 and 30 are scaled up to 40 and 60.
        let scaled = priorities(&of(&[20, 30]), 100, 0);
        assert_eq!(scaled.iter().map(|part| part.percent).collect::<Vec<_>>(), [40, 60]);
    }

    /// The last row of the page has 36, 36, 28. The program, `recalculatePerPriorityState` in
    /// `load_balancer_impl.cc`, rounds down and gives what is left to the first: 35 + 2, 35, 28.
    #[test]
    fn where_envoys_tables_and_program_differ_the_program_is_followed() {
        let of_all = |well: &[usize]| priorities(&of(well), 140, 0);
        let parts: Vec<_> = of_all(&[25, 25, 20]).iter().map(|part| part.percent).collect();
        assert_eq!(parts, [37, 35, 28]);
    }

    /// <https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold>
    #[test]
    fn panic_follows_the_tables_that_envoy_publishes() {
        const CALM: [bool; 2] = [false, false];
        for (well, expected, panicking) in [
            ([72, 100], [100, 0], CALM),
            ([71, 100], [99, 1], CALM),
            ([50, 100], [70, 30], CALM),
            ([25, 100], [35, 65], CALM),
            ([0, 100], [0, 100], CALM),
            ([72, 72], [100, 0], CALM),
            ([71, 71], [99, 1], CALM),
            ([50, 60], [70, 30], CALM),
            ([25, 25], [50, 50], [true, true]),
            // The page has 7 and 93; the program rounds down to 7 and 92, and the one that is left
            // goes to the first.
            ([5, 65], [8, 92], [true, false]),
        ] {
            let parts = priorities(&of(&well), 140, 50);
            let expected =
                [0, 1].map(|at| Part { percent: expected[at], panicking: panicking[at] });
            assert_eq!(parts, expected, "{well:?}");
        }
    }

    /// The text below the tables of that page: with 2 and 8 endpoints, 20 and 80 percent.
    #[test]
    fn where_all_panic_calls_go_by_the_number_of_endpoints() {
        for (first, second) in [(0, 0), (0, 1), (0, 2), (0, 3)] {
            let levels = [Count { well: first, all: 2 }, Count { well: second, all: 8 }];
            let part = |percent| Part { percent, panicking: true };
            assert_eq!(priorities(&levels, 140, 50), [part(20), part(80)], "{second}");
        }
        let five = [Count { well: 1, all: 5 }; 2];
        assert_eq!(percents(&five), [50, 50]);
        // What rounding leaves goes to the first, and one without endpoints changes nothing.
        let levels = [30, 0, 60].map(|all| Count { well: 0, all });
        assert_eq!(percents(&levels), [34, 0, 66]);
    }

    #[test]
    fn without_a_threshold_nobody_panics() {
        for well in [0, 10] {
            let parts = priorities(&of(&[well, well]), 140, 0);
            assert_eq!(parts, [Part { percent: 50, panicking: false }; 2], "{well}");
        }
    }

    fn zone(well: usize, clients: u32, local: bool) -> Zone {
        Zone { well, clients, local }
    }

    /// The comment in `regenerateLocalityRoutingStructures` of Envoy's `load_balancer_impl.cc`:
    /// clients 40, 40 and 20 percent, endpoints 25, 50 and 25 leave room for 10 and 5 of what
    /// cannot stay. And: with 20 percent of the clients and 10 of the endpoints, half stays.
    #[test]
    fn zones_follow_the_examples_in_envoys_program() {
        let three = [zone(25, 40, true), zone(50, 40, false), zone(25, 20, false)];
        assert_eq!(zones(&three), [6250, 2500, 1250]);
        let two = [zone(10, 20, true), zone(90, 80, false)];
        assert_eq!(zones(&two), [5000, 5000]);
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
            let parts = percents(&levels);
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
