//! The picture in the guide is what its program draws.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../examples/window_edge.rs"]
mod window_edge;

#[test]
fn the_picture_in_the_guide_is_the_one_that_the_program_draws() {
    let drawn = window_edge::svg().unwrap();
    let remedy =
        "cargo run -p seawall-rate-limit --example window_edge > src/guide/window_edge.svg";
    assert!(drawn == include_str!("../src/guide/window_edge.svg"), "run: {remedy}");
    assert!(!drawn.contains("\n\n"), "an empty line ends it in Markdown");
}
