//! What a shard says: verdicts on packets and on ICMP errors, reasons, events, and sums.

use crate::flow::Endpoint;
use crate::table::SessionId;

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Forward it with these endpoints.
    Translate(Rewrite),
    /// NAT has nothing to do with it: route it as it is.
    Bypass,
    /// Answer with ICMP 3/13 (RFC 5508 REQ-8, RFC 6888 REQ-11).
    Refuse(Refused),
    /// Drop it without a word: it came uninvited.
    Deny(Denied),
    /// Hairpinning to another shard: rewrite, and let that worker translate it as from outside.
    Handoff(u16, Rewrite),
}

/// The endpoints a packet leaves with. Those that stay as they were are there too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewrite {
    pub src: Endpoint,
    pub dst: Endpoint,
    /// The session, where a gateway is to see the payload: [`Nat::control_out`](crate::Nat::control_out),
    /// [`Nat::control_ack`](crate::Nat::control_ack).
    pub gateway: Option<SessionId>,
}

/// What an ICMP error leaves with; addresses that stay are `None`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorRewrite {
    pub outer_src: Option<u32>,
    pub outer_dst: Option<u32>,
    /// The quoted packet's source as the receiver of the error knows it.
    pub inner_src: Endpoint,
    pub inner_dst: Endpoint,
}

/// What becomes of an ICMP error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorVerdict {
    Translate(ErrorRewrite),
    /// About a packet hairpinned to another shard: rewrite, and let that worker translate it as from outside.
    Handoff(u16, ErrorRewrite),
    /// About no session: it is dropped (RFC 5508 REQ-3 c, REQ-4 c).
    Unrelated,
}

/// Why a new flow from inside got no mapping or session. One variant = one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No port is left in the pool.
    PoolExhausted,
    /// The subscriber's quota of ports or port blocks is used up.
    SubscriberPorts,
    /// The subscriber's quota of sessions is used up.
    SubscriberSessions,
    /// The shard holds as many sessions or mappings as it may.
    TableFull,
    /// No pool translates this inside address.
    NoPool,
}

/// Why a packet was dropped without a word. One variant = one counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// Nobody inside has this outside endpoint.
    NoMapping,
    /// The mapping's filter does not let this remote endpoint in.
    Filtered,
    /// A TCP segment without SYN that belongs to no connection.
    TcpNoSession,
    /// No session could be made for a packet from outside: a cap is reached.
    TableFull,
}

/// Something the log of a carrier-grade NAT wants to know (RFC 6888 REQ-12: without destinations).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    MappingCreated { protocol: u8, inside: Endpoint, outside: Endpoint },
    MappingRemoved { protocol: u8, inside: Endpoint, outside: Endpoint, lifetime_secs: u32 },
    BlockAllocated { inside: u32, outside: u32, first: u16, size: u16 },
    BlockReleased { inside: u32, outside: u32, first: u16, size: u16 },
}

/// A port of an address that NAT shares with the host ([`Config::shared`](crate::Config::shared)): from `held` on its packets are NAT's, after
/// it the host's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortChange {
    pub protocol: u8,
    pub outside: Endpoint,
    pub held: bool,
}

/// Sums since start, and what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub sessions: u64,
    pub mappings: u64,
    pub subscribers: u64,
    pub sessions_created: u64,
    pub sessions_expired: u64,
    pub mappings_created: u64,
    /// Events that were not kept because nobody took the earlier ones.
    pub events_lost: u64,
}
