//! ARP for addresses that are NAT's alone, on outside links. RFC 826; announcements by RFC 5227 §2.3 and §3.
//!
//! The kernel would not answer for them: an address of its own it would also terminate (and reset connections while this
//! process is away), and its proxy entries need forwarding on, which `on-failure = "drop"` has off. So the clerk listens on
//! a packet socket beside the kernel, which sees ARP as before.
//!
//! ```text
//!  0        2        4     5     6       8         14       18        24       28
//!  ┌────────┬────────┬─────┬─────┬───────┬─────────┬────────┬─────────┬────────┐
//!  │ htype 1│ 0x0800 │ 6   │ 4   │ op    │ sha     │ spa    │ tha     │ tpa    │
//!  └────────┴────────┴─────┴─────┴───────┴─────────┴────────┴─────────┴────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use millrace_net::{Instant, Mac};
use millrace_xsk::LinkSocket;

const ETHERTYPE: u16 = 0x0806;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const FRAME_LEN: usize = 42;
/// RFC 5227 §1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL.
const ANNOUNCEMENTS: u32 = 2;
const INTERVAL: Duration = Duration::from_secs(2);
/// Frames read at a time from one link.
const BUDGET: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Arp {
    addresses: BTreeSet<Ipv4Addr>,
    links: BTreeMap<u32, Link>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Link {
    socket: LinkSocket,
    mac: Mac,
    /// Announcements left to make.
    left: u32,
}

impl Arp {
    /// Links by interface index, and the addresses that are answered for on all of them.
    pub(crate) fn follow(
        &mut self,
        now: Instant,
        links: &BTreeMap<u32, Mac>,
        addresses: &BTreeSet<Ipv4Addr>,
    ) {
        let new_addresses = !addresses.is_subset(&self.addresses);
        self.addresses.clone_from(addresses);
        let wanted = |ifindex: &u32| !addresses.is_empty() && links.contains_key(ifindex);
        self.links.retain(|ifindex, link| wanted(ifindex) && links.get(ifindex) == Some(&link.mac));
        for (ifindex, mac) in links.iter().filter(|(ifindex, _)| wanted(ifindex)) {
            if !self.links.contains_key(ifindex) {
                match LinkSocket::open(*ifindex, ETHERTYPE) {
                    Ok(socket) => {
                        self.links.insert(*ifindex, Link { socket, mac: *mac, left: ANNOUNCEMENTS });
                        self.due = Some(now);
                    }
                    Err(error) => {
                        tracing::error!(ifindex, %error, "addresses of NAT are not answered for by ARP");
                    }
                }
            } else if new_addresses && let Some(link) = self.links.get_mut(ifindex) {
                link.left = ANNOUNCEMENTS;
                self.due = Some(now);
            }
        }
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.values().map(|link| link.socket.as_fd())
    }

    /// Answers what has been asked.
    pub(crate) fn hear(&mut self) {
        let mut frame = [0; FRAME_LEN];
        for link in self.links.values() {
            for _ in 0..BUDGET {
                let Ok(len) = link.socket.receive(&mut frame) else { break };
                if let Some(reply) =
                    frame.get(..len).and_then(|frame| answer(frame, link.mac, &self.addresses))
                {
                    // A link that takes nothing is down, and who asked will ask again.
                    let _ = link.socket.send(&reply);
                }
            }
        }
    }

    /// Makes announcements that are due.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        self.due = None;
        for link in self.links.values_mut().filter(|link| link.left != 0) {
            link.left -= 1;
            for address in &self.addresses {
                let _ = link.socket.send(&announcement(link.mac, *address));
            }
            if link.left != 0 {
                self.due = Some(now + INTERVAL);
            }
        }
    }
}

/// The reply to a request for one of `addresses`.
fn answer(frame: &[u8], mac: Mac, addresses: &BTreeSet<Ipv4Addr>) -> Option<[u8; FRAME_LEN]> {
    let arp: &[u8; 28] = frame.get(14..)?.first_chunk()?;
    let [0, 1, 8, 0, 6, 4, rest @ ..] = arp else { return None };
    let (op, rest) = rest.split_first_chunk::<2>()?;
    let (sender, rest) = rest.split_first_chunk::<6>()?;
    let (sender_address, rest) = rest.split_first_chunk::<4>()?;
    let target: &[u8; 4] = rest.get(6..)?.first_chunk()?;
    let asks = u16::from_be_bytes(*op) == REQUEST && addresses.contains(&Ipv4Addr::from(*target));
    // One's own announcement is nobody's question; a group is nobody's address.
    if !asks || *sender == mac.0 || sender[0] & 1 == 1 {
        return None;
    }
    Some(message(REPLY, *sender, (mac, *target), (*sender, *sender_address)))
}

/// RFC 5227 §3: a request for one's own address, to all.
fn announcement(mac: Mac, address: Ipv4Addr) -> [u8; FRAME_LEN] {
    message(REQUEST, [0xff; 6], (mac, address.octets()), ([0; 6], address.octets()))
}

fn message(op: u16, to: [u8; 6], sender: (Mac, [u8; 4]), target: ([u8; 6], [u8; 4])) -> [u8; FRAME_LEN] {
    let parts: [&[u8]; 9] = [
        &to,
        &sender.0.0,
        &ETHERTYPE.to_be_bytes(),
        &[0, 1, 8, 0, 6, 4],
        &op.to_be_bytes(),
        &sender.0.0,
        &sender.1,
        &target.0,
        &target.1,
    ];
    let mut out = [0; FRAME_LEN];
    let mut bytes = parts.iter().flat_map(|part| part.iter());
    out.iter_mut().for_each(|byte| *byte = bytes.next().copied().unwrap_or(0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn request(op: u16, sender: [u8; 6], target: [u8; 4]) -> [u8; FRAME_LEN] {
        message(op, [0xff; 6], (Mac(sender), [192, 0, 2, 9]), ([0; 6], target))
    }

    #[test]
    fn who_asks_for_one_of_the_addresses_is_answered() {
        let addresses = BTreeSet::from([Ipv4Addr::new(203, 0, 113, 8)]);
        let asked = [203, 0, 113, 8];
        let reply = answer(&request(REQUEST, THEIRS, asked), OURS, &addresses).unwrap();
        assert_eq!(reply, message(REPLY, THEIRS, (OURS, asked), (THEIRS, [192, 0, 2, 9])));
        let mut token_ring = request(REQUEST, THEIRS, asked);
        token_ring[15] = 6;
        for (name, frame) in [
            ("another address", request(REQUEST, THEIRS, [203, 0, 113, 9])),
            ("a reply", request(REPLY, THEIRS, asked)),
            ("our own", request(REQUEST, OURS.0, asked)),
            ("from a group", request(REQUEST, [1, 0, 0, 0, 0, 2], asked)),
            ("not Ethernet", token_ring),
        ] {
            assert_eq!(answer(&frame, OURS, &addresses), None, "{name}");
        }
        for len in 0..FRAME_LEN {
            assert_eq!(
                answer(&request(REQUEST, THEIRS, asked)[..len], OURS, &addresses),
                None,
                "{len} bytes"
            );
        }
    }

    #[test]
    fn an_announcement_is_a_request_for_oneself() {
        let frame = announcement(OURS, Ipv4Addr::new(203, 0, 113, 8));
        let mut golden = vec![0xff; 6];
        golden.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        golden.extend([2, 0, 0, 0, 0, 1, 203, 0, 113, 8]);
        golden.extend([0, 0, 0, 0, 0, 0, 203, 0, 113, 8]);
        assert_eq!(frame.as_slice(), golden);
    }
}
