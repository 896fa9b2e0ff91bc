//! Draws what each algorithm lets through around the edge of a window, as SVG:
//! `cargo run --example window_edge > src/guide/window_edge.svg`.
//!
//! All of them keep 10 calls a second, and all are asked 50 times a second from 0.6 s on.

use std::{fmt::Write as _, time::Duration};

use seawall_rate_limit::{
    Clock, Quota, RateLimiter,
    algorithm::{Algorithm, FixedWindow, SlidingCounter, SlidingLog, TokenBucket},
};

const MILLIS: std::ops::Range<u64> = 600..2_600;
const STEP: u64 = 20;
const WINDOW: u64 = 1_000;

/// Whether it lets each call pass.
fn passes<A: Algorithm>(algorithm: A) -> Vec<(u64, bool)> {
    let (clock, hand) = Clock::manual();
    let limiter = RateLimiter::of(algorithm).with_clock(clock);
    hand.advance(Duration::from_millis(MILLIS.start));
    let ask = |millis| {
        let passed = limiter.check().is_ok();
        hand.advance(Duration::from_millis(STEP));
        (millis, passed)
    };
    MILLIS.step_by(STEP as usize).map(ask).collect()
}

/// The most that passed in any window, wherever it begins.
fn most(calls: &[(u64, bool)]) -> usize {
    let in_window = |from: u64| {
        let window = from..from + WINDOW;
        calls.iter().filter(|(millis, passed)| *passed && window.contains(millis)).count()
    };
    calls.iter().map(|(millis, _)| in_window(*millis)).max().unwrap_or(0)
}

fn x(millis: u64) -> u64 {
    200 + (millis - MILLIS.start) * 500 / (MILLIS.end - MILLIS.start)
}

const STYLE: &str = "\
.we-card{fill:#fff;stroke:#d0d7de}.we-text{fill:#1f2328}.we-soft{fill:#59636e}\
.we-pass{fill:#0969da}.we-no{fill:#c4cbd3}.we-edge{stroke:#d1242f;stroke-dasharray:4 4}\
@media (prefers-color-scheme:dark){.we-card{fill:#0d1117;stroke:#3d444d}.we-text{fill:#f0f6fc}\
.we-soft{fill:#9198a1}.we-pass{fill:#58a6ff}.we-no{fill:#454c55}.we-edge{stroke:#f85149}}";

/// The picture.
pub(crate) fn svg() -> Result<String, Box<dyn std::error::Error>> {
    let quota = Quota::per_second(10);
    let rows = [
        ("fixed window", passes(FixedWindow::new(quota)?)),
        ("sliding counter", passes(SlidingCounter::new(quota)?)),
        ("sliding log", passes(SlidingLog::new(quota)?)),
        ("token bucket, burst 10", passes(TokenBucket::new(quota)?)),
        ("token bucket, burst 1", passes(TokenBucket::new(quota.burst(1))?)),
    ];
    draw(&rows).map_err(Into::into)
}

fn draw(rows: &[(&str, Vec<(u64, bool)>)]) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let height = 84 + 60 * rows.len();
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 {height}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" aria-label=\"Calls that each algorithm lets \
         through, and how many pass in the fullest second\">"
    )?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(
        out,
        "<rect class=\"we-card\" x=\"0.5\" y=\"0.5\" width=\"719\" height=\"{}\" rx=\"8\"/>",
        height - 1
    )?;
    writeln!(
        out,
        "<text class=\"we-text\" x=\"20\" y=\"32\" font-size=\"15\" font-weight=\"600\">10 calls a \
         second, asked 50 times a second</text>"
    )?;
    for edge in [1_000, 2_000] {
        let (x, bottom) = (x(edge), height - 34);
        writeln!(out, "<line class=\"we-edge\" x1=\"{x}\" y1=\"50\" x2=\"{x}\" y2=\"{bottom}\"/>")?;
    }
    for (row, (name, calls)) in rows.iter().enumerate() {
        let base = 98 + 60 * row;
        let label = format!("fullest second: {}", most(calls));
        writeln!(
            out,
            "<text class=\"we-text\" x=\"20\" y=\"{}\" font-size=\"13\" \
             font-weight=\"600\">{name}</text>",
            base - 18
        )?;
        writeln!(
            out,
            "<text class=\"we-soft\" x=\"20\" y=\"{base}\" font-size=\"12\">{label}</text>"
        )?;
        // All that passed is one shape, and all that did not is another.
        for (class, is_passed, tall) in [("we-pass", true, 30), ("we-no", false, 6)] {
            let calls = calls.iter().filter(|(_, passed)| *passed == is_passed);
            let bars: String = calls
                .map(|(millis, _)| format!("M{} {base}v-{tall}h3v{tall}z", x(*millis)))
                .collect();
            writeln!(out, "<path class=\"{class}\" d=\"{bars}\"/>")?;
        }
    }
    for (millis, label) in [(600, "0.6 s"), (1_000, "1 s"), (1_500, "1.5 s"), (2_000, "2 s")] {
        let (x, y) = (x(millis), height - 14);
        writeln!(
            out,
            "<text class=\"we-soft\" x=\"{x}\" y=\"{y}\" font-size=\"12\" \
             text-anchor=\"middle\">{label}</text>"
        )?;
    }
    writeln!(out, "</svg>")?;
    Ok(out)
}

#[allow(dead_code, reason = "the test of the picture has a main function of its own")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    print!("{}", svg()?);
    Ok(())
}
