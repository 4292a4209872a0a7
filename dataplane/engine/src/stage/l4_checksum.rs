//! Completes checksums that a local sender left to hardware. DESIGN 3.4; RFC 9293 §3.1, RFC 768.
//! Reads: protocol, segment. Sets: the TCP or UDP checksum. Next: the stage it is called from.
//!
//! A fragment is passed as it is: its segment is not all there, and Linux completes checksums before it fragments.
//! Not implemented: SCTP, whose CRC32c Linux can leave to hardware too.

use millrace_net::checksum::{self, Sum};
use millrace_net::wire::ipv4::{Ipv4, Protocol};
use millrace_net::wire::{tcp, udp};

use crate::packet::Packet;

/// Whether the checksum was the pseudo header's sum, and is complete now.
#[inline]
pub(crate) fn complete(packet: &Packet, frame: &mut [u8]) -> bool {
    let (header_len, at) = match packet.protocol {
        Protocol::TCP => (tcp::LEN, tcp::CHECKSUM),
        Protocol::UDP => (udp::LEN, udp::CHECKSUM),
        _ => return false,
    };
    if packet.fragment.is_fragment() {
        return false;
    }
    // The addresses as they stand in the frame: NAT may have chosen others for it already.
    let ip = packet.ip_mut(frame);
    let Ok((src, dst)) = Ipv4::new_checked(ip).map(|header| (header.src_bits(), header.dst_bits())) else {
        return false;
    };
    let segment = ip.get_mut(usize::from(packet.header_len)..).unwrap_or_default();
    let Ok(segment_len) = u16::try_from(segment.len()) else { return false };
    if segment.len() < header_len {
        return false;
    }
    let Some(field) = segment.get(at..).and_then(<[u8]>::first_chunk::<2>) else { return false };
    let field = u16::from_be_bytes(*field);
    let pseudo = checksum::pseudo_header(src, dst, packet.protocol.0, segment_len);
    if !checksum::is_partial(field, pseudo) || (packet.protocol == Protocol::UDP && field == 0) {
        return false;
    }
    // The field itself contributes the pseudo header to the sum.
    let sum = Sum::ZERO.bytes(segment).checksum();
    let sum = if packet.protocol == Protocol::UDP { udp::transmitted(sum) } else { sum };
    if let Some(field) = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *field = sum.to_be_bytes();
    }
    true
}
