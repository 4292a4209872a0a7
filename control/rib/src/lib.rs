//! The routing table: candidates by distance, recursive resolution, next-hop groups, deltas. Pure.
#![forbid(unsafe_code)]

pub mod protocol;

pub use protocol::Protocol;
