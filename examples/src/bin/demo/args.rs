//! The flags, and what is wrong with them in one line.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, ValueEnum, error::ErrorKind};
use reqwest::Url;

/// Where an agent of Consul listens when nothing else is said.
const LOCAL_CONSUL: &str = "http://127.0.0.1:8500";

/// Kills, hangs and slows three real servers while a gRPC client and an HTTP client, both built with
/// seawall, go on calling them.
#[derive(Debug, Parser)]
#[command(name = "demo", version, about, long_about = None, bin_name = "cargo demo")]
#[command(allow_negative_numbers = true)]
pub(crate) struct Args {
    /// Where the servers are registered and found; nothing needs to be installed for `memory`
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<RegistryKind>,
    /// The agent to register with, http://127.0.0.1:8500 unless set; means `--registry consul`
    #[arg(long, value_name = "URL", value_parser = http_url)]
    consul: Option<Url>,
    /// A Redis to share the rate limit through; this version has no shared limiter yet
    #[arg(long, value_name = "URL", value_parser = redis_url)]
    pub(crate) redis: Option<Url>,
    /// How long to run, from 1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Calls per second in all, half of them gRPC and half HTTP, from 2 to 5000
    #[arg(long, value_name = "CALLS", default_value = "400",
          value_parser = clap::value_parser!(u32).range(2..=5_000))]
    pub(crate) rps: u32,
    /// Chooses which server is killed, hung and slowed; the same seed chooses the same
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Write the figures of the run to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Where to write the HTML report; beside the program unless set
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// One line a second in place of the live view
    #[arg(long)]
    pub(crate) plain: bool,
    /// Write a picture of the live view to this file (SVG)
    #[arg(long, value_name = "FILE", hide = true)]
    pub(crate) picture: Option<PathBuf>,
    /// Be one of the servers
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) serve: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RegistryKind {
    Memory,
    Consul,
}

/// Where the servers are registered and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Registry {
    Memory,
    Consul(Url),
}

/// Why there is no run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or version was asked for.
    Shown(String),
    /// One line that says what is wrong with them, or with what they name.
    Wrong(String),
    /// One line that says what went wrong although they were right.
    Failed(String),
}

impl Args {
    pub(crate) fn read() -> Result<Self, Refusal> {
        Self::from_words(std::env::args_os())
    }

    fn from_words<T>(words: impl IntoIterator<Item = T>) -> Result<Self, Refusal>
    where
        T: Into<std::ffi::OsString> + Clone,
    {
        let args = Self::try_parse_from(words).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Shown(error.to_string()),
            _ => Refusal::Wrong(one_line(&error.to_string())),
        })?;
        if args.registry == Some(RegistryKind::Memory) && args.consul.is_some() {
            let line = "--consul cannot be used with --registry memory";
            return Err(Refusal::Wrong(line.into()));
        }
        Ok(args)
    }

    pub(crate) fn registry(&self) -> Result<Registry, Refusal> {
        match (self.registry, &self.consul) {
            (_, Some(url)) => Ok(Registry::Consul(url.clone())),
            (Some(RegistryKind::Consul), None) => {
                http_url(LOCAL_CONSUL).map(Registry::Consul).map_err(Refusal::Wrong)
            }
            (Some(RegistryKind::Memory) | None, None) => Ok(Registry::Memory),
        }
    }

    /// Where the report goes.
    pub(crate) fn report(&self) -> PathBuf {
        match (&self.report, std::env::current_exe()) {
            (Some(path), _) => path.clone(),
            (None, Ok(program)) => program.with_file_name("demo-report.html"),
            (None, Err(_)) => std::env::temp_dir().join("demo-report.html"),
        }
    }

    /// Finds out before the run whether its results can be written after it.
    pub(crate) fn check_files(&self) -> Result<(), Refusal> {
        let report = self.report();
        for path in [self.json.as_deref(), Some(&*report), self.picture.as_deref()] {
            path.map_or(Ok(()), check_file)?;
        }
        Ok(())
    }
}

fn check_file(path: &Path) -> Result<(), Refusal> {
    let existed = path.exists();
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| Refusal::Wrong(format!("cannot write {}: {error}", path.display())))?;
    if !existed {
        // The run may be stopped before there is anything to write.
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

/// What clap says over several lines, without its advice.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let told = message.lines().take_while(|line| {
        !line.starts_with("Usage:") && !line.starts_with("For more information")
    });
    told.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number of seconds from 1 to 3600".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    // Also false for a NaN.
    if (1.0..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

fn url(text: &str, schemes: &[&str], example: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if schemes.contains(&url.scheme()) && url.host().is_some() => Ok(url),
        _ => Err(format!("must be a URL such as {example}")),
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    url(text, &["http", "https"], LOCAL_CONSUL)
}

fn redis_url(text: &str) -> Result<Url, String> {
    url(text, &["redis"], "redis://127.0.0.1:6379")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Args, String> {
        let words = std::iter::once("demo").chain(words.split_whitespace());
        Args::from_words(words).map_err(|refusal| match refusal {
            Refusal::Wrong(line) => line,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn nothing_needs_to_be_said() {
        let args = read("").unwrap();
        assert_eq!(args.duration, Duration::from_secs(20));
        assert_eq!(args.registry().unwrap(), Registry::Memory);
    }

    #[test]
    fn a_consul_url_alone_means_the_consul_registry() {
        let url = "http://127.0.0.1:9000/";
        let args = read(&format!("--consul {url}")).unwrap();
        assert_eq!(args.registry().unwrap(), Registry::Consul(url.parse().unwrap()));
        let args = read("--registry consul").unwrap();
        assert_eq!(args.registry().unwrap(), Registry::Consul(LOCAL_CONSUL.parse().unwrap()));
        read("--registry memory --consul http://h:1").unwrap_err();
    }

    #[test]
    fn bad_values_are_refused_in_one_line_that_names_the_flag() {
        for (flag, values) in [
            ("--duration", &["0", "-1", "0.5", "NaN", "inf", "1e300", "soon", ""][..]),
            ("--rps", &["0", "1", "-5", "99999999", "99999999999999", "many", "1.5"]),
            ("--seed", &["-1", "x", "99999999999999999999999"]),
            ("--registry", &["zookeeper", ""]),
            ("--consul", &["127.0.0.1:8500", "ftp://h", "http://"]),
            ("--redis", &["127.0.0.1:6379", "http://127.0.0.1"]),
        ] {
            for value in values {
                let line = read(&format!("{flag}={value}")).unwrap_err();
                assert!(line.contains(flag) && !line.contains('\n'), "{flag}={value}: {line}");
            }
        }
        assert!(read("--no-such-flag").unwrap_err().contains("--no-such-flag"));
        assert!(read("stray").unwrap_err().contains("stray"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_refused_before_the_run() {
        let refusal = read("--json /no/such/folder/x.json").unwrap().check_files().unwrap_err();
        let Refusal::Wrong(line) = refusal else { panic!("{refusal:?}") };
        assert!(line.contains("/no/such/folder/x.json"), "{line}");
    }
}
