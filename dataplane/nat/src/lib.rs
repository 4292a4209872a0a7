//! NAT and PAT for IPv4: the state, and what it says about a packet.
//!
//! ```text
//!     inside                        Nat                          outside
//!   192.168.0.5:4000 ─┐   mapping (EIM, RFC 4787 REQ-1)    ┌─▶ 198.51.100.1:443   session 1
//!                     ├─▶ 192.168.0.5:4000 ↔ 203.0.113.8:37112 ─┤
//!   192.168.0.5:4000 ─┘                                    └─▶ 198.51.100.2:53    session 2
//! ```
//!
//! A **mapping** gives an inside endpoint one outside endpoint whomever it speaks to; **sessions** are the
//! conversations through it and carry the remote endpoint, the TCP state and the timer. A packet of a known session is one
//! hash look-up, made in three passes over a burst so that its cache misses overlap ([`Nat::probe`], [`Nat::approach`],
//! [`Nat::translate_known`]); everything else takes the slow path, which decides, allocates and refuses
//! ([`Nat::translate`]).
//!
//! A [`Nat`] is one *shard*: it belongs to one worker, and nothing in it is shared. [`Slices`] deals the outside ports to
//! shards, the inside address's hash deals the subscribers, so that two shards can never give out the same endpoint.
//!
//! Supported: RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP queries; errors by [`Nat::translate_error`]), 6888 (CGN), 7422
//! (deterministic), 7857. The ledger is `dataplane/RFC.md`.
//!
//! [`packet`] reads what NAT needs from a packet and writes a [`Rewrite`] into it; when to do which is the engine's.

mod config;
mod flow;

pub mod alg;
pub mod packet;

mod close;
mod nat;
mod open;

mod expiry;
mod index;
mod permission;
mod pool;
mod ports;
mod rng;
mod table;
mod tcp_state;

pub use config::{
    Allocation, Config, Filtering, Forward, Limits, PerProtocol, Pool, Source, SourceAction, Static,
    TimerTooShort, Timers,
};
pub use flow::{Endpoint, Flow, Tcp, protocol};
pub use nat::{Denied, ErrorRewrite, Event, Nat, Refused, Rewrite, Totals, Verdict};
pub use ports::Slices;
pub use table::{MappingId, Probe, SessionId, Side};
pub use tcp_state::{Direction, TcpState, TcpTimer};
