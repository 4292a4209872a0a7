//! A rule, and the part of a packet it is held against.

use core::ops::RangeInclusive;

use millrace_net::Prefix;

/// One line of a list. A condition that is empty (`None`, an empty list) is met by every packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Met by a source address in any of these.
    pub src: Vec<Prefix>,
    pub dst: Vec<Prefix>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Met by a TCP, UDP, SCTP, … source port in any of these; for ICMP, by its type. Never met by a packet without
    /// ports, so never by a fragment that is not the first.
    pub src_ports: Ports,
    /// As `src_ports`; for ICMP, the code.
    pub dst_ports: Ports,
    pub tcp_flags: Option<TcpFlags>,
    pub fragments: Fragments,
    pub dscp: Dscps,
    pub action: Action,
}

impl Rule {
    /// A rule every packet meets.
    pub const fn any(action: Action) -> Self {
        Self {
            src: Vec::new(),
            dst: Vec::new(),
            protocol: None,
            src_ports: Vec::new(),
            dst_ports: Vec::new(),
            tcp_flags: None,
            fragments: Fragments::Any,
            dscp: Dscps::ANY,
            action,
        }
    }
}

/// Port ranges, both ends included.
pub type Ports = Vec<RangeInclusive<u16>>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Accept,
    /// Without a word.
    Drop,
    /// Answered with ICMP 3/13, communication administratively prohibited (RFC 1812 §5.2.7.1).
    Reject,
}

/// Met by a TCP segment whose flags under `mask` equal `value`; never by another protocol.
/// Bits as in the header (RFC 9293 §3.1): FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags {
    pub mask: u8,
    pub value: u8,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// Offset zero and more to come: the ports are in it.
    First,
    /// No transport header in it.
    Later,
}

/// The condition on [`Fragment`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fragments {
    #[default]
    Any,
    /// First or later.
    Only,
    /// Later ones only.
    Later,
    /// Unfragmented datagrams only.
    No,
}

impl Fragments {
    pub(crate) const fn met_by(self, fragment: Fragment) -> bool {
        match self {
            Self::Any => true,
            Self::Only => matches!(fragment, Fragment::First | Fragment::Later),
            Self::Later => matches!(fragment, Fragment::Later),
            Self::No => matches!(fragment, Fragment::Whole),
        }
    }
}

/// A set of DSCP values (RFC 2474), bit *n* for value *n*.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dscps(pub u64);

impl Dscps {
    pub const ANY: Self = Self(u64::MAX);

    pub(crate) const fn has(self, dscp: u8) -> bool {
        self.0 >> (dscp & 63) & 1 == 1
    }
}

/// What a packet is judged by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub src: u32,
    pub dst: u32,
    pub protocol: u8,
    /// Source and destination port, or ICMP type and code; `None` where the packet has no such header.
    pub ports: Option<(u16, u16)>,
    /// `None` where the packet is not TCP or its header is not in it.
    pub tcp_flags: Option<u8>,
    pub fragment: Fragment,
    /// 0 to 63.
    pub dscp: u8,
}

/// Position of a rule in its list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RuleIndex(pub u32);
