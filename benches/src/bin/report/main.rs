//! Writes `README.md` beside the benches: a table per area, from what criterion measured last.
//!
//! What was never measured says so. What a run left alone keeps the figures that criterion has kept,
//! or, in a clone where nothing of an area ran, those of the page as it was.

mod areas;
mod compare;
mod machine;
mod measured;
mod page;

use std::{env, error::Error, fs, path::PathBuf, process::ExitCode};

use crate::{areas::Areas, machine::Machine, measured::Measured};

fn main() -> ExitCode {
    match report() {
        Ok(path) => {
            println!("report: wrote {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report() -> Result<PathBuf, Box<dyn Error>> {
    let here = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").ok_or("start this with cargo: it says where we are")?,
    );
    let root = here.parent().ok_or("the benches are not in a workspace")?;
    let areas = Areas::read(&here.join("areas.toml"))?;
    let measured = Measured::new(criterion_home(root));
    let machine = Machine::this(&root.join("Cargo.lock"))?;
    let path = here.join("README.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(&path, page::page(&areas, &measured, &machine, &before)?)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Where criterion keeps what it measured, by its own rules.
fn criterion_home(root: &std::path::Path) -> PathBuf {
    let folder = |name| env::var_os(name).map(PathBuf::from);
    folder("CRITERION_HOME").unwrap_or_else(|| {
        root.join(folder("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("criterion")
    })
}
