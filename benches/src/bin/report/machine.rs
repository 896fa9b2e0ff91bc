//! Where and with what was measured.

use std::{error::Error, fmt, fs, path::Path, process::Command, thread, time::SystemTime};

use serde::Deserialize;

pub(crate) struct Machine {
    processor: String,
    cores: usize,
    compiler: String,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

impl Machine {
    /// This one, with the packages that `lock` names.
    pub(crate) fn this(lock: &Path) -> Result<Self, Box<dyn Error>> {
        let Lock { package } = toml::from_str(&fs::read_to_string(lock)?)?;
        let compiler = Command::new("rustc").arg("--version").output()?.stdout;
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Ok(Self {
            processor: field(&cpu, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            cores: thread::available_parallelism()?.get(),
            compiler: release(&String::from_utf8_lossy(&compiler)),
            packages: package,
        })
    }

    /// The version of a package that the lock file holds once.
    pub(crate) fn version(&self, name: &str) -> Option<&str> {
        self.packages.iter().find(|package| package.name == name).map(|found| &*found.version)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} cores, {}", self.processor, self.cores, self.compiler)
    }
}

/// The value of the first `key: value` line.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim())
}

/// "rustc 1.88.0" of "rustc 1.88.0 (6b00bc388 2025-06-23)".
fn release(version: &str) -> String {
    version.split(" (").next().unwrap_or_default().trim().to_owned()
}

/// The day of `time` in UTC, as in 2024-02-29.
///
/// The civil calendar from a count of days: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", 2013, `civil_from_days`; years start in March there, so that a leap day is the
/// last one.
pub(crate) fn day(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_day_is_that_of_the_calendar() {
        let at = |days: u64| day(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + 1));
        assert_eq!(at(0), "1970-01-01");
        assert_eq!(at(11_016), "2000-02-29");
        assert_eq!(at(19_782), "2024-02-29");
        assert_eq!(at(19_783), "2024-03-01");
        assert_eq!(at(20_819), "2027-01-01");
    }
}
