//! The runtime: one task that owns the routing table.

pub mod handle;

pub use handle::Handle;
