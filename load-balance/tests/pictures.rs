//! The guide's pictures are what the program draws.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/pictures/draw.rs"]
mod draw;

#[test]
fn the_pictures_of_the_guide_are_what_the_program_draws() {
    for (name, svg) in draw::pictures() {
        let path = format!("{}/src/guide/{name}", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == svg, "{name}: draw it anew with `cargo run --example pictures`");
    }
}
