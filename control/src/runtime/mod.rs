//! The runtime: one task that owns the routing table.
//!
//! ```text
//!   links ───────────┐                       ┌─▶ session ─▶ dataplane      what it lacks, batch by batch, acknowledged
//!   Handle::apply ───┼─▶ candidates ─▶ rib ──┤
//!   (protocols) ─────┘                       └─▶ mirror ──▶ kernel         in the background
//!   BFD sessions ──▶ watched next hops ─▶ rib
//!   Handle::routes, status, query ◀── view
//! ```
//! Everything here happens in one task, so nothing is locked. What takes long (a full table, a resync) is done a batch
//! at a time, and between two batches commands and events are served.

pub mod handle;

mod audit;
mod candidates;
mod mirror;
mod session;
mod task;
mod view;
mod watched;

#[cfg(test)]
mod tests;

pub use handle::Handle;
pub use task::{Runtime, start};
