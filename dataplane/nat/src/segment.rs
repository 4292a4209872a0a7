//! TCP segments whose numbers, options or payload a gateway or a limit changes. RFC 9293 §3.1, RFC 2018, RFC 879.
//!
//! Each takes a whole IPv4 packet with a TCP segment in it, no later fragment, and leaves others as they are.

use core::ops::Range;

use millrace_net::checksum;
use millrace_net::wire::ipv4::{self, Ipv4};
use millrace_net::wire::tcp::{self, Tcp};

const NO_OPERATION: u8 = 1;
const END_OF_LIST: u8 = 0;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const SACK_PERMITTED: u8 = 4;

/// A segment's numbers, and where its payload is in the packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    pub seq: u32,
    pub ack: u32,
    pub syn: bool,
    pub payload: Range<usize>,
}

/// Reads a segment; `None` where there is none, or not all of its header.
pub fn read(ip: &[u8]) -> Option<Segment> {
    let (start, header_len) = header(ip)?;
    let view = Tcp::new_checked(ip.get(start..)?).ok()?;
    Some(Segment {
        seq: view.sequence(),
        ack: view.acknowledgment(),
        syn: view.flags().contains(tcp::Flags::SYN),
        payload: start + header_len..ip.len(),
    })
}

/// Writes a sequence number.
pub fn set_sequence(ip: &mut [u8], seq: u32) {
    if let Some(mut view) = view_mut(ip) {
        let check = checksum::update_double_word(view.checksum(), view.sequence(), seq);
        view.set_sequence(seq);
        view.set_checksum(check);
    }
}

/// Writes an acknowledgment number.
pub fn set_acknowledgment(ip: &mut [u8], ack: u32) {
    if let Some(mut view) = view_mut(ip) {
        let check = checksum::update_double_word(view.checksum(), view.acknowledgment(), ack);
        view.set_acknowledgment(ack);
        view.set_checksum(check);
    }
}

/// Writes another payload into a packet whose length has been made to fit it: total length and both checksums follow.
pub fn set_payload(ip: &mut [u8], at: usize, payload: &[u8]) {
    let Some((start, _)) = header(ip) else { return };
    let Ok(total_len) = u16::try_from(ip.len()) else { return };
    if let Some(place) = ip.get_mut(at..) {
        place.copy_from_slice(payload);
    }
    let Ok(mut view) = Ipv4::new_checked_mut(ip) else { return };
    let check = checksum::update(view.checksum(), view.total_len(), total_len);
    view.set_total_len(total_len);
    view.set_checksum(check);
    let (src, dst) = (view.src_bits(), view.dst_bits());
    let Some(segment) = ip.get_mut(start..) else { return };
    let Ok(len) = u16::try_from(segment.len()) else { return };
    if let Ok(mut view) = Tcp::new_checked_mut(segment) {
        view.set_checksum(0);
    }
    let check = checksum::pseudo_header(src, dst, 6, len).bytes(segment).checksum();
    if let Ok(mut view) = Tcp::new_checked_mut(segment) {
        view.set_checksum(check);
    }
}

/// Takes back an offer of selective acknowledgment: what a gateway numbers anew is acknowledged in one number only.
pub fn refuse_sack(ip: &mut [u8]) {
    let Some(option) = find_option(ip, SACK_PERMITTED, 2) else { return };
    for at in option {
        set_byte(ip, at, NO_OPERATION);
    }
}

/// Lowers the maximum segment size that a SYN offers to `limit`; whether it was above.
pub fn clamp_mss(ip: &mut [u8], limit: u16) -> bool {
    let Some(option) = find_option(ip, MAXIMUM_SEGMENT_SIZE, 4) else { return false };
    let Some(&[_, _, high, low]) = ip.get(option.clone()).and_then(<[u8]>::first_chunk) else { return false };
    if u16::from_be_bytes([high, low]) <= limit {
        return false;
    }
    let [high, low] = limit.to_be_bytes();
    set_byte(ip, option.start + 2, high);
    set_byte(ip, option.start + 3, low);
    true
}

/// Where an option of this kind and length is.
fn find_option(ip: &[u8], kind: u8, len: usize) -> Option<Range<usize>> {
    let (start, header_len) = header(ip)?;
    let (mut at, end) = (start + tcp::LEN, start + header_len);
    while at < end {
        match *ip.get(at)? {
            END_OF_LIST => return None,
            NO_OPERATION => at += 1,
            other => {
                let option_len = usize::from(*ip.get(at + 1)?);
                if option_len < 2 || end < at + option_len {
                    return None;
                }
                if other == kind && option_len == len {
                    return Some(at..at + len);
                }
                at += option_len;
            }
        }
    }
    None
}

/// Writes one byte of the segment, wherever in a word it lies.
fn set_byte(ip: &mut [u8], at: usize, value: u8) {
    let Some((start, _)) = header(ip) else { return };
    let Some(byte) = ip.get_mut(at) else { return };
    let (old, new) = (u16::from(*byte), u16::from(value));
    *byte = value;
    let shift = if (at - start).is_multiple_of(2) { 8 } else { 0 };
    if let Some(mut view) = view_mut(ip) {
        let check = checksum::update(view.checksum(), old << shift, new << shift);
        view.set_checksum(check);
    }
}

/// Where the TCP header begins, and its length.
fn header(ip: &[u8]) -> Option<(usize, usize)> {
    let view = Ipv4::new_checked(ip).ok()?;
    let start = usize::from(view.header_len());
    let rest = ip.get(start..)?;
    if start < ipv4::LEN || view.protocol() != ipv4::Protocol::TCP || view.fragment().offset_bytes() != 0 {
        return None;
    }
    let header_len = usize::from(Tcp::new_checked(rest).ok()?.header_len());
    (tcp::LEN <= header_len && header_len <= rest.len()).then_some((start, header_len))
}

fn view_mut(ip: &mut [u8]) -> Option<Tcp<&mut [u8; tcp::LEN]>> {
    let (start, _) = header(ip)?;
    Tcp::new_checked_mut(ip.get_mut(start..)?).ok()
}
