//! IPv4 header validation. RFC 1812 §5.2.2, §5.3.7; RFC 791 §3.1.
//! Reads: l3 offset. Sets: the [`Packet`]. Next: fib_lookup.
//! Drops: ip-truncated, ip-bad-version, ip-bad-header-length, ip-bad-total-length, ip-bad-checksum, martian-source,
//! martian-destination, multicast, broadcast; all silently, as §5.2.2 and §4.3.2.7 ask. And ip-cut-short (12/0).

use millrace_net::PortId;
use millrace_net::wire::ipv4::{self, Ipv4};

use crate::outcome::DropReason;
use crate::packet::{Packet, Plan};
use crate::ports::Port;

/// Offset in the header of the total length, where 12/0 points when the packet is shorter.
const TOTAL_LENGTH_POINTER: u32 = 2;
/// Version 4 and a header of five words: nearly every packet.
const PLAIN: u8 = 0x45;

/// Fills in `packet`. It is complete with `Ok`, and with ip-cut-short, where it is as long as what there is of it.
#[inline(always)]
pub(crate) fn ip_input(
    frame: &[u8],
    l3: usize,
    in_port: PortId,
    port: &Port,
    packet: &mut Packet,
) -> Result<(), DropReason> {
    let ip = frame.get(l3..).unwrap_or_default();
    let (header, rest) = Ipv4::split(ip).map_err(|_| DropReason::IpTruncated)?;
    let mut sum = header.sum();
    let header_len = header.header_len();
    if header.version_ihl() != PLAIN {
        if header.version() != 4 {
            return Err(DropReason::IpBadVersion);
        }
        let options = usize::from(header_len).checked_sub(ipv4::LEN).and_then(|len| rest.get(..len));
        sum = sum.bytes(options.ok_or(DropReason::IpBadHeaderLength)?);
    }
    let total_len = header.total_len();
    if total_len < u16::from(header_len) {
        return Err(DropReason::IpBadTotalLength);
    }
    if !sum.is_valid() {
        return Err(DropReason::IpBadChecksum);
    }
    let (src, dst) = (header.src_bits(), header.dst_bits());
    source(src)?;
    destination(dst)?;
    packet.src = src;
    packet.dst = dst;
    packet.in_port = in_port;
    packet.total_len = total_len;
    packet.fragment = header.fragment();
    packet.header_len = header_len;
    packet.l3 = u8::try_from(l3).map_err(|_| DropReason::EthTruncated)?;
    packet.ttl = header.ttl();
    packet.protocol = header.protocol();
    packet.tos = header.tos();
    packet.may_be_partial = port.partial_checksums;
    packet.nat = Plan::None;
    match u16::try_from(ip.len()) {
        Ok(there) if there < total_len => {
            packet.total_len = there;
            packet.detail = TOTAL_LENGTH_POINTER;
            Err(DropReason::IpCutShort)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// RFC 1812 §5.3.7, §4.2.2.11: no host has an address of 0/8, 127/8, a multicast group, class E or the broadcast.
#[inline]
const fn source(src: u32) -> Result<(), DropReason> {
    match src >> 24 {
        0 | 127 | 224.. => Err(DropReason::MartianSource),
        1..=126 | 128..=223 => Ok(()),
    }
}

/// RFC 1812 §5.3.7, §4.2.3.1, §5.3.5.1.
#[inline]
const fn destination(dst: u32) -> Result<(), DropReason> {
    match dst >> 24 {
        224..=239 => Err(DropReason::Multicast),
        255 if dst == u32::MAX => Err(DropReason::Broadcast),
        0 | 127 | 240.. => Err(DropReason::MartianDestination),
        1..=126 | 128..=223 => Ok(()),
    }
}
