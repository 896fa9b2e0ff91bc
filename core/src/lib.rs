//! The shared words of the Seawall crates.
