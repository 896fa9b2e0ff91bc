//! Numbers and states as people read them.

use ratatui::style::Color;

use crate::{
    faults::Kind,
    fleet::Condition,
    library::{Breaker, DeedKind},
    record::What,
};

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds in three significant places.
pub(crate) fn millis(millis: f64) -> String {
    match millis {
        0.0 => "-".to_owned(),
        _ if millis < 100.0 => format!("{millis:.1} ms"),
        _ if millis < 10_000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

pub(super) fn condition(condition: Condition) -> (&'static str, Color) {
    match condition {
        Condition::Running => ("● running", Color::Green),
        Condition::Killed => ("✗ killed", Color::Red),
        Condition::Hung => ("‖ hung", Color::Magenta),
        Condition::Slow => ("~ slow", Color::Yellow),
    }
}

pub(super) fn breaker(breaker: Breaker) -> (&'static str, Color) {
    let color = match breaker {
        Breaker::None => Color::DarkGray,
        Breaker::Closed => Color::Green,
        Breaker::HalfOpen => Color::Yellow,
        Breaker::Open => Color::Red,
    };
    (breaker.name(), color)
}

/// The sign and the name of a fault.
pub(super) fn fault(kind: Kind) -> (&'static str, &'static str, Color) {
    match kind {
        Kind::Kill => ("✗", "kill", Color::Red),
        Kind::Restart => ("↺", "restart", Color::Green),
        Kind::Hang => ("‖", "hang", Color::Magenta),
        Kind::Resume => ("▶", "resume", Color::Green),
        Kind::Slow => ("~", "slow", Color::Yellow),
        Kind::Normal => ("=", "normal", Color::Green),
    }
}

/// The sign and the colour of an event.
pub(super) fn event(what: &What) -> (&'static str, Color) {
    match what {
        What::Demo(kind) => {
            let (sign, _, color) = fault(*kind);
            (sign, color)
        }
        What::Rush => ("»", Color::Yellow),
        What::Caller => ("!", Color::Red),
        What::Seawall(DeedKind::Opened | DeedKind::Dropped) => ("↳", Color::Blue),
        What::Seawall(_) => ("↳", Color::Cyan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0, 999, 1000, 12_345, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn times_are_short() {
        let texts = [0.0, 1.26, 99.94, 254.4, 12_345.0].map(millis);
        assert_eq!(texts, ["-", "1.3 ms", "99.9 ms", "254 ms", "12.3 s"]);
    }
}
