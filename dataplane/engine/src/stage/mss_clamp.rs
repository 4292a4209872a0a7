//! The maximum segment size that TCP connections across a port offer each other is kept to what fits it. RFC 879, RFC 9293
//! §3.7.1; what PMTU discovery would find, if every network let its messages through.
//! Reads: a SYN. Sets: its option, and the checksum. Next: the stage it is called from.

use millrace_nat::segment;
use millrace_net::wire::ipv4::Protocol;
use millrace_net::wire::tcp;

use crate::packet::Packet;
use crate::ports::{Port, Ports};
use millrace_net::PortId;

/// IPv4 and TCP headers without options.
const HEADERS_LEN: u16 = 40;

/// What a port says about segments across it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MssClamp {
    #[default]
    Off,
    /// What fits the port's MTU.
    Mtu,
    /// At most this, in bytes.
    To(u16),
}

impl Port {
    const fn mss_limit(&self) -> u16 {
        match self.mss_clamp {
            MssClamp::Off => u16::MAX,
            MssClamp::Mtu => self.mtu.saturating_sub(HEADERS_LEN),
            MssClamp::To(limit) => limit,
        }
    }
}

/// Keeps a SYN's offer to what both its ports let through; whether it was more.
#[inline(never)]
pub(crate) fn mss_clamp(packet: &Packet, frame: &mut [u8], ports: &Ports, out_port: PortId) -> bool {
    if packet.protocol != Protocol::TCP {
        return false;
    }
    let flags = packet.payload(frame).get(13).copied().unwrap_or(0);
    if !tcp::Flags(flags).contains(tcp::Flags::SYN) {
        return false;
    }
    let limit = |id| ports.get(id).map_or(u16::MAX, Port::mss_limit);
    let limit = limit(packet.in_port).min(limit(out_port));
    limit != u16::MAX && segment::clamp_mss(packet.ip_mut(frame), limit)
}
