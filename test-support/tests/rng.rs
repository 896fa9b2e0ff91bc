//! Randomness can be repeated.

#![allow(clippy::unwrap_used)] // A helper of tests is no test to the lint.

use std::process::{Command, Output};

use seawall_test_support::{Rng, allocations, seed};

fn failing_test(seed: &str) -> Output {
    let mut test = Command::new(env!("CARGO_BIN_EXE_failing-test"));
    test.env("SEAWALL_SEED", seed).output().unwrap()
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
fn a_failing_test_prints_the_seed_that_repeats_it() {
    let output = failing_test("12345");
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("SEAWALL_SEED=12345"), "{printed}");
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    let output = failing_test("tuesday");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("SEAWALL_SEED=tuesday is not a number"), "{printed}");
}

#[test]
#[should_panic(expected = "global_allocator")]
fn allocations_are_not_counted_as_none_without_the_allocator() {
    allocations(|| ());
}
