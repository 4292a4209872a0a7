//! Bidirectional Forwarding Detection as a sans-IO machine: whether the path to a neighbour carries packets, within
//! fractions of a second.
//!
//! Two systems send each other small packets at an interval that both agree to; who hears nothing for a few intervals
//! in a row declares the path down, and says so to whoever asked. Static routes, RIP, OSPF and BGP ask; one session
//! serves all who watch the same neighbour.
//!
//! ```text
//!                 +--+
//!                 |  | UP, ADMIN DOWN, TIMER
//!                 |  V
//!         DOWN  +------+  INIT
//!  +------------|      |------------+
//!  |            | DOWN |            |
//!  |  +-------->|      |<--------+  |       what the other side says, RFC 5880 §6.2
//!  |  |         +------+         |  |
//!  |  | ADMIN DOWN,              |  |
//!  |  | TIMER       ADMIN DOWN,  |  |
//!  |  |             DOWN, TIMER  |  |
//!  V  |                          |  V
//! +------+    INIT, UP         +------+
//! | INIT |-------------------->|  UP  |
//! +------+                     +------+
//! ```
//!
//! A shell that is late must hand in the datagrams that wait before it calls `handle_timeout`: then a busy host is not
//! mistaken for a dead neighbour.
//!
//! # Supported standards
//!
//! - RFC 5880: asynchronous mode, Poll Sequences, active and passive role, administrative shutdown.
//! - RFC 5881: single hop over IPv4.
//! - RFC 5882 §3.2: a session that the other side shuts down is no failure ([`Change::is_failure`]).
//!
//! `control/RFC.md` has them clause by clause.
//!
//! # Not implemented
//!
//! - The Echo function: we say that we do not echo, and never ask for it.
//! - Demand mode: never asked for; a neighbour that asks for it is sent packets all the same.
//! - Authentication (RFC 5880 §6.7): packets that carry it are refused. TTL 255 keeps others than neighbours out.
//! - Multihop (RFC 5883), seamless BFD, micro-BFD.

pub mod config;
pub mod machine;
pub mod session;
pub mod show;
pub mod state;
pub mod stats;
pub mod wire;

pub use config::{Config, Params};
pub use machine::{Bfd, Change, Client, Input, Output, SessionKey};
pub use state::{Diagnostic, State};
pub use stats::{BadPacket, BadPackets};
