//! What is measured and what is asked of it, from `areas.toml`.

use std::{error::Error, fs, path::Path};

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Areas {
    pub(crate) area: Vec<Area>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Area {
    /// The bench target.
    pub(crate) bench: String,
    pub(crate) title: String,
    pub(crate) about: String,
    /// The peers' packages, whose versions the page names.
    pub(crate) crates: Vec<String>,
    /// A program that weighs instead of timing: `scripts/bench` keeps the table that it prints.
    pub(crate) program: Option<String>,
    pub(crate) group: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// The group has a function `bare`, which both sides of a ratio are relieved of.
    #[serde(default)]
    pub(crate) bare: bool,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    #[serde(default = "seawall")]
    pub(crate) ours: String,
    #[serde(default)]
    pub(crate) peers: Vec<String>,
    pub(crate) at_most: Option<Target>,
}

fn seawall() -> String {
    "seawall".to_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) enum Target {
    /// Of the peer's time.
    Ratio(f64),
    Nanos(f64),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Ratio(f64),
    Time(String),
}

impl TryFrom<Written> for Target {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Ratio(ratio) => return Ok(Self::Ratio(ratio)),
            Written::Time(text) => text,
        };
        let wrong = || format!("at_most = {text:?} is no time such as \"20 ms\"");
        let (number, unit) = text.split_once(' ').ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let nanos = match unit {
            "ns" => 1.0,
            "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            _ => return Err(wrong()),
        };
        Ok(Self::Nanos(number * nanos))
    }
}

impl Areas {
    pub(crate) fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = path.display();
        let text = fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
        let areas: Self = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        for row in areas.area.iter().flat_map(|area| &area.group).flat_map(|group| &group.rows) {
            let fits = match row.at_most {
                None => true,
                Some(Target::Ratio(_)) => !row.peers.is_empty(),
                Some(Target::Nanos(_)) => row.peers.is_empty(),
            };
            if !fits {
                return Err(format!("{file}: at_most is a ratio with peers, a time without").into());
            }
        }
        Ok(areas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_areas_of_this_folder_are_well_formed() {
        let areas = Areas::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("areas.toml"));
        assert!(areas.is_ok(), "{areas:?}");
    }

    #[test]
    fn a_target_is_a_ratio_or_a_time() {
        let target = |text: &str| {
            #[derive(Deserialize)]
            struct Row {
                at_most: Target,
            }
            toml::from_str::<Row>(text).map(|row| row.at_most).map_err(|error| error.to_string())
        };
        assert_eq!(target("at_most = 0.2"), Ok(Target::Ratio(0.2)));
        assert_eq!(target("at_most = \"20 ms\""), Ok(Target::Nanos(20e6)));
        assert!(target("at_most = \"20 parsecs\"").is_err());
    }
}
