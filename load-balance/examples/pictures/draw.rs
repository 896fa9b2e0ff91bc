//! A simulation over the real balancer on a clock that is moved by hand, and its pictures.

use std::{cmp::Reverse, collections::BinaryHeap, fmt::Write, time::Duration};

use seawall_core::{Clock, Endpoint, Guard, Health, Instant, Outcome};
use seawall_load_balance::{
    Config, ConsistentHash, EndpointSet, HashKey, Maglev, PeakEwma, PickContext, Picked, Picker,
    Policy, Ring,
};

const ENDPOINTS: usize = 10;
const CALLS: usize = 40_000;
/// Calls that each endpoint serves at a time; more of them wait.
const WORKERS: usize = 4;

/// What was measured of one policy.
struct Measured {
    name: &'static str,
    /// The part of the calls that each endpoint got.
    shares: Vec<f64>,
    p99: Duration,
}

fn policies() -> Vec<(&'static str, Policy)> {
    let hash = Policy::ConsistentHash;
    vec![
        ("power of two", Policy::PowerOfTwo),
        ("least in flight", Policy::LeastInFlight),
        ("peak EWMA", Policy::PeakEwma(PeakEwma::new())),
        ("round robin", Policy::RoundRobin),
        ("random", Policy::Random),
        ("ring", hash(ConsistentHash::ring(Ring::new()))),
        ("Maglev", hash(ConsistentHash::maglev(Maglev::new()))),
    ]
}

/// Calls come by chance at a steady rate, which is half of what ten equal endpoints can serve. The
/// last endpoint has that weight, and takes so many times as long as the 10 ms of the others.
fn simulate(name: &'static str, policy: Policy, weight: u16, slower: f64) -> Measured {
    let (clock, hand) = Clock::manual();
    let endpoints = (0..ENDPOINTS).map(|number| {
        let address = "127.0.0.1:1".parse().expect("an address");
        let last = number == ENDPOINTS - 1;
        Endpoint::new(format!("{number}"), address).with_weight(if last { weight } else { 1 })
    });
    let set = EndpointSet::from_endpoints(endpoints);
    let config = Config::builder().policy(policy).clock(clock).seed(1).build();
    let mut picker = Picker::with_config(set, config.expect("in its ranges"));
    let mut rng = fastrand::Rng::with_seed(2);
    let mut chance = move || -(1.0 - rng.f64()).ln();
    let mut keys = fastrand::Rng::with_seed(3);

    let mut free = [[0_u64; WORKERS]; ENDPOINTS];
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut calls: Vec<Option<Picked>> = Vec::new();
    let (mut shares, mut latencies) = (vec![0.0; ENDPOINTS], Vec::new());
    let mut now = 0_u64;
    let answer = |ends: &mut BinaryHeap<Reverse<(u64, usize)>>,
                  calls: &mut Vec<Option<Picked>>,
                  until: u64| {
        while let Some(Reverse((end, call))) = ends.peek().copied() {
            if end > until {
                break;
            }
            ends.pop();
            hand.set(Instant::from_nanos(end));
            if let Some(mut picked) = calls[call].take() {
                picked.answered();
                picked.finish(Outcome::Success);
            }
        }
        hand.set(Instant::from_nanos(until));
    };
    for call in 0..CALLS {
        now += (chance() * 10e6 / (ENDPOINTS * WORKERS) as f64 / 0.5) as u64;
        answer(&mut ends, &mut calls, now);
        let key = HashKey::of(keys.u32(..1000).to_le_bytes());
        let picked = picker.pick_for(PickContext::new().with_key(key)).expect("there are ten");
        let at: usize = picked.id().as_str().parse().expect("its number");
        let time = chance() * 10e6 * if at == ENDPOINTS - 1 { slower } else { 1.0 };
        let worker = free[at].iter_mut().min().expect("there are four");
        let end = (*worker).max(now) + time as u64;
        *worker = end;
        ends.push(Reverse((end, call)));
        calls.push(Some(picked));
        shares[at] += 1.0 / CALLS as f64;
        latencies.push(end - now);
    }
    answer(&mut ends, &mut calls, u64::MAX / 2);
    latencies.sort_unstable();
    let p99 = Duration::from_nanos(latencies[CALLS * 99 / 100]);
    Measured { name, shares, p99 }
}

fn measure(weight: u16, slower: f64) -> Vec<Measured> {
    policies().into_iter().map(|(name, policy)| simulate(name, policy, weight, slower)).collect()
}

const ROW: usize = 44;
const TOP: usize = 54;
const LEFT: usize = 130;
const WIDTH: usize = 720;

/// Each file's name and what is in it.
pub(crate) fn pictures() -> [(&'static str, String); 3] {
    [("share.svg", share()), ("p99.svg", p99()), ("failover.svg", failover())]
}

/// The part of the calls that the first of two priorities gets, when so many of the twenty endpoints
/// of each are well.
fn first_priority(first: usize, second: usize) -> f64 {
    const EACH: usize = 20;
    const PICKS: usize = 5000;
    let level = |priority: u32, well: usize| {
        (0..EACH).map(move |at| {
            let address = "127.0.0.1:1".parse().expect("an address");
            let health = if at < well { Health::Passing } else { Health::Critical };
            let id = format!("{priority}-{at:02}");
            Endpoint::new(id, address).with_priority(priority).with_health(health)
        })
    };
    let set = level(0, first).chain(level(1, second)).collect();
    let config = Config::builder().seed(1).build().expect("in its ranges");
    let mut picker = Picker::with_config(set, config);
    let firsts = (0..PICKS).filter(|_| {
        let picked = picker.pick().expect("there are forty");
        let first = picked.id().as_str().starts_with('0');
        picked.finish(Outcome::Success);
        first
    });
    firsts.count() as f64 / PICKS as f64
}

fn failover() -> String {
    const PLOT: f64 = 200.0;
    const HEIGHT: usize = 300;
    let title = "Share of the calls that priority 0 keeps, by the part of it that is well";
    let mut svg = head(title, HEIGHT);
    let (left, right, top) = (60.0, 480.0, 50.0);
    let at =
        |well: f64, share: f64| (left + (1.0 - well) * (right - left), top + (1.0 - share) * PLOT);
    for part in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let ((x, _), (_, y)) = (at(part, 0.0), at(0.0, part));
        let percent = part * 100.0;
        let _ =
            writeln!(svg, r##"<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>"##);
        let _ =
            writeln!(svg, r#"<text font-size="11" x="16" y="{:.0}">{percent} %</text>"#, y + 4.0);
        let (x, y) = (x - 10.0, top + PLOT + 18.0);
        let _ = writeln!(svg, r#"<text font-size="11" x="{x}" y="{y}">{percent} %</text>"#);
    }
    let lines =
        [(20, "#3b7dd8", "all of priority 1 is well"), (5, "#e0912f", "a quarter of it is")];
    for (number, (second, color, text)) in lines.into_iter().enumerate() {
        let points = (0..=20_usize).rev().map(|well| {
            let (x, y) = at(well as f64 / 20.0, first_priority(well, second));
            format!("{x:.0},{y:.1}")
        });
        let points = points.collect::<Vec<_>>().join(" ");
        let _ = writeln!(
            svg,
            r#"<polyline fill="none" stroke="{color}" stroke-width="2" points="{points}"/>"#
        );
        let y = top + 20.0 + number as f64 * 24.0;
        let _ = writeln!(svg, r#"<text fill="{color}" x="500" y="{y}">{text}</text>"#);
    }
    svg.push_str("</svg>\n");
    svg
}

fn share() -> String {
    let title = "Share of the calls per endpoint; nine of weight 1, the last of weight 3";
    frame(title, &measure(3, 1.0), |svg, row, measured| {
        let step = (WIDTH - LEFT - 20) / ENDPOINTS;
        for (at, share) in measured.shares.iter().enumerate() {
            let height = (share * 120.0).min(32.0);
            let (x, y) = (LEFT + at * step, row as f64 + 34.0 - height);
            let fill = if at == ENDPOINTS - 1 { "#e0912f" } else { "#3b7dd8" };
            let width = step - 26;
            let _ = writeln!(
                svg,
                r#"<rect fill="{fill}" x="{x}" y="{y:.1}" width="{width}" height="{height:.1}"/>"#
            );
            let (x, y) = (x + width + 3, row + 34);
            let percent = share * 100.0;
            let _ = writeln!(svg, r#"<text font-size="11" x="{x}" y="{y}">{percent:.0}</text>"#);
        }
    })
}

fn p99() -> String {
    let measured = measure(1, 10.0);
    let most = measured.iter().map(|one| one.p99.as_secs_f64()).fold(0.0, f64::max);
    let title = "99th percentile of the latency when one of ten endpoints is ten times slower";
    frame(title, &measured, |svg, row, one| {
        // By logarithm: from 10 ms, which a call takes, to the worst.
        let (from, seconds) = (0.01_f64, one.p99.as_secs_f64());
        let part = (seconds / from).ln() / (most / from).ln();
        let width = part * (WIDTH - LEFT - 100) as f64;
        let y = row + 8;
        let rect = format!(r#"x="{LEFT}" y="{y}" width="{width:.1}" height="22""#);
        let _ = writeln!(svg, r##"<rect fill="#3b7dd8" {rect}/>"##);
        let (x, y) = (LEFT as f64 + width + 6.0, row + 24);
        let text = if seconds < 1.0 {
            format!("{:.0} ms", seconds * 1e3)
        } else {
            format!("{seconds:.1} s")
        };
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y}">{text}</text>"#);
    })
}

fn head(title: &str, height: usize) -> String {
    // No style sheet: inside a page it would reach beyond the picture.
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="14">
<title>{title}</title>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text font-weight="bold" x="16" y="28">{title}</text>
"##
    )
}

fn frame(
    title: &str,
    rows: &[Measured],
    mut draw: impl FnMut(&mut String, usize, &Measured),
) -> String {
    let mut svg = head(title, TOP + rows.len() * ROW + 16);
    for (number, measured) in rows.iter().enumerate() {
        let row = TOP + number * ROW;
        let (y, name) = (row + 24, measured.name);
        let _ = writeln!(svg, r#"<text x="16" y="{y}">{name}</text>"#);
        draw(&mut svg, row, measured);
    }
    svg.push_str("</svg>\n");
    svg
}
