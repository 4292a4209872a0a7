//! Fragmentation in transit. RFC 791 §2.3, §3.2; RFC 1812 §4.2.2.7.
//! Reads: a packet larger than the MTU, its TTL and options already dealt with. Sets: a list of frames, in order, each
//! holding at most MTU bytes of IPv4. Next: eth_output for each. Drops: fragment-failed.
//!
//! ```text
//!   original  [header, all options    ][ a a a a a a a a ][ b b b b b b b b ][ c c c ]
//!   frames    [header, all options    ][ a a a a a a a a ]                              MF
//!             [header, copied options ][ b b b b b b b b ]                              MF
//!             [header, copied options ][ c c c ]                                        MF as in the original
//! ```
//! The original frame becomes the last fragment; the others come from the pool, all or none.

use millrace_net::wire::ipv4::{self, Fragment, Ipv4};

use crate::frame::{Frame, Pool};
use crate::outcome::DropReason;
use crate::packet::Packet;
use crate::stage::ip_options;

/// A packet of 65,535 bytes at the smallest MTU of IPv4, 68 bytes (RFC 791 §3.2), makes 1,365 without options.
pub(crate) const MAX_FRAGMENTS: usize = 1400;

/// Fills `out` with the fragments, or leaves it empty and gives the frame back. In each frame the IPv4 packet begins
/// at the first byte.
pub(crate) fn ip_fragment<P: Pool>(
    packet: &Packet,
    mtu: u16,
    mut frame: P::Frame,
    pool: &mut P,
    out: &mut Vec<P::Frame>,
) -> Result<(), (DropReason, P::Frame)> {
    out.clear();
    if cut(packet, mtu, &mut frame, pool, out).is_some() {
        out.push(frame);
        return Ok(());
    }
    out.drain(..).for_each(|piece| pool.put(piece));
    Err((DropReason::FragmentFailed, frame))
}

/// Cuts all fragments but the last into frames of the pool, and makes `frame` the last.
fn cut<P: Pool>(
    packet: &Packet,
    mtu: u16,
    frame: &mut P::Frame,
    pool: &mut P,
    out: &mut Vec<P::Frame>,
) -> Option<()> {
    let (original, payload) = packet.ip(frame.data()).split_at_checked(usize::from(packet.header_len))?;
    let mut header = [0; ipv4::MAX_LEN];
    let mut header_len = original.len();
    header.get_mut(..header_len)?.copy_from_slice(original);
    let mut at = 0;
    loop {
        let rest = payload.get(at..)?;
        let room = usize::from(mtu).saturating_sub(header_len);
        if rest.len() <= room {
            break;
        }
        // RFC 791 §3.2: every fragment but the last carries a multiple of eight bytes.
        let data = rest.get(..room & !7).filter(|data| !data.is_empty())?;
        if MAX_FRAGMENTS <= out.len() + 1 {
            return None;
        }
        seal(header.get_mut(..header_len)?, packet, at, data.len(), true)?;
        let mut piece = pool.take()?;
        let written = write(&mut piece, header.get(..header_len)?, data);
        out.push(piece);
        written?;
        if at == 0 {
            header_len = ip_options::keep_copied(header.get_mut(..header_len)?);
        }
        at += data.len();
    }
    let last_len = payload.len() - at;
    let header = header.get_mut(..header_len)?;
    seal(header, packet, at, last_len, packet.fragment.more())?;
    let skip = usize::from(packet.l3) + usize::from(packet.header_len) + at;
    let made = frame.resize(skip + last_len) && frame.pull_front(skip) && frame.push_front(header_len);
    frame.data_mut().get_mut(..header_len).filter(|_| made)?.copy_from_slice(header);
    Some(())
}

/// Makes `header` that of the fragment at `at` of the packet's payload. `None` where its place cannot be expressed:
/// the packet was itself a fragment that reaches beyond 65,535.
fn seal(header: &mut [u8], packet: &Packet, at: usize, data_len: usize, more: bool) -> Option<()> {
    let total_len = u16::try_from(header.len() + data_len).ok()?;
    let header_len = u8::try_from(header.len()).ok()?;
    let offset = u16::try_from(usize::from(packet.fragment.offset_bytes()) + at).ok()?;
    let (mut view, options) = Ipv4::split_mut(header).ok()?;
    view.set_header_len(header_len);
    view.set_total_len(total_len);
    view.set_fragment(Fragment::at(offset, more));
    view.fill_checksum(options);
    Some(())
}

fn write(piece: &mut impl Frame, header: &[u8], data: &[u8]) -> Option<()> {
    if !piece.resize(header.len() + data.len()) {
        return None;
    }
    let (head, tail) = piece.data_mut().split_at_mut_checked(header.len())?;
    head.copy_from_slice(header);
    tail.copy_from_slice(data);
    Some(())
}
