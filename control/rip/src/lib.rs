//! RIP version 2 as a sans-IO machine.
//!
//! Every 30 seconds a router tells its neighbours every network it knows and how far it is; whoever hears of a network
//! that is nearer than by what it knows, or hears its own next hop correct itself, believes it (Bellman-Ford). What is
//! 16 away is out of reach, which bounds how long a lie can circle. Three things keep lies rare: routes are told back
//! to where they were learned as unreachable (poisoned reverse), changes are told at once (triggered updates), and
//! what nobody repeats runs out.
//!
//! ```text
//!   datagram ─▶ receive::accept ─▶ receive::interpret ─▶ table (paths of every neighbour, the best in use)
//!                   │ BadPacket         │ BadRoute          │ changed flags            │
//!                   ▼                   ▼                   ▼                          ▼
//!                 stats               stats     send: triggered and regular       RouteChange
//!                                               updates, split horizon, pace
//! ```
//!
//! # Supported standards
//!
//! - RFC 2453 (RIP version 2), with the compatibility of its §5 for hearing version 1.
//! - RFC 4822 (cryptographic authentication): keyed MD5, HMAC-SHA-1, -256, -384 and -512, key chains.
//! - RFC 5082 (GTSM) as an option.
//!
//! `control/RFC.md` has them clause by clause.
//!
//! # Not implemented
//!
//! - Sending version 1 other than in answer to a version 1 request.
//! - RFC 2091 (demand circuits).
//! - An infinity other than 16.

pub mod config;
pub mod machine;
pub mod metric;
pub mod show;
pub mod stats;
pub mod table;
pub mod wire;

mod auth;
mod exchange;
mod link;
mod receive;
mod reconcile;
mod send;

pub use config::{Config, InterfaceConfig};
pub use machine::{Input, Notice, Output, Redistributed, Rip};
pub use metric::{Cost, Metric};
pub use stats::{BadPacket, BadRoute};
pub use table::{NeighborKey, OriginKind};
