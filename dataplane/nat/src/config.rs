//! What NAT is to do, checked: pools, who is translated, static mappings, timers and limits.
//!
//! The types hold what the RFCs demand where they can: [`Timers::checked`] refuses a time-out under its RFC's minimum.

use core::fmt;
use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use millrace_net::Prefix;

use crate::flow::Endpoint;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    pub pools: Vec<Pool>,
    /// The first that holds for the inside address, and for the destination where it names one, decides.
    pub sources: Vec<Source>,
    pub forwards: Vec<Forward>,
    pub statics: Vec<Static>,
    /// Outside addresses that the host has too: their ports are told of by
    /// [`Nat::poll_port_change`](crate::Nat::poll_port_change), and what no mapping holds is the host's.
    pub shared: Vec<Ipv4Addr>,
    /// Ports of those addresses that are the host's, by protocol: no pool gives them out.
    pub host_ports: Vec<(u8, RangeInclusive<u16>)>,
    pub refusal: Refusal,
    pub gateways: Gateways,
    pub timers: Timers,
    pub limits: Limits,
}

/// Outside addresses and how their ports are given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    pub name: String,
    /// In the order they are used; every address once.
    pub addresses: Vec<Ipv4Addr>,
    pub ports: RangeInclusive<u16>,
    pub filtering: PerProtocol<Filtering>,
    pub allocation: Allocation,
}

/// How a pool's ports come to subscribers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Allocation {
    /// Any free port of the address, at random (RFC 6056).
    #[default]
    Random,
    /// Blocks of ports, so that one log line covers many sessions (RFC 6888 REQ-14).
    Blocks {
        /// Ports of a block: a power of two, 64 to 16,384.
        size: u16,
        /// Blocks one subscriber may hold.
        max: u16,
        /// Seconds after which a block without a mapping goes back.
        idle_secs: u32,
    },
    /// Every inside address of the prefix has its ports by arithmetic; nothing needs a log (RFC 7422).
    Deterministic { inside: Prefix },
}

/// Which outside endpoints may send through a mapping (RFC 4787 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Filtering {
    #[default]
    EndpointIndependent,
    /// Addresses the inside endpoint has sent to.
    AddressDependent,
    /// Endpoints the inside endpoint has sent to.
    AddressAndPortDependent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PerProtocol<T> {
    pub tcp: T,
    pub udp: T,
    pub icmp: T,
}

impl<T: Copy> PerProtocol<T> {
    pub const fn same(value: T) -> Self {
        Self { tcp: value, udp: value, icmp: value }
    }
}

/// Whether, and to which pool, an inside address is translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    pub from: Prefix,
    pub action: SourceAction,
}

impl Source {
    /// Whether the rule is about this address, wherever it sends.
    pub(crate) const fn holds(&self, inside: u32) -> bool {
        inside & self.from.mask() == self.from.bits()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceAction {
    /// Index in [`Config::pools`].
    Pool(u16),
    /// Routed as it is.
    Exempt,
    /// Routed as it is on its way there (RFC 6888 REQ-6), a one-to-one address too. Other destinations are the next
    /// rule's.
    ExemptTo(Prefix),
}

/// A port, or a range of ports, of an outside address that belongs to an inside endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forward {
    pub protocol: u8,
    pub outside: Ipv4Addr,
    pub outside_ports: RangeInclusive<u16>,
    pub inside: Ipv4Addr,
    /// Inside port of the first outside port; the others follow in step.
    pub inside_port: u16,
}

impl Forward {
    /// The endpoint pairs (outside, inside).
    pub fn pairs(&self) -> impl Iterator<Item = (Endpoint, Endpoint)> + '_ {
        self.outside_ports.clone().enumerate().map_while(|(i, port)| {
            let inside = self.inside_port.checked_add(u16::try_from(i).ok()?)?;
            Some((Endpoint::new(self.outside, port), Endpoint::new(self.inside, inside)))
        })
    }
}

/// An outside address that is an inside address, for every protocol and port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Static {
    pub outside: Ipv4Addr,
    pub inside: Ipv4Addr,
}

/// Which application-level gateways are on (RFC 4787 REQ-10, RFC 5382 REQ-6). A change concerns new sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gateways {
    pub ftp: bool,
    pub tftp: bool,
}

impl Default for Gateways {
    fn default() -> Self {
        Self { ftp: true, tftp: true }
    }
}

/// What a host inside is told when its new flow gets no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refusal {
    /// ICMP 3/13, administratively prohibited (RFC 5508 REQ-8).
    #[default]
    Prohibited,
    /// ICMP 3/1, host unreachable (RFC 4787 REQ-3 names it too).
    HostUnreachable,
}

/// Seconds without traffic after which state goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timers {
    /// RFC 5382 REQ-5: not under 7,440.
    pub tcp_established: u32,
    /// RFC 5382 REQ-5: not under 240.
    pub tcp_transitory: u32,
    /// RFC 4787 REQ-5: not under 120; 300 recommended.
    pub udp: u32,
    /// RFC 5508 REQ-1: not under 60.
    pub icmp: u32,
    /// Other protocols.
    pub other: u32,
    /// Whether packets from outside keep a session alive too (RFC 4787 REQ-6: off unless the operator wants it).
    pub inbound_refresh: bool,
    /// How long a port stays unused after its last mapping (RFC 6888 REQ-8).
    pub port_quarantine: u32,
}

impl Default for Timers {
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

/// A time-out under the least its RFC allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerTooShort {
    pub timer: &'static str,
    pub least: u32,
    pub rfc: &'static str,
}

impl fmt::Display for TimerTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be at least {} seconds ({})", self.timer, self.least, self.rfc)
    }
}

impl core::error::Error for TimerTooShort {}

impl Timers {
    /// These timers, if none is under its minimum.
    pub fn checked(self) -> Result<Self, TimerTooShort> {
        for (timer, value, least, rfc) in [
            ("tcp-established", self.tcp_established, 7440, "RFC 5382 REQ-5"),
            ("tcp-transitory", self.tcp_transitory, 240, "RFC 5382 REQ-5"),
            ("udp", self.udp, 120, "RFC 4787 REQ-5"),
            ("icmp", self.icmp, 60, "RFC 5508 REQ-1"),
        ] {
            if value < least {
                return Err(TimerTooShort { timer, least, rfc });
            }
        }
        Ok(self)
    }
}

/// Hard caps. Live state is never evicted to admit new: over a cap, the new flow is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Sessions in all, of one shard. Memory for the index is taken at start.
    pub sessions: u32,
    /// Mappings in all, of one shard.
    pub mappings: u32,
    /// Sessions of one inside address (RFC 6888 REQ-4).
    pub sessions_per_subscriber: u32,
    /// Outside ports of one inside address, over all protocols (RFC 6888 REQ-4).
    pub ports_per_subscriber: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1 << 20,
            mappings: 1 << 20,
            sessions_per_subscriber: u32::MAX,
            ports_per_subscriber: u32::MAX,
        }
    }
}
