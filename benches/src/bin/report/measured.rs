//! What criterion measured, from the folders it keeps.

use std::{error::Error, fs, io::ErrorKind, path::PathBuf, time::SystemTime};

use serde::Deserialize;

/// The folder in which criterion keeps a folder per group, in that one per function.
pub(crate) struct Measured {
    home: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) nanos: f64,
    pub(crate) when: SystemTime,
}

/// The part of criterion's `estimates.json` that the page needs.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

impl Measured {
    pub(crate) fn new(home: PathBuf) -> Self {
        Self { home }
    }

    /// What `program` printed when `scripts/bench` ran it; none when it never did.
    pub(crate) fn printed(&self, program: &str) -> Result<Option<String>, Box<dyn Error>> {
        match fs::read_to_string(self.home.join(program).with_extension("md")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => Ok(Some(text?)),
        }
    }

    /// The median of `function`, of this group or of the one it names; none when it never ran.
    pub(crate) fn median(
        &self,
        group: &str,
        function: &str,
    ) -> Result<Option<Median>, Box<dyn Error>> {
        let (group, function) = function.split_once('/').unwrap_or((group, function));
        let path = self.home.join(group).join(function).join("new/estimates.json");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let estimates: Estimates =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let when = fs::metadata(&path)?.modified()?;
        Ok(Some(Median { nanos: estimates.median.point_estimate, when }))
    }
}
