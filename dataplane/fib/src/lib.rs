//! The forwarding table: destination → next-hop group → bucket → adjacency, over memory the caller gives.
//!
//! ```text
//!  address ──▶ tbl24 (one entry a /24) ──▶ group ──▶ bucket ──▶ adjacency (port, MACs, MTU, VLAN, next hop)
//!                └▶ tbl8 (256 hosts) ──────┘  └ glean: (port, address) ──▶ neighbours ──▶ adjacency
//! ```
//!
//! All shared state is 64-bit atomic words, so the memory can be boxed (tests, benches) or memory-mapped BPF arrays
//! that the XDP program reads too. There is one [`Writer`], and any number of [`Reader`]s that never wait:
//!
//! - A word is changed by one store. Where an update takes several (a short prefix covers many entries), a reader
//!   finds for each address either the answer before or the answer after.
//! - What a word points to is complete before the word is published (Release, read with Acquire).
//! - What no word points to any more is reused only after every online worker has announced a quiescent state
//!   ([`Quiescence`]): within one burst, an id that a reader was given stays what it was.
//! - A refused change changes nothing. Refusals are counted ([`Stats`]).
//!
//! `unsafe` is confined to [`bulk`] (gather), [`prefetch`] and one line of [`memory`]; each has a safe twin or a proof.
//!
//! Not here: who the neighbours are (the clerk mirrors the kernel's table), which routes are best (control's RIB).

pub mod adjacency;
pub mod bulk;
mod dir;
pub mod group;
pub mod id;
pub mod memory;
mod neighbors;
mod prefetch;
pub mod quiescence;
pub mod reader;
mod shadow;
mod share;
mod slots;
mod word;
pub mod writer;

pub use adjacency::{Adjacency, AdjacencyState, Link, Tag, Tpid, Vlan};
pub use bulk::Bulk;
pub use group::{Buckets, Group, GroupSpec, MAX_MEMBERS};
pub use id::{AdjacencyId, GroupId};
pub use memory::{Geometry, LayoutError, Memory, Owned, Slices, Words};
pub use prefetch::prefetch;
pub use quiescence::{Quiescence, Quiescent};
pub use reader::Reader;
pub use writer::{Neighbor, Refusal, Resolution, Stats, Writer};
