//! The frame as it leaves: trimmed to the packet, behind a new Ethernet header. RFC 894, RFC 1812 §3.3.
//! Reads: adjacency. Sets: everything before and behind the IPv4 packet. Next: `Shell::transmit`.
//! Drops: no-headroom.

use millrace_fib::{Adjacency, Tag, Vlan};
use millrace_net::wire::ethernet::{self, EtherType, Ethernet};
use millrace_net::wire::vlan;

use crate::frame::Frame;
use crate::outcome::DropReason;

/// Puts the Ethernet header of `adjacency` before the IPv4 packet at `l3`, and cuts the frame at the packet's end.
#[inline(always)]
pub(crate) fn eth_output<F: Frame>(
    frame: &mut F,
    l3: usize,
    total_len: usize,
    adjacency: &Adjacency,
) -> Result<(), DropReason> {
    let untagged = adjacency.vlan == Vlan::Untagged;
    let fits = untagged && l3 == ethernet::LEN && frame.data().len() == l3 + total_len;
    if !fits && !make_room(frame, l3, total_len, adjacency.vlan) {
        return Err(DropReason::NoHeadroom);
    }
    let (mut header, rest) = Ethernet::split_mut(frame.data_mut()).map_err(|_| DropReason::NoHeadroom)?;
    header.set_dst(adjacency.dst);
    header.set_src(adjacency.src);
    header.set_ethertype(EtherType::IPV4);
    if !untagged {
        push_tags(header, rest, adjacency.vlan);
    }
    Ok(())
}

/// Moves the beginning of the frame to where the new header begins, and its end to the packet's: Ethernet padding that
/// arrived behind it does not leave with it.
#[cold]
#[inline(never)]
fn make_room<F: Frame>(frame: &mut F, l3: usize, total_len: usize, tags: Vlan) -> bool {
    let header_len = ethernet::LEN
        + match tags {
            Vlan::Untagged => 0,
            Vlan::Tagged(_) => vlan::LEN,
            Vlan::Double { .. } => 2 * vlan::LEN,
        };
    let moved = if l3 < header_len {
        frame.push_front(header_len - l3)
    } else {
        l3 == header_len || frame.pull_front(l3 - header_len)
    };
    moved && frame.resize(header_len + total_len)
}

#[cold]
#[inline(never)]
fn push_tags(mut header: Ethernet<&mut [u8; ethernet::LEN]>, rest: &mut [u8], tags: Vlan) {
    match tags {
        Vlan::Untagged => (),
        Vlan::Tagged(tag) => {
            header.set_ethertype(EtherType(tag.tpid.ethertype()));
            push_tag(rest, tag, EtherType::IPV4);
        }
        Vlan::Double { outer, inner } => {
            header.set_ethertype(EtherType(outer.tpid.ethertype()));
            push_tag(rest, outer, EtherType(inner.tpid.ethertype()));
            push_tag(rest.get_mut(vlan::LEN..).unwrap_or_default(), inner, EtherType::IPV4);
        }
    }
}

fn push_tag(bytes: &mut [u8], tag: Tag, next: EtherType) {
    if let Ok(mut view) = vlan::Vlan::new_checked_mut(bytes) {
        view.set_tci(tag.vid());
        view.set_ethertype(next);
    }
}
