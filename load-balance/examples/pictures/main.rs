//! Draws the guide's pictures into `src/guide`: `cargo run --example pictures`.

mod draw;

use std::{fs, path::Path};

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    fs::create_dir_all(&folder)?;
    for (name, svg) in draw::pictures() {
        fs::write(folder.join(name), svg)?;
        println!("drew {name}");
    }
    Ok(())
}
