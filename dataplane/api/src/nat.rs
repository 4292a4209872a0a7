//! Address translation: what the dataplane is told of `[nat]`, and what it tells of pools, mappings and sessions.
//!
//! Control has checked the configuration; an address or a name that turns out not to be there when it is carried out
//! (an interface without an address) is shown as the pool's problem, and translation through it refuses.

use core::net::Ipv4Addr;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

/// `[nat]`. Compared as a whole with what is in force: sessions that the new one still allows stay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NatConfig {
    pub pools: Vec<NatPool>,
    /// The first whose prefix holds an inside address decides.
    pub sources: Vec<NatSource>,
    pub forwards: Vec<NatForward>,
    pub statics: Vec<NatStatic>,
    pub timers: NatTimers,
    pub limits: NatLimits,
    pub algs: NatAlgs,
    pub refuse_with: NatRefusal,
    pub log: NatLog,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatPool {
    pub name: String,
    pub addresses: NatAddresses,
    /// First and last.
    pub ports: (u16, u16),
    /// Ranges of `ports` that are left to the host; only where it shares the address.
    pub host_ports: Vec<(u16, u16)>,
    pub filtering: NatPerProtocol<NatFiltering>,
    pub allocation: NatAllocation,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NatAddresses {
    /// Ranges, first and last, that do not overlap.
    Ranges(Vec<(Ipv4Addr, Ipv4Addr)>),
    /// The first address of this interface, which the host goes on using.
    Interface(String),
}

/// How ports come to subscribers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum NatAllocation {
    #[default]
    Random,
    Blocks {
        size: u16,
        max: u16,
        idle_secs: u32,
    },
    Deterministic {
        inside: Prefix,
    },
}

/// Which outside endpoints may send through a mapping (RFC 4787 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatFiltering {
    #[default]
    EndpointIndependent,
    AddressDependent,
    AddressAndPortDependent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NatPerProtocol<T> {
    pub tcp: T,
    pub udp: T,
    pub icmp: T,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatSource {
    pub from: Prefix,
    /// With an exemption: the destinations it is about; none: all.
    pub to: Option<Prefix>,
    /// None: exempt, routed as it is.
    pub pool: Option<String>,
}

/// A port, or a range of ports, that belongs to an inside endpoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatForward {
    /// 6 or 17.
    pub protocol: u8,
    pub outside: NatOutside,
    /// First and last.
    pub outside_ports: (u16, u16),
    pub inside: Ipv4Addr,
    /// Inside port of the first outside port; the others follow in step.
    pub inside_port: u16,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum NatOutside {
    Address(Ipv4Addr),
    /// The first address of this interface.
    Interface(String),
}

/// One-to-one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatStatic {
    pub outside: Ipv4Addr,
    pub inside: Ipv4Addr,
}

/// Seconds without traffic after which state goes. The defaults are the least the RFCs allow, or what they recommend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatTimers {
    pub tcp_established: u32,
    pub tcp_transitory: u32,
    pub udp: u32,
    pub icmp: u32,
    pub other: u32,
    /// Whether packets from outside keep a session alive too.
    pub inbound_refresh: bool,
    /// How long a port rests after its last mapping.
    pub port_quarantine: u32,
}

impl Default for NatTimers {
    fn default() -> Self {
        Self {
            tcp_established: 7440,
            tcp_transitory: 240,
            udp: 300,
            icmp: 60,
            other: 300,
            inbound_refresh: false,
            port_quarantine: 120,
        }
    }
}

/// Caps, over all workers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatLimits {
    pub sessions: u32,
    pub mappings: u32,
    /// Of one inside address; none: no quota.
    pub sessions_per_subscriber: Option<u32>,
    pub ports_per_subscriber: Option<u32>,
}

impl Default for NatLimits {
    fn default() -> Self {
        Self {
            sessions: 1 << 20,
            mappings: 1 << 20,
            sessions_per_subscriber: None,
            ports_per_subscriber: None,
        }
    }
}

/// Application level gateways that are on (RFC 5382 REQ-6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatAlgs {
    pub ftp: bool,
    pub tftp: bool,
}

impl Default for NatAlgs {
    fn default() -> Self {
        Self { ftp: true, tftp: true }
    }
}

/// The answer to a new flow that gets no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NatRefusal {
    /// ICMP 3/13 (RFC 5508 REQ-8).
    #[default]
    Prohibited,
    /// ICMP 3/1 (RFC 6888 REQ-11).
    Unreachable,
}

/// Where events go.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatLog {
    /// JSON lines; absolute.
    pub file: Option<String>,
    pub syslog: Option<NatSyslog>,
    /// Lines a second at most, to each of them; what is over is counted.
    pub rate: u32,
}

impl Default for NatLog {
    fn default() -> Self {
        Self { file: None, syslog: None, rate: 10_000 }
    }
}

/// An RFC 5424 receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NatSyslog {
    /// One message a datagram (RFC 5426).
    Udp(core::net::SocketAddr),
    /// A datagram socket such as `/dev/log`.
    Path(String),
}

/// Which sessions or mappings; what is none fits all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NatFilter {
    pub protocol: Option<u8>,
    pub inside: Option<Prefix>,
    pub inside_port: Option<u16>,
    pub outside: Option<Prefix>,
    pub outside_port: Option<u16>,
    pub remote: Option<Prefix>,
    pub remote_port: Option<u16>,
}

/// Where the next page of sessions or mappings begins. What is opened or closed between two pages may be missed or told
/// twice only if it moved to another place, which nothing does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NatCursor {
    pub worker: u16,
    pub position: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatSessions {
    pub sessions: Vec<NatSession>,
    /// None: that was all.
    pub next: Option<NatCursor>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatSession {
    /// "tcp", "udp", "icmp", or the protocol's number.
    pub protocol: String,
    pub inside: String,
    pub outside: String,
    pub remote: String,
    /// "established" and the like; "none" for others than TCP.
    pub state: String,
    pub worker: u16,
    pub age_seconds: u32,
    /// Until it ends if nothing more is seen.
    pub expires_seconds: u32,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatMappings {
    pub mappings: Vec<NatMapping>,
    pub next: Option<NatCursor>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatMapping {
    pub protocol: String,
    pub inside: String,
    pub outside: String,
    /// The pool's name, "forward" or "static".
    pub origin: String,
    pub sessions: u32,
    pub worker: u16,
    pub age_seconds: u32,
}

/// One pool in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatPoolReport {
    pub name: String,
    pub addresses: Vec<Ipv4Addr>,
    /// "1024-65535".
    pub ports: String,
    /// The interface whose address it is; the host shares it.
    pub shared_with: Option<String>,
    /// "random", "blocks" or "deterministic".
    pub allocation: String,
    pub filtering: NatPerProtocol<NatFiltering>,
    pub mappings: u64,
    pub sessions: u64,
    /// Over all addresses and workers.
    pub ports_total: u64,
    pub free: NatPerProtocol<u64>,
    /// Why it translates nothing, in a sentence with what to do.
    pub problem: Option<String>,
}

/// Sums over all workers.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct NatStats {
    /// False: there is no `[nat]`.
    pub configured: bool,
    pub sessions: u64,
    pub mappings: u64,
    pub subscribers: u64,
    pub sessions_limit: u64,
    pub mappings_limit: u64,
    pub sessions_created: u64,
    pub mappings_created: u64,
    /// Ended by their timers.
    pub sessions_expired: u64,
    /// New flows refused, by reason.
    pub refused: Vec<(String, u64)>,
    /// Packets from outside dropped, by reason.
    pub denied: Vec<(String, u64)>,
    /// Log lines written, left out by the rate, and lost because a receiver did not take them.
    pub log_written: u64,
    pub log_dropped: u64,
    pub log_failed: u64,
    /// What became of the state of the process before: sessions taken over, and why not all.
    pub restored: Option<String>,
    pub memory_bytes: u64,
}

/// Inside addresses by how much they hold, most first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatSubscriber {
    pub inside: Ipv4Addr,
    pub sessions: u32,
    pub ports: u32,
    pub blocks: u32,
}

/// Arithmetic of a deterministic pool (RFC 7422).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NatDeterministic {
    pub inside: Ipv4Addr,
    pub outside: Ipv4Addr,
    pub first_port: u16,
    pub last_port: u16,
}
