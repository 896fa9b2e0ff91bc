//! Randomness can be repeated.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::process::{Command, Output};

use seawall_test_support::{Rng, allocations, seed};

fn run(test: &str, seed: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SEAWALL_SEED", seed)
        .output()
        .unwrap()
}

#[test]
fn equal_seeds_give_equal_numbers() {
    let mut one = Rng::new();
    assert_eq!(one.seed(), seed());
    let mut other = Rng::with_seed(one.seed());
    let numbers: Vec<_> = (0..100).map(|_| one.u64(..)).collect();
    assert_eq!(numbers, (0..100).map(|_| other.u64(..)).collect::<Vec<_>>());
}

#[test]
#[ignore = "started by a_failing_test_prints_the_seed_that_repeats_it"]
fn a_test_that_fails() {
    let _rng = Rng::new();
    panic!("fails");
}

#[test]
fn a_failing_test_prints_the_seed_that_repeats_it() {
    let output = run("a_test_that_fails", "12345");
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("SEAWALL_SEED=12345"), "{printed}");
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    let output = run("a_test_that_fails", "tuesday");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("SEAWALL_SEED=tuesday is not a number"), "{printed}");
}

#[test]
#[should_panic(expected = "global_allocator")]
fn allocations_are_not_counted_as_none_without_the_allocator() {
    allocations(|| ());
}
