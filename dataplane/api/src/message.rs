//! Requests and replies.

use core::net::Ipv4Addr;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

use crate::config::DataplaneConfig;
use crate::nat::{self, NatCursor, NatFilter};
use crate::report;

/// One message from control.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by control; comes back in the reply.
    pub seq: u32,
    pub body: RequestBody,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RequestBody {
    /// First on every connection.
    Hello {
        version: u32,
    },
    Configure(Box<DataplaneConfig>),
    /// Everything upserted from here to the `ResyncEnd` of the same generation stays; the rest is swept there.
    ResyncBegin {
        generation: u64,
    },
    ResyncEnd {
        generation: u64,
    },
    /// Applied in order. Generations never decrease on one connection.
    Batch {
        generation: u64,
        ops: Vec<Op>,
    },
    Query(Query),
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Replaces the group in place: every route that uses it follows at once.
    NexthopUpsert {
        id: NexthopId,
        kind: NexthopKind,
    },
    NexthopRemove {
        id: NexthopId,
    },
    RouteUpsert {
        prefix: Prefix,
        nexthop: NexthopId,
    },
    RouteRemove {
        prefix: Prefix,
    },
}

/// Control's number for a next-hop group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct NexthopId(pub u32);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum NexthopKind {
    /// One member, or several for ECMP. Never empty, at most 64 members.
    Forward(Vec<Member>),
    /// Destinations are on the link of this interface: neighbours are looked up by destination address.
    Glean { ifindex: u32 },
    /// An address of the router itself.
    Local,
    /// Discarded without a word.
    Blackhole,
    /// Answered with ICMP 3/1 (host unreachable).
    Unreachable,
    /// Answered with ICMP 3/13 (communication administratively prohibited).
    Prohibit,
}

/// One path of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Member {
    pub via: Via,
    /// Share of the flows, relative to the other members; 1 to 256.
    pub weight: u16,
}

/// A resolved, directly connected next hop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Via {
    pub ifindex: u32,
    pub gateway: Ipv4Addr,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Query {
    Interfaces,
    Counters,
    Workers,
    Neighbors,
    Nexthops,
    /// What would become of a packet.
    Explain(ExplainQuery),
    /// What the rules of packet filters have met.
    Acls,
    /// What a packet to this address would meet; without an address, the summary only.
    Fib {
        address: Option<Ipv4Addr>,
    },
    NatStats,
    NatPools,
    NatSessions {
        filter: NatFilter,
        from: NatCursor,
        limit: u32,
    },
    NatMappings {
        filter: NatFilter,
        from: NatCursor,
        limit: u32,
    },
    /// The inside addresses that hold most.
    NatSubscribers {
        limit: u32,
    },
    /// Where an inside address comes out (RFC 7422), or who is behind an outside endpoint.
    NatDeterministic(NatQuestion),
    /// Ends the sessions that fit, and mappings with their last session. It changes no setting, so it may be asked by anybody.
    NatClear {
        filter: NatFilter,
    },
    /// Starts a capture; it ends when nobody asks for what it has taken for three seconds. One at a time.
    CaptureStart(CaptureOrder),
    /// Ends a capture; one that has ended is fine.
    CaptureStop {
        id: u64,
    },
    /// What the capture of this number has taken, at most `max` packets.
    Captured {
        id: u64,
        max: u32,
    },
    /// Routes in the FIB after `after` in address order, at most `limit`: the audit and `show fib` page through.
    FibRoutes {
        after: Option<Prefix>,
        limit: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NatQuestion {
    Inside(Ipv4Addr),
    Outside(Ipv4Addr, u16),
}

/// What a capture is to take.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CaptureOrder {
    /// In the language of `millrace-filter`; empty: everything.
    pub filter: String,
    /// Of this interface only.
    pub interface: Option<String>,
    pub rx: bool,
    pub tx: bool,
    pub drop: bool,
    /// Bytes of each frame, at most.
    pub snap: u32,
    /// Packets that pass the filter on arrival are followed: everything that becomes of them is taken, with their number.
    pub trace: bool,
}

/// A packet, and where it comes in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExplainQuery {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// IP protocol number.
    pub protocol: u8,
    /// With protocol 1: the ICMP type.
    pub source_port: u16,
    /// With protocol 1: the ICMP code.
    pub destination_port: u16,
    /// None: the one that leads to the source.
    pub interface: Option<String>,
    /// Of the IPv4 packet, in bytes; 40 at least.
    pub length: u16,
    pub ttl: u8,
    pub dont_fragment: bool,
}

/// One message from the dataplane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Reply {
    pub seq: u32,
    pub body: ReplyBody,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ReplyBody {
    /// `instance` differs after every start of the dataplane: control then sends everything again.
    Hello {
        version: u32,
        instance: u64,
        build: String,
        pid: u32,
    },
    /// The configuration is in force; `restart` names settings that differ and take a restart of the dataplane.
    Configured {
        restart: Vec<String>,
    },
    /// The configuration as a whole was refused and nothing changed.
    ConfigRefused {
        reason: String,
    },
    /// All ops up to this generation are in the table workers read, except `refused`.
    Ack {
        generation: u64,
        applied: u32,
        refused: Vec<Refusal>,
    },
    ResyncEnded {
        generation: u64,
        swept: u32,
    },
    ResyncBegun {
        generation: u64,
    },
    /// The request made no sense here (for example a Batch before Hello).
    Error {
        reason: String,
    },
    Interfaces(Vec<report::Interface>),
    Counters(report::Counters),
    Workers(Vec<report::Worker>),
    Neighbors(Vec<report::Neighbor>),
    Nexthops(Vec<report::Nexthop>),
    Acls(Vec<report::AclHits>),
    Explained(Box<report::Explanation>),
    Fib(report::Fib),
    FibRoutes(Vec<report::FibRoute>),
    CaptureStarted {
        id: u64,
    },
    Captured(report::Captured),
    CaptureStopped,
    NatStats(nat::NatStats),
    NatPools(Vec<nat::NatPoolReport>),
    NatSessions(nat::NatSessions),
    NatMappings(nat::NatMappings),
    NatSubscribers(Vec<nat::NatSubscriber>),
    /// None: no deterministic pool has it.
    NatDeterministic(Option<nat::NatDeterministic>),
    NatCleared {
        sessions: u64,
    },
}

/// An op that could not be carried out, by its index in the batch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub op: u32,
    pub reason: RefusalReason,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RefusalReason {
    /// All 32,767 next-hop groups are in use.
    GroupsExhausted,
    /// No tbl8 group is left for a prefix longer than /24.
    Tbl8Exhausted,
    /// No adjacency is left.
    AdjacenciesExhausted,
    /// No ECMP bucket is left.
    BucketsExhausted,
    /// The route names a next-hop group that was never upserted.
    UnknownNexthop,
    /// The group names an interface the dataplane does not have (not configured, or gone).
    UnknownInterface,
    /// The group has no member, too many, or a weight out of range.
    BadMembers,
    /// The group is removed while routes still use it.
    NexthopInUse,
}

impl core::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::GroupsExhausted => "all 32,767 next-hop groups are in use",
            Self::Tbl8Exhausted => "no tbl8 group is left for prefixes longer than /24",
            Self::AdjacenciesExhausted => "no adjacency is left",
            Self::BucketsExhausted => "no ECMP bucket is left",
            Self::UnknownNexthop => "the next-hop group is not known",
            Self::UnknownInterface => "the interface is not one of the dataplane's",
            Self::BadMembers => "a group has 1 to 64 members of weight 1 to 256",
            Self::NexthopInUse => "routes still use the next-hop group",
        })
    }
}
