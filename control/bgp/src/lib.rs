//! BGP-4 as a sans-IO machine.
//!
//! Speakers tell each other, over TCP, which networks they reach and by which path of ASes; each picks its best path for
//! every network, and tells the others of it as far as its policies let it.
//!
//! ```text
//!   octets of a connection ─▶ wire::frame ─▶ session (RFC 4271 §8) ─▶ import ─▶ table ─▶ decision ─▶ BestRoute
//!                                  │ Notification                       │ policy              │
//!                                  ▼                                    ▼                     ▼
//!                                Close                          attribute sets, each   groups: one encoding
//!                                                               of them kept once      for all alike peers
//! ```
//!
//! A prefix with one path costs 36 octets, beside its share of an attribute set.
//!
//! # Supported standards
//!
//! - RFC 4271 (BGP-4) with RFC 6286, 6608, 7606 (revised error handling), 7607 and 9687 (send hold timer).
//! - RFC 5492, 9072 (capabilities); RFC 4760 (multiprotocol) for IPv4 unicast; RFC 6793 (four-octet ASes).
//! - RFC 2918, 7313 (route refresh); RFC 8654 (extended messages); RFC 4724, 8538 (graceful restart).
//! - RFC 7911 (several paths), receiving; RFC 1997, 4360, 8092 (communities); RFC 8326 (graceful shutdown).
//! - RFC 4456 (reflection); RFC 5065 (confederations); RFC 7947 (route servers); RFC 8212 (default deny).
//! - RFC 9003 (shutdown messages); RFC 9234 (roles); RFC 9774 (no AS sets) as an option.
//!
//! `control/RFC.md` has them clause by clause.
//!
//! # Not implemented
//!
//! - Keeping IPv6 routes: they are decoded and counted.
//! - Sending several paths of a prefix; RFC 9494 (long-lived graceful restart).
//! - RPKI (RFC 8210), BMP (RFC 7854), MRT (RFC 6396), RFC 8950.

pub mod as_path;
pub mod attrs;
pub mod config;
pub mod decision;
pub mod machine;
pub mod show;
pub mod stats;
pub mod table;
pub mod wire;

mod export;
mod groups;
mod import;
mod local;
mod nexthops;
mod peer;
mod reconcile;
mod session;
mod walk;

pub use config::{Config, PeerConfig};
pub use machine::{BestRoute, Bgp, Clear, ConnId, Connect, Forwarding, Input, Notice, Output, Redistributed};
pub use peer::{PeerKind, State};
