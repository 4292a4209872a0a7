//! OSPF version 2 as a sans-IO machine.
//!
//! Every router floods what it is joined to through its area; each keeps the same database of these link-state
//! advertisements (LSAs), and each calculates the shortest paths over it. Border routers tell areas of each other,
//! boundary routers tell of what other protocols know.
//!
//! ```text
//!   datagram ─▶ receive: frame, area, authentication ─▶ hello ─────▶ neighbours, designated router
//!                  │ BadPacket                          exchange ──▶ descriptions, requests
//!                  ▼                                    flood ─────▶ database ─▶ LSAs out, acknowledgements
//!                stats                                                  │ back-off
//!                              originate ◀── summaries, externals ◀── routes: spf, inter-area, external ─▶ RouteChange
//! ```
//!
//! # Supported standards
//!
//! - RFC 2328 (OSPF version 2), RFC 3509 (what a border router is).
//! - RFC 3101 (NSSA), RFC 3623 (graceful restart, helping side), RFC 5250 (opaque LSAs, carried), RFC 5709 (HMAC-SHA),
//!   RFC 6860 (prefix suppression), RFC 6987 (stub router), RFC 8405 (SPF back-off).
//!
//! `control/RFC.md` has them clause by clause.
//!
//! # Not implemented
//!
//! - Type of service routing (RFC 1583), demand circuits (RFC 1793), MOSPF.
//! - Restarting gracefully itself (RFC 3623 §2), extended sequence numbers (RFC 7474), loop-free alternates (RFC 5286).
//! - OSPF on more than the first address of an interface: further networks are announced as stubs.

pub mod config;
pub mod election;
pub mod link;
pub mod machine;
pub mod neighbor;
pub mod routes;
pub mod show;
pub mod spf;
pub mod stats;
pub mod wire;

mod adjacency;
mod area;
mod auth;
mod backoff;
mod database;
mod exchange;
mod externals;
mod flood;
mod grace;
mod hello;
mod lsdb;
mod originate;
mod receive;
mod reconcile;
mod send;
mod summaries;
mod virtual_links;

pub use config::{Config, InterfaceConfig};
pub use machine::{Input, Notice, Ospf, Output, Redistributed};
pub use stats::{BadLsa, BadPacket};
