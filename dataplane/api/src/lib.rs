//! What control and dataplane say to each other over `/run/millrace/dataplane.sock`.
//!
//! ```text
//!   control                                   dataplane
//!      │ Hello { version } ───────────────────▶ │
//!      │ ◀─────────────── Hello { instance, … } │
//!      │ Configure(…) ────────────────────────▶ │  whole, idempotent; equal config changes nothing
//!      │ ResyncBegin { generation } ──────────▶ │
//!      │ Batch { generation, ops } ───────────▶ │  as many as it takes
//!      │ ◀────────────── Ack { generation, … }  │  one for each Batch, in order
//!      │ ResyncEnd { generation } ────────────▶ │  what was not mentioned since ResyncBegin is swept
//!      │ Batch … (deltas from here on)          │
//!      │ Query(…) ────────────────────────────▶ │  at any time
//! ```
//!
//! Every request has exactly one [`Reply`], in order, with the request's sequence number. `Upsert` of what is
//! there replaces it and `Remove` of what is not there is fine, so a batch may be sent again after a lost connection.
//! The dataplane keeps forwarding with what it has while control is away.
//!
//! On the wire a message is a little-endian `u32` length and that many bytes of postcard ([`frame`]).
#![forbid(unsafe_code)]

pub mod config;
pub mod filter;
pub mod frame;
pub mod message;
pub mod nat;
pub mod report;

pub use config::{
    DataplaneConfig, Express, FlowHash, Forwarding, Guard, IcmpSource, InterfaceConfig, Mode, MssClamp,
    NatRole, OnFailure, Queues, Scheduling, Switches, Urpf, Vlan,
};
pub use filter::{Acl, AclAction, AclRule, Fragments, Police, TcpFlags};
pub use frame::{FrameError, decode, encode, read_frame, write_frame};
pub use message::{
    CaptureOrder, ExplainQuery, Member, NatQuestion, NexthopId, NexthopKind, Op, Query, Refusal,
    RefusalReason, Reply, ReplyBody, Request, RequestBody, Via,
};

/// Version of this protocol. Peers of different versions refuse each other with both numbers in the message.
pub const VERSION: u32 = 1;
