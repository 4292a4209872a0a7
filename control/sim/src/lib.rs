//! Whole networks in one test: virtual time, links with seeded loss, failures, invariants, an oracle.
