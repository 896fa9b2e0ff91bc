//! Quotas as people write them.

use std::{str::FromStr, time::Duration};

use seawall_core::ConfigError;

use super::Quota;

/// A limit for a unit of time or per a length of it, and a burst if there is one: `100/s`,
/// `1000 per 1h`, `100/s burst 200`.
///
/// Lengths are whole numbers of `ns`, `us`, `ms`, `s`, `m`, `h` or `d`. Whatever
/// [`Display`](std::fmt::Display) writes can be read.
///
/// ```
/// use std::time::Duration;
/// use seawall_rate_limit::Quota;
///
/// assert_eq!("100/s burst 200".parse(), Ok(Quota::per_second(100).burst(200)));
/// assert_eq!("1500 per 5m".parse(), Ok(Quota::new(1_500, Duration::from_secs(300))));
/// assert!("100".parse::<Quota>().is_err());
/// ```
impl FromStr for Quota {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let allowed = "as in `100/s`, `1000 per 1h` or `100/s burst 200`";
        read(text).ok_or_else(|| ConfigError::new("quota", format!("{text:?}"), allowed))
    }
}

fn read(text: &str) -> Option<Quota> {
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim_end().trim_end_matches(','), Some(number(burst)?)),
        None => (text, None),
    };
    let quota = match rate.split_once('/') {
        Some((limit, unit)) => Quota::new(number(limit)?, self::unit(unit.trim())?),
        None => {
            let (limit, period) = rate.split_once("per")?;
            Quota::new(number(limit)?, length(period.trim())?)
        }
    };
    Some(burst.map_or(quota, |burst| quota.burst(burst)))
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    // `parse` would take a sign.
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn length(text: &str) -> Option<Duration> {
    let unit_at = text.find(|char: char| !char.is_ascii_digit())?;
    let (count, unit) = text.split_at(unit_at);
    self::unit(unit.trim_start())?.checked_mul(number(count)?)
}

fn unit(text: &str) -> Option<Duration> {
    Some(match text {
        "ns" => Duration::from_nanos(1),
        "us" => Duration::from_micros(1),
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(24 * 3_600),
        _ => return None,
    })
}

/// `duration` in the largest unit of which it is a whole number.
pub(super) fn write(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000)];
    let units = units.into_iter().chain([("ms", 1_000_000), ("us", 1_000), ("ns", 1)]);
    let mut whole = units.filter(|(_, unit)| nanos.is_multiple_of(*unit));
    let (name, unit) = whole.next().unwrap_or(("ns", 1));
    format!("{}{name}", nanos / unit)
}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl serde::Serialize for Quota {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> serde::Deserialize<'de> for Quota {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotas_are_read_as_people_write_them() {
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        for (text, quota) in [
            ("100/s", Quota::per_second(100)),
            (" 100 / s ", Quota::per_second(100)),
            ("5/min burst 1", Quota::per_minute(5).burst(1)),
            ("1000 per 1h", Quota::per_hour(1_000)),
            ("1000 per 2d, burst 10", Quota::new(1_000, hours(48)).burst(10)),
            ("3 per 250ms", Quota::new(3, Duration::from_millis(250))),
        ] {
            assert_eq!(text.parse(), Ok(quota), "{text}");
        }
    }

    #[test]
    fn what_is_no_quota_is_refused_with_examples() {
        for text in [
            "",
            "100",
            "100/",
            "/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/y",
            "1 per s",
            "1 per 1",
            "1/s burst",
            "1/s burst -1",
            "99999999999/s",
            "1 per 99999999999h",
            "1/s burst 2 burst 3",
        ] {
            assert!(text.parse::<Quota>().is_err(), "{text}");
        }
        assert_eq!(
            "ten".parse::<Quota>().unwrap_err().to_string(),
            "`quota` is \"ten\", but must be as in `100/s`, `1000 per 1h` or `100/s burst 200`"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(
            limit in any::<u32>(),
            count in 1..=u32::MAX,
            unit in prop_oneof![Just(1), Just(1_000), Just(1_000_000_000), Just(3_600_000_000_000)],
            burst in any::<u32>(),
        ) {
            let period = Duration::from_nanos(unit) * count;
            let quota = Quota::new(limit, period).burst(burst);
            let text = quota.to_string();
            prop_assert_eq!(text.parse(), Ok(quota), "{}", text);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,30}") {
            let _ = text.parse::<Quota>();
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_quota_is_a_string_in_a_configuration() {
        let quota: Quota = serde_json::from_str("\"100/s burst 200\"").unwrap();
        assert_eq!(quota, Quota::per_second(100).burst(200));
        assert_eq!(serde_json::to_string(&quota).unwrap(), "\"100 per 1s, burst 200\"");
        assert!(serde_json::from_str::<Quota>("\"100\"").is_err());
    }
}
