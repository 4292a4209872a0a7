//! Benchmarks: the generator, the side-by-side runner and criterion benches. Results in results/.
