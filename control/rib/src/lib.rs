//! The routing table: candidates by distance, recursive resolution, next-hop groups, deltas. Pure.
//!
//! ```text
//!   insert/remove(prefix, route) ─▶ candidates of the prefix ─▶ choice ─▶ what the dataplane was told? ─▶ Delta
//!                                        │ target (interned)      ▲
//!   set_interface, set_silent ───────▶ next-hop group ── kind ────┘
//!                                        │ gateways               ▲
//!                                      next-hop tracking ─────────┘ (longest match in this same table)
//! ```
//!
//! - The best candidate has the lowest distance, then metric; one that cannot be used stands back for the next.
//!   Equal candidates of one protocol become one ECMP group.
//! - Routes with the same next hops share one group. A gateway that moves, or an interface that goes down, changes
//!   the group in place: one delta, however many routes use it.
//! - Deltas come from comparing what is best with what was told last, prefix by prefix, when they are drained.
//!   Nothing is told twice, and what changes back before a drain is not told at all.
//! - A prefix with one candidate costs 28 bytes.
#![forbid(unsafe_code)]

mod entry;
pub mod nexthop;
pub mod prefix_map;
pub mod protocol;
mod resolve;
pub mod rib;
mod sets;
mod tracker;
pub mod view;

pub use nexthop::{IfIndex, Kind, Nexthop, Path, Target, Unresolved, Via};
pub use prefix_map::{Hint, PrefixMap};
pub use protocol::Protocol;
pub use rib::{Delta, Rib, Route, Settings};
pub use sets::GroupId;
pub use view::{CandidateView, Entry, GroupView};
