//! What every routing protocol of this router shares.
//!
//! A protocol is a [`Machine`]: inputs and the time go in, outputs and the next deadline come out. It owns no socket,
//! reads no clock, starts no thread and draws randomness only from a seed, so whole networks run in one test
//! (`millrace-sim`) and a recorded sequence of inputs replays to the same outputs ([`record`]).
//!
//! ```text
//!   shell: sockets, rtnetlink, clock                        machine: rip, ospf, bgp, bfd
//!   ─────────────────────────────────                       ──────────────────────────────
//!   datagrams, interface events ──── handle_input(now) ───▶ state
//!   deadline reached ─────────────── handle_timeout(now) ─▶ state
//!   datagrams to send, RouteChange ◀─ poll_output() ─────── queue, drained to None after every call
//!   when to wake, and what for ◀──── poll_timeout() ─────── timers
//! ```

pub mod cursor;
pub mod datagram;
pub mod interface;
pub mod keychain;
pub mod mac;
pub mod machine;
pub mod reasons;
pub mod record;
pub mod rng;
pub mod route;
pub mod timers;
pub mod wall;

pub use cursor::{Cursor, Truncated};
pub use datagram::{Datagram, Transmit};
pub use interface::{IfIndex, Interface, InterfaceAddress, InterfaceEvent, LinkKind};
pub use keychain::{Key, KeyChain, KeyChainError, KeyId, Lifetime, Secret};
pub use mac::{Algorithm, Digest};
pub use machine::Machine;
pub use millrace_net::Instant;
pub use record::Step;
pub use rng::Rng;
pub use route::{NextHop, Route, RouteChange};
pub use timers::Timers;
pub use wall::{UnixTime, WallClock};
