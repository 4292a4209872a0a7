//! What the benchmarks share: the full Internet table and traces of addresses over it.
//!
//! The runners are in `benches/`, the figures they wrote in `results/`.
#![forbid(unsafe_code)]

pub mod table;
pub mod trace;
