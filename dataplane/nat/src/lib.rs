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
//! hash look-up, made in three passes over a burst so that its cache misses overlap ([`Nat::probe`],
//! [`Nat::approach`], [`Nat::translate_known`]); everything else takes the slow path, which decides, allocates and refuses
//! ([`Nat::translate`]).
//!
//! A [`Nat`] is one *shard*: it belongs to one worker, and nothing in it is shared. [`Slices`] deals the outside ports to
//! shards, the inside address's hash deals the subscribers, so that two shards can never give out the same endpoint.
//!
//! Supported: RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP queries; errors by [`Nat::translate_error`]), 6888 (CGN), 7422
//! (deterministic), 7857. The ledger is `dataplane/RFC.md`.
//!
//! # How the shell uses it
//!
//! * A [`Config`] and [`Slices`] (number of workers, largest port block of any pool) are the same in all workers. Each worker
//!   makes its [`Nat::new`] and gives it to its engine (`Engine::set_nat`); another configuration comes by
//!   [`Nat::reconfigure`] through `Engine::nat_mut`. Ports have their side in `engine::Port::nat`; with sides but without a
//!   shard the engine lets nothing from inside out.
//! * A packet whose state another worker has comes out of the engine by `Shell::hand_off(Handoff { worker, leg }, port,
//!   frame)`. That worker gives it to `Engine::process_handed` with its port and leg.
//! * After each burst: [`Nat::poll_port_change`] until `None`, into the bitmap of addresses that the host has too
//!   ([`Config::shared`]); [`Nat::poll_event`] until `None`, for the log. Both are queues, cheap when empty.
//! * `Engine::poll_timeout` and `Engine::handle_timeout` include the timers, 512 sessions a call.
//! * Views are read between two bursts, a page at a time: [`Nat::sessions_page`], [`Nat::mappings_page`],
//!   [`Nat::subscribers_page`] (a record costs some 20 ns), [`Nat::pools`], [`Nat::totals`], [`Nat::deterministic`],
//!   [`Nat::deterministic_inside`]; [`Nat::clear`] likewise. Refusals are counted by the engine's drop reasons `nat-…`.
//! * For a planned restart the worker's shards come back by `Engine::set_nat(None)`; [`Nat::dump`] of all of them, one after
//!   the other, is the file. [`State::read`] checks it, and each worker of the next process takes its part by
//!   [`Nat::restore`].
//!
//! [`packet`] reads what NAT needs from a packet and writes a [`Rewrite`] into it; when to do which is the engine's.

mod config;
mod flow;

pub mod alg;
pub mod packet;
pub mod segment;

mod close;
mod nat;
mod open;
mod reconfigure;
mod state;
mod views;
mod who;

mod expiry;
mod index;
mod permission;
mod pool;
mod ports;
mod rng;
mod table;
mod tcp_state;
mod verdict;

pub use config::{
    Allocation, Config, Filtering, Forward, Gateways, Limits, PerProtocol, Pool, Refusal, Source,
    SourceAction, Static, TimerTooShort, Timers,
};
pub use flow::{Endpoint, Flow, Tcp, protocol};
pub use nat::Nat;
pub use ports::Slices;
pub use reconfigure::Kept;
pub use state::{BadState, State};
pub use table::{Guess, Probe, SessionId, Side};
pub use tcp_state::{Direction, TcpState, TcpTimer};
pub use verdict::{Denied, ErrorRewrite, ErrorVerdict, Event, PortChange, Refused, Rewrite, Totals, Verdict};
pub use views::{Cursor, MappingKind, MappingView, PoolView, SessionView, SubscriberView};
