//! The `grpc-timeout` header of the
//! [gRPC protocol](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md): up to eight
//! digits and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The most that eight digits count.
const MOST: u128 = 99_999_999;

/// What the caller gives its call, if it says so in the way of the protocol.
pub(super) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// Takes away what the caller said.
pub(super) fn remove(headers: &mut HeaderMap) {
    headers.remove(GRPC_TIMEOUT);
}

/// Tells the server what is left, in the finest unit that holds it.
pub(super) fn write(headers: &mut HeaderMap, left: Duration) {
    let (number, unit) = if left.as_micros() <= MOST {
        (left.as_micros(), 'u')
    } else if left.as_millis() <= MOST {
        (left.as_millis(), 'm')
    } else {
        (u128::from(left.as_secs()).min(MOST), 'S')
    };
    if let Ok(value) = HeaderValue::try_from(format!("{number}{unit}")) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (left, text) in [
            (Duration::from_millis(1500), "1500000u"),
            (Duration::from_secs(99), "99000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(1_000_000), "1000000S"),
            (Duration::ZERO, "0u"),
        ] {
            let mut headers = HeaderMap::new();
            write(&mut headers, left);
            assert_eq!(headers[GRPC_TIMEOUT], text);
            assert_eq!(read(&headers), Some(left));
        }
        let mut headers = HeaderMap::new();
        write(&mut headers, Duration::MAX);
        assert_eq!(headers[GRPC_TIMEOUT], "99999999S");
    }

    #[test]
    fn every_unit_is_read_and_nonsense_is_not() {
        let asked = |text: &'static str| {
            read(&HeaderMap::from_iter([(
                http::HeaderName::from_static(GRPC_TIMEOUT),
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(asked("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(asked("2M"), Some(Duration::from_secs(120)));
        assert_eq!(asked("2n"), Some(Duration::from_nanos(2)));
        for text in ["", "S", "5", "-1S", "+1S", "123456789S", "1s", "1 S"] {
            assert_eq!(asked(text), None, "{text:?}");
        }
    }
}
