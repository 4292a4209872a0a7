//! IPv4 options on a packet in transit. RFC 791 §3.1, RFC 1812 §4.2.2.1, §5.2.4.1, RFC 7126.
//! Reads: the options. Next: ip_forward. Drops: source-routed, ip-bad-option (12/0 with a pointer).

use millrace_net::wire::ipv4;

use crate::outcome::DropReason;
use crate::packet::Packet;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// The bit of an option's type that says: into every fragment.
const COPIED: u8 = 0x80;

/// Walks the options. On ip-bad-option `packet.detail` is the offset of the culprit in the IPv4 header.
pub(crate) fn ip_options(packet: &mut Packet, frame: &[u8]) -> Result<(), DropReason> {
    let header = packet.ip(frame).get(..usize::from(packet.header_len)).unwrap_or_default();
    let mut at = ipv4::LEN;
    while let Some((kind, len)) = option_at(header, at) {
        if len == 0 {
            packet.detail = u16::try_from(at).unwrap_or(u16::MAX);
            return Err(DropReason::IpBadOption);
        }
        if kind == LOOSE_SOURCE_ROUTE || kind == STRICT_SOURCE_ROUTE {
            return Err(DropReason::SourceRouted);
        }
        at += len;
    }
    Ok(())
}

/// Leaves only those options that every fragment carries (RFC 791 §3.1 "copied flag"). The new header length.
pub(crate) fn keep_copied(header: &mut [u8]) -> usize {
    let (mut from, mut to) = (ipv4::LEN, ipv4::LEN);
    while let Some((kind, len)) = option_at(header, from) {
        if len == 0 {
            break;
        }
        if kind & COPIED != 0 {
            header.copy_within(from..from + len, to);
            to += len;
        }
        from += len;
    }
    let header_len = to.next_multiple_of(4).min(header.len());
    header.get_mut(to..header_len).unwrap_or_default().fill(END);
    header_len
}

/// Type and length of the option at this offset of a header. `None` at the end of the options; a length of zero where
/// it makes no sense or reaches beyond the header.
fn option_at(header: &[u8], at: usize) -> Option<(u8, usize)> {
    match *header.get(at)? {
        END => None,
        NO_OPERATION => Some((NO_OPERATION, 1)),
        kind => match header.get(at + 1).map(|&len| usize::from(len)) {
            Some(len) if 2 <= len && at + len <= header.len() => Some((kind, len)),
            _ => Some((kind, 0)),
        },
    }
}
