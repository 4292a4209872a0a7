//! Answers to queries. The CLI's JSON and the metrics are made from these, so names here are names users see.

use core::net::Ipv4Addr;

use millrace_net::{Mac, Prefix};
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    pub port: u16,
    pub mac: Mac,
    pub mtu: u32,
    /// Administratively up and with carrier.
    pub up: bool,
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// "native" or "generic"; "absent" while the device does not exist.
    pub xdp: String,
    pub on_failure: String,
    pub queues: Vec<QueueReport>,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    /// By `XdpOutcome` name, since the program was attached; sums over CPUs.
    pub xdp_outcomes: Vec<(String, u64)>,
    /// What the kernel lost on the device itself, before or after us; none where it does not say.
    pub device_drops: Option<DeviceDrops>,
    /// Why the interface is not in service, in a sentence with what to do; none when it is.
    pub problem: Option<String>,
}

/// One (interface, queue) socket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct QueueReport {
    pub queue: u32,
    pub worker: u16,
    /// "zero-copy", "copy" or "generic".
    pub mode: String,
    pub xdp: XdpStatistics,
    pub socket: SocketReport,
}

/// What the dataplane counted on one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SocketReport {
    /// Frames handed to the kernel to send and not yet completed.
    pub tx_in_flight: u32,
    /// Nothing of them has been completed for two seconds.
    pub tx_stuck: bool,
    /// Times that has begun.
    pub tx_stalls: u64,
    /// System calls to make the kernel send.
    pub tx_wakes: u64,
    /// System calls to make the driver look at the fill ring.
    pub rx_wakes: u64,
    /// Of both, those that failed for another reason than "try again".
    pub wakes_failed: u64,
    /// Pieces of frames that are larger than a buffer: refused.
    pub rx_fragments: u64,
    /// Descriptors from the kernel that name no buffer of this socket: refused.
    pub rx_invalid: u64,
}

/// The kernel's counters of a device (`/sys/class/net/IF/statistics`): frames that neither the XDP program nor a worker
/// has seen, and those lost after a worker had sent them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeviceDrops {
    pub rx_dropped: u64,
    pub rx_missed: u64,
    pub rx_errors: u64,
    pub tx_dropped: u64,
    pub tx_errors: u64,
}

/// getsockopt(XDP_STATISTICS), in the kernel's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct XdpStatistics {
    pub rx_dropped: u64,
    pub rx_invalid_descs: u64,
    pub tx_invalid_descs: u64,
    pub rx_ring_full: u64,
    pub rx_fill_ring_empty_descs: u64,
    pub tx_ring_empty_descs: u64,
}

/// Sums over all workers. Every name is that of an enum variant in kebab-case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Counters {
    /// By `DropReason`: all reasons, zeros included.
    pub drops: Vec<(String, u64)>,
    /// By `Verdict`: all verdicts, zeros included.
    pub verdicts: Vec<(String, u64)>,
    /// ICMP errors sent, by `type/code` name.
    pub icmp_sent: Vec<(String, u64)>,
    /// XDP program outcomes, sums over CPUs and interfaces.
    pub xdp: Vec<(String, u64)>,
    pub frames: FrameCensus,
}

/// Where every UMEM frame is. `total` = the sum of the others, or frames have been lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FrameCensus {
    pub total: u64,
    /// In the shared pool and the workers' caches.
    pub free: u64,
    /// Posted to the kernel for reception.
    pub fill: u64,
    /// Handed to the kernel for transmission and not yet completed.
    pub tx: u64,
    /// In a hold queue, waiting for a neighbour.
    pub held: u64,
    /// total − (free + fill + tx + held): 0, or a defect. Sampled without stopping workers, see `millrace_frames_lost`.
    pub lost: i64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Worker {
    pub worker: u16,
    pub cpu: u16,
    pub busy_seconds: f64,
    pub idle_seconds: f64,
    pub bursts: u64,
    pub packets: u64,
    pub wakeups: u64,
    /// Bursts by size: 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 and more.
    pub burst_histogram: [u64; 7],
    pub frames_free: u64,
    pub frames_held: u64,
    /// "realtime", "nice" or "normal": what the kernel let it have.
    pub scheduling: String,
    /// Time in each stage and the packets it took it for, while `stage-times` is on.
    pub stages: Vec<StageTime>,
}

/// Where a worker's time went.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct StageTime {
    pub stage: String,
    pub seconds: f64,
    pub packets: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Neighbor {
    pub interface: String,
    pub address: Ipv4Addr,
    pub mac: Option<Mac>,
    /// "incomplete", "reachable", "stale", "failed" or "permanent".
    pub state: String,
    /// Seconds since a worker last sent to it; none if never.
    pub used_seconds_ago: Option<u64>,
}

/// What would become of a packet. What it does not come to is absent.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// It comes in by.
    pub interface: String,
    /// By `VerdictKind` name: "tx", "reply", "hold", "kernel" or "drop".
    pub verdict: String,
    /// By `DropReason` name.
    pub reason: Option<String>,
    /// The reason in a sentence; empty without one.
    pub meaning: String,
    /// The ICMP error its sender gets, as `type/code`.
    pub icmp: Option<String>,
    pub acl_in: Option<AclMatch>,
    pub prefix: Option<Prefix>,
    pub nexthop: Option<Nexthop>,
    /// Which of the group's buckets the flow falls in, from 0.
    pub bucket: Option<u32>,
    pub buckets: Option<u32>,
    pub out_interface: Option<String>,
    pub next_hop: Option<Ipv4Addr>,
    /// "resolved", "incomplete", "failed", or "unknown" where nobody has spoken to it.
    pub neighbor: Option<String>,
    pub source_mac: Option<Mac>,
    pub destination_mac: Option<Mac>,
    /// Of the next hop, in bytes of IPv4.
    pub mtu: Option<u16>,
    pub acl_out: Option<AclMatch>,
    /// Frames that would be sent: the packet, its fragments, ICMP errors.
    pub frames: u32,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// What decided in a packet filter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclMatch {
    pub acl: String,
    /// From 1. None: the default.
    pub rule: Option<u32>,
}

/// A packet filter's counters, all workers together, since it was put in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclHits {
    pub name: String,
    /// In the order of the list.
    pub rules: Vec<RuleHits>,
    /// Packets that no rule matched.
    pub default: RuleHits,
    /// Memory of the compiled list.
    pub compiled_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RuleHits {
    /// Those the policer refused among them.
    pub packets: u64,
    /// Of IPv4 packets, headers included.
    pub bytes: u64,
    /// Packets over the rule's rate.
    pub policed: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Nexthop {
    pub id: u32,
    /// "forward", "glean", "local", "blackhole", "unreachable" or "prohibit".
    pub kind: String,
    pub members: Vec<NexthopMember>,
    pub routes: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NexthopMember {
    pub interface: String,
    /// None on a glean group.
    pub gateway: Option<Ipv4Addr>,
    pub weight: u16,
    pub buckets: u16,
    pub mac: Option<Mac>,
    /// The neighbour's state, as in [`Neighbor`].
    pub state: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fib {
    pub routes: u64,
    pub generation: u64,
    pub tbl8_used: u32,
    pub tbl8_total: u32,
    pub groups_used: u32,
    pub groups_total: u32,
    pub adjacencies_used: u32,
    pub adjacencies_total: u32,
    pub refused: u64,
    /// What the address asked about meets.
    pub answer: Option<FibAnswer>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibAnswer {
    pub address: Ipv4Addr,
    /// None: no route.
    pub prefix: Option<Prefix>,
    pub nexthop: Option<Nexthop>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FibRoute {
    pub prefix: Prefix,
    pub nexthop: u32,
}

/// What a capture has taken since it was asked last.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Captured {
    pub packets: Vec<CapturedPacket>,
    /// Packets that were wanted and could not be copied.
    pub missed: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CapturedPacket {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Where it came in (rx, drop) or goes out (tx); none where that is forgotten.
    pub interface: Option<String>,
    /// "rx", "tx", "drop" or "verdict".
    pub point: String,
    /// Of a drop: the `DropReason`.
    pub reason: Option<String>,
    /// Of a traced packet: what was decided.
    pub verdict: Option<String>,
    /// Number of the packet that is traced; 0 without tracing.
    pub trace: u64,
    /// Bytes of the original frame.
    pub len: u32,
    pub bytes: Vec<u8>,
}
