//! Whole networks in one test, in virtual time.
//!
//! Routers are protocol machines; links lose, repeat, delay and reorder as a seed says; links and routers fail when the
//! test says so. Nothing waits: the clock jumps from one event to the next, so hours take milliseconds, and the same
//! seed gives the same run. After each event that changed a forwarding table the tables are followed hop by hop for
//! loops ([`loops`]), and when things are quiet they are compared with what an oracle that sees the whole network at
//! once says they should be ([`oracle`]).
//!
//! ```text
//!   Topology ──▶ Network ──▶ step: the earliest of { a frame arrives, a router's deadline }
//!                   │                     │                          │
//!                   │              Router::receive            Router::timeout
//!                   │                     └──────── poll ────────────┘
//!                   │              Transmit ─▶ segment: loss, delay … ─▶ frames in flight
//!                   ▼              RouteChange ─▶ forwarding table ─▶ loop check
//!             cut, silence, crash, restart
//! ```

pub mod loops;
mod mishap;
pub mod network;
pub mod oracle;
pub mod ospf;
pub mod report;
pub mod rip;
pub mod router;
pub mod segment;
pub mod topology;

pub use loops::LoopWatch;
pub use network::Network;
pub use router::{Effect, Router};
pub use segment::{Quality, SegmentState};
pub use topology::Topology;
