//! Packet filters and policers of an interface. RFC 1812 §5.3.9, §5.2.7.1; RFC 1858 and RFC 3128 for fragments.
//! Reads: addresses, protocol, DSCP, the fragment's place; ports, ICMP type and code, TCP flags where they are there.
//! Next: fib_lookup (on the way in), eth_output (on the way out).
//! Drops: acl-drop and policed silently, acl-reject (3/13), tiny-fragment silently.
//!
//! On the way in a packet is judged as it came, after the check of its source. On the way out it is judged as it was
//! routed: with the destination that address translation has given it, and with its own source (what nftables' forward
//! chain sees). What the router says itself is not filtered.

use millrace_acl::{Fragment, Key};
use millrace_net::Instant;
use millrace_net::wire::ipv4::Protocol;

use crate::filter::{Filter, Judgement};
use crate::outcome::DropReason;
use crate::packet::{Packet, Plan};
use crate::ports::Guard;

const SCTP: Protocol = Protocol(132);
const DCCP: Protocol = Protocol(33);
const UDP_LITE: Protocol = Protocol(136);
/// Offset of the flags in a TCP header.
const TCP_FLAGS: usize = 13;

/// What the guard of a port says about a packet. Its policer comes last, so that it counts only what is let through.
pub(crate) fn judge(guard: &Guard, worker: usize, now: Instant, packet: &Packet, frame: &[u8]) -> Judgement {
    let mut judgement = Judgement { rule: None, refused: None };
    if let Some(filter) = &guard.filter {
        judgement = by_list(filter, worker, now, packet, frame);
    }
    if let Some(policer) = guard.policer.as_ref().filter(|_| judgement.refused.is_none()) {
        let conforms = if worker == DRY {
            policer.would_conform(now, packet.total_len)
        } else {
            policer.conforms(now, packet.total_len)
        };
        judgement.refused = (!conforms).then_some(DropReason::Policed);
    }
    judgement
}

/// The number of the worker that only asks what would happen.
pub(crate) const DRY: usize = usize::MAX;

fn by_list(filter: &Filter, worker: usize, now: Instant, packet: &Packet, frame: &[u8]) -> Judgement {
    let segment = packet.payload(frame);
    if is_tiny(packet, segment) {
        return Judgement { rule: None, refused: Some(DropReason::TinyFragment) };
    }
    filter.judge(worker, now, &key(packet, segment), packet.total_len)
}

/// Fragments that hide the TCP header from a filter: a first one that ends before the flags, and one that would
/// overwrite them (RFC 1858 §3.2, RFC 3128 §2).
fn is_tiny(packet: &Packet, segment: &[u8]) -> bool {
    packet.protocol == Protocol::TCP
        && packet.fragment.is_fragment()
        && match packet.fragment.offset_bytes() {
            0 => segment.len() <= TCP_FLAGS,
            8 => true,
            _ => false,
        }
}

fn key(packet: &Packet, segment: &[u8]) -> Key {
    let fragment = match (packet.fragment.is_fragment(), packet.fragment.offset_bytes()) {
        (false, _) => Fragment::Whole,
        (true, 0) => Fragment::First,
        (true, _) => Fragment::Later,
    };
    let head = if fragment == Fragment::Later { &[] } else { segment };
    let ports = match packet.protocol {
        Protocol::TCP | Protocol::UDP | SCTP | DCCP | UDP_LITE => head
            .first_chunk::<4>()
            .map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))),
        Protocol::ICMP => head.first_chunk::<2>().map(|&[kind, code]| (kind.into(), code.into())),
        _ => None,
    };
    // ICMP types and codes are not translated, only identifiers behind them.
    let ports = match (ports, packet.nat) {
        (Some((src, _)), Plan::Rewrite { dst_port, .. }) if packet.protocol != Protocol::ICMP => {
            Some((src, dst_port))
        }
        _ => ports,
    };
    let tcp_flags = if packet.protocol == Protocol::TCP { head.get(TCP_FLAGS).copied() } else { None };
    Key {
        src: packet.src,
        dst: packet.dst,
        protocol: packet.protocol.0,
        ports,
        tcp_flags,
        fragment,
        dscp: packet.tos >> 2,
    }
}
