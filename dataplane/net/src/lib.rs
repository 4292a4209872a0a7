//! The vocabulary of the packet path, shared by every other crate and by the XDP program.
//!
//! Addresses and prefixes, our own [`Instant`], the Internet checksum and its incremental update, token
//! buckets, and checked views over wire bytes. No dependencies, no allocation, no `unsafe`; bytes from outside can never panic here.
#![no_std]
#![forbid(unsafe_code)]

pub mod bucket;
pub mod checksum;
pub mod mac;
pub mod port;
pub mod prefix;
pub mod time;
pub mod wire;

pub use bucket::{Meter, Rate};
pub use mac::Mac;
pub use port::PortId;
pub use prefix::{Prefix, PrefixError};
pub use time::Instant;

#[cfg(feature = "serde")]
mod serde_impls;
