//! Stands for a test that uses randomness and fails; the crate's own tests look at what it prints.

fn main() {
    let _rng = seawall_test_support::Rng::new();
    panic!("fails");
}
