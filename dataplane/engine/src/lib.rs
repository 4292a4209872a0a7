//! The packet path, pure: a burst of frames and a time in, verdicts out.
//!
//! ```text
//!            rx burst                                                              Shell
//!               │                                                                    ▲
//!   pass 1  eth_input ─▶ ip_input ─▶ urpf ─▶ acl    (prefetch of the route)          │
//!           nat: sessions of the whole burst; what comes from outside gets its inside destination
//!   pass 2  fib_lookup: groups of the whole burst, then buckets, (prefetch of the adjacency)
//!           nat: what leaves from inside to outside and is known gets its outside source
//!   pass 3  route ─▶ ip_forward ─▶ acl ─▶ eth_output ────────────────────────────────┤ transmit
//!                     │          ├──────▶ ip_fragment ─▶ eth_output ─────────────────┤ transmit
//!                     │          └──────▶ icmp_error ──▶ fib_lookup ─▶ eth_output ───┤ transmit
//!                     ├─▶ hold: waits for a neighbour ───────────────────────────────┤ resolve
//!                     └─▶ local ─────────────────────────────────────────────────────┘ to_kernel
//! ```
//!
//! The engine reads no clock, takes no lock, logs nothing and allocates only in [`Engine::new`]. What it needs from
//! outside comes in through [`Shell`] and the `now` of each call; what it has done is in [`CounterPage`]. Which
//! clause of which RFC is met where, and by which test it is shown, is in `dataplane/RFC.md`.
#![forbid(unsafe_code)]

pub mod counters;
pub mod engine;
pub mod filter;
pub mod frame;
mod limiter;
pub mod outcome;
mod packet;
pub mod ports;
mod stage;

pub use counters::{CounterPage, PortCounters};
pub use engine::{BURST, Engine, EngineConfig, Explanation, IcmpSource, Settings};
pub use filter::{Filter, Hits, Judgement};
pub use frame::{Frame, Handoff, Leg, Pool, Shell};
pub use outcome::{DropReason, Event, IcmpMessage, Stage, Verdict, VerdictKind};
pub use ports::{Guard, NatSide, Port, Ports, Urpf};
pub use stage::fib_lookup::FlowHash;
pub use stage::mss_clamp::MssClamp;
