//! What is known of a packet once it has been parsed; travels beside its frame through the stages.

use core::net::Ipv4Addr;

use millrace_nat::SessionId;
use millrace_net::PortId;
use millrace_net::wire::ipv4::{Fragment, Protocol};

/// An IPv4 packet whose header has passed `ip_input`. Lengths in it are proven against the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) in_port: PortId,
    /// Header and payload, in bytes; the frame is at least `l3 + total_len` long.
    pub(crate) total_len: u16,
    pub(crate) fragment: Fragment,
    /// With options, in bytes: 20 to 60, at most `total_len`.
    pub(crate) header_len: u8,
    /// Offset of the IPv4 header in the frame.
    pub(crate) l3: u8,
    pub(crate) ttl: u8,
    pub(crate) protocol: Protocol,
    pub(crate) tos: u8,
    /// Whether its TCP or UDP checksum may have been left to hardware: so it is on the port it came by.
    pub(crate) may_be_partial: bool,
    /// What an ICMP error says beyond its code: the next-hop MTU with 3/4, the pointer with 12/0, the better router
    /// with 5/1.
    pub(crate) detail: u32,
    pub(crate) nat: Plan,
    /// Another worker has given it to this one.
    pub(crate) handed: bool,
}

/// What NAT does with a packet. The frame stays as it came until the packet is sent, so that errors quote what their
/// receiver sent (RFC 5508 REQ-4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Nothing.
    None,
    /// It came from inside: translated if it leaves by an outside port. With its place in the burst while that lasts, for
    /// what has been read of it.
    Leaving(Option<u8>),
    /// It leaves with this source and these ports, and with the packet's `dst` as its destination.
    /// A gateway sees it before, if its session is named.
    Rewrite { src: u32, src_port: u16, dst_port: u16, gateway: Option<SessionId> },
}

impl Packet {
    /// To be filled in by `ip_input`.
    pub(crate) const EMPTY: Self = Self {
        src: 0,
        dst: 0,
        in_port: PortId(0),
        total_len: 0,
        fragment: Fragment::NONE,
        header_len: 20,
        l3: 0,
        ttl: 64,
        protocol: Protocol::ICMP,
        tos: 0,
        may_be_partial: false,
        detail: 0,
        nat: Plan::None,
        handed: false,
    };

    pub(crate) const fn src_addr(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.src)
    }

    pub(crate) const fn dst_addr(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.dst)
    }

    /// The IPv4 packet in its frame, without what comes before and after it.
    #[inline]
    pub(crate) fn ip<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.l3);
        frame.get(start..start + usize::from(self.total_len)).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn ip_mut<'a>(&self, frame: &'a mut [u8]) -> &'a mut [u8] {
        let start = usize::from(self.l3);
        frame.get_mut(start..start + usize::from(self.total_len)).unwrap_or_default()
    }

    /// What follows the IPv4 header.
    #[inline]
    pub(crate) fn payload<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        self.ip(frame).get(usize::from(self.header_len)..).unwrap_or_default()
    }

    /// A packet of the router's own to this one's source. Source and length are for the caller to fill in.
    pub(crate) const fn answer(&self) -> Self {
        Self { dst: self.src, in_port: self.in_port, ..Self::EMPTY }
    }

    #[inline]
    pub(crate) const fn has_options(&self) -> bool {
        self.header_len > 20
    }
}
