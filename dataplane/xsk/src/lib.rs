//! AF_XDP behind a safe API: one shared UMEM, owned frames, sockets, and memory-mapped BPF arrays.
//!
//! ```text
//!             ┌──────────── Umem: one area of 4096-byte frames, for the life of the process ────────────┐
//!   pool ◄──► Cache (one a worker) ──refill──► fill ring ──kernel──► rx ring ──rx──► Frame (held)         │
//!     ▲         ▲                                                                      │                  │
//!     │         └──────────────complete── completion ring ◄──kernel── tx ring ◄──tx────┘                  │
//!     └──────────────────────────────────── drop(Frame) ───────────────────────────────┘                  │
//!             └────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//! A frame is at each moment in the pool, in a cache, in the fill or tx path of one socket, or held by someone as a
//! [`Frame`]; [`Umem::census`] counts them, from any thread. A [`Frame`] is owned and cannot be cloned, so two
//! references to the same bytes cannot exist, and a descriptor the kernel returns is believed only if its frame was
//! given to the kernel through the same socket.
//!
//! Supported: shared UMEM over many (interface, queue) pairs, zero-copy and copy mode side by side, `need_wakeup` on
//! both rings, preferred busy polling, kernel statistics. Linux ≥ 5.11.
//! Not implemented: multi-buffer frames (`XDP_USE_SG`; their fragments are refused and counted), unaligned chunks,
//! several sockets on one queue.

mod cache;
mod error;
#[expect(unsafe_code, reason = "a frame is memory that the kernel writes while it has it")]
mod frame;
#[expect(unsafe_code, reason = "an address family that no crate wraps")]
mod link;
#[expect(unsafe_code, reason = "the memory of a BPF map")]
mod mapped;
#[expect(unsafe_code, reason = "socket options that no crate wraps")]
mod options;
#[expect(unsafe_code, reason = "the rings are memory shared with the kernel")]
mod ring;
mod socket;
mod stats;
#[expect(unsafe_code, reason = "the UMEM is memory shared with the kernel")]
mod umem;

pub use cache::Cache;
pub use error::{MapError, OpenError, OpenFailure, OpenStep, UmemError};
pub use frame::Frame;
pub use link::LinkSocket;
pub use mapped::MappedWords;
pub use options::BusyPoll;
pub use socket::{Bind, BoundMode, Observer, RingSizes, Socket, SocketConfig, Wake};
pub use stats::{Census, SocketGauges, XdpStatistics};
pub use umem::{Umem, UmemConfig};

/// Bytes of a frame: one page, so that a frame never crosses one.
pub const FRAME_SIZE: usize = 4096;
/// Free bytes before the data of a fresh frame; equals what the kernel leaves before the data of a received one
/// (`XDP_PACKET_HEADROOM`).
pub const HEADROOM: usize = 256;
