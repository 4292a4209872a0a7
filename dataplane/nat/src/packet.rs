//! From an IPv4 packet to what NAT judges it by, and a [`Rewrite`] back into it. RFC 3022 §4, RFC 5508 §4.
//!
//! Checksums are updated by what changed (RFC 1624), so a packet that arrives broken leaves broken. A TCP or UDP checksum
//! that is only the pseudo header's sum is to be completed before it comes here.

use core::net::Ipv4Addr;

use millrace_net::checksum::{self, Sum};
use millrace_net::wire::icmp::{self, Icmp};
use millrace_net::wire::ipv4::{self, Ipv4};
use millrace_net::wire::{tcp, udp};

use crate::flow::{Endpoint, Flow, Tcp, protocol};
use crate::table::Side;
use crate::verdict::ErrorRewrite;

/// What a packet is to NAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// It has its endpoints in it. With `fragment`, later fragments of the same datagram go where it goes.
    Flow { flow: Flow, tcp: Option<Tcp>, fragment: Option<Datagram> },
    /// A fragment without its endpoints' ports: it goes where the first one went.
    LaterFragment(Datagram),
    /// An ICMP error about a packet of this flow, as quoted.
    IcmpError { quoted: Flow },
    /// Too short for what it says it is, a broken ICMP error, or an ICMP message that is neither error nor query.
    Malformed,
}

/// Names the fragments of one datagram (RFC 791 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Datagram {
    pub src: u32,
    pub dst: u32,
    pub protocol: u8,
    pub ident: u16,
}

/// Where in a packet things stand.
struct Layout {
    header_len: usize,
    fragment_offset: u16,
}

/// Reads a whole IPv4 packet that comes from `side`, `ip` being as long as its header says.
pub fn parse(side: Side, ip: &[u8]) -> Parsed {
    let Some((header, layout)) = layout(ip) else { return Parsed::Malformed };
    let protocol = header.protocol().0;
    let datagram = header.fragment().is_fragment().then(|| Datagram {
        src: header.src_bits(),
        dst: header.dst_bits(),
        protocol,
        ident: header.ident(),
    });
    if let (Some(datagram), true) = (datagram, layout.fragment_offset != 0) {
        return Parsed::LaterFragment(datagram);
    }
    let payload = &ip[layout.header_len..];
    let flow = |src_port, dst_port| Flow {
        protocol,
        src: Endpoint { addr: header.src_bits(), port: src_port },
        dst: Endpoint { addr: header.dst_bits(), port: dst_port },
    };
    match protocol {
        protocol::TCP => match tcp::Tcp::new_checked(payload) {
            Ok(t) => Parsed::Flow {
                flow: flow(t.src_port(), t.dst_port()),
                tcp: Some(Tcp::from_flags(t.flags().0)),
                fragment: datagram,
            },
            Err(_) => Parsed::Malformed,
        },
        protocol::UDP => match udp::Udp::new_checked(payload) {
            Ok(u) => Parsed::Flow { flow: flow(u.src_port(), u.dst_port()), tcp: None, fragment: datagram },
            Err(_) => Parsed::Malformed,
        },
        protocol::ICMP => match Icmp::split(payload) {
            Ok((i, _)) if has_query_id(i.kind()) => {
                // The identifier is the inside host's; its peer has none.
                let id = query_id(i.rest());
                let (src, dst) = if side == Side::Inside { (id, 0) } else { (0, id) };
                Parsed::Flow { flow: flow(src, dst), tcp: None, fragment: datagram }
            }
            Ok((i, quoted)) if is_error(i.kind()) && datagram.is_none() => {
                // RFC 5508 REQ-3 a: a broken error is dropped.
                if !Sum::ZERO.bytes(payload).is_valid() {
                    return Parsed::Malformed;
                }
                quoted_flow(side, quoted).map_or(Parsed::Malformed, |quoted| Parsed::IcmpError { quoted })
            }
            Ok(_) | Err(_) => Parsed::Malformed,
        },
        _ => Parsed::Flow { flow: flow(0, 0), tcp: None, fragment: datagram },
    }
}

/// Writes new endpoints into a packet that [`parse`] gave a flow for.
#[inline]
pub fn rewrite(ip: &mut [u8], src: Endpoint, dst: Endpoint) {
    let Ok((mut header, rest)) = Ipv4::split_mut(ip) else { return };
    let (old_src, old_dst) = (header.src_bits(), header.dst_bits());
    // What the sums over header and pseudo header have more, and less.
    let addresses =
        Sum::ZERO.double_word(!old_src).double_word(src.addr).double_word(!old_dst).double_word(dst.addr);
    let check = addresses.word(!header.checksum()).checksum();
    header.set_checksum(check);
    header.set_src(Ipv4Addr::from_bits(src.addr));
    header.set_dst(Ipv4Addr::from_bits(dst.addr));
    let options = usize::from(header.header_len()).saturating_sub(ipv4::LEN);
    if header.fragment().offset_bytes() == 0
        && let Some(payload) = rest.get_mut(options..)
    {
        write_ports(payload, header.protocol().0, src.port, dst.port, addresses);
    }
}

/// Writes new addresses into a later fragment: all there is to change in it.
pub fn rewrite_later_fragment(ip: &mut [u8], src: u32, dst: u32) {
    write_addresses(ip, src, dst);
}

/// Writes an ICMP error's new addresses, and into the packet it quotes what that packet looked like on the other side.
pub fn rewrite_error(ip: &mut [u8], new: &ErrorRewrite) {
    let Some((header, layout)) = layout(ip) else { return };
    let src = new.outer_src.unwrap_or(header.src_bits());
    let dst = new.outer_dst.unwrap_or(header.dst_bits());
    write_addresses(ip, src, dst);
    let Ok((_, quoted)) = Icmp::split_mut(&mut ip[layout.header_len..]) else { return };
    rewrite_quoted(quoted, new.inner_src, new.inner_dst);
    let message = &mut ip[layout.header_len..];
    if let Ok(mut i) = Icmp::new_checked_mut(message) {
        i.set_checksum(0);
    }
    let checksum = checksum::checksum(message);
    if let Ok(mut i) = Icmp::new_checked_mut(message) {
        i.set_checksum(checksum);
    }
}

/// The flow of the packet that an ICMP error from `side` quotes: its header and at least eight bytes (RFC 792).
fn quoted_flow(side: Side, quoted: &[u8]) -> Option<Flow> {
    let (header, options) = Ipv4::split(quoted).ok()?;
    let header_len = usize::from(header.header_len());
    let options = options.get(..header_len.checked_sub(ipv4::LEN)?)?;
    // RFC 5508 REQ-3 b: neither is one whose quoted header is broken.
    if header.version() != 4
        || !header.sum().bytes(options).is_valid()
        || header.fragment().offset_bytes() != 0
    {
        return None;
    }
    let payload = quoted.get(header_len..)?;
    let protocol = header.protocol().0;
    let (src_port, dst_port) = match protocol {
        protocol::TCP | protocol::UDP => {
            let ports = payload.first_chunk::<4>()?;
            (u16::from_be_bytes([ports[0], ports[1]]), u16::from_be_bytes([ports[2], ports[3]]))
        }
        protocol::ICMP => {
            let message = Icmp::new_checked(payload).ok()?;
            let id = has_query_id(message.kind()).then(|| query_id(message.rest()))?;
            // What went out is quoted from outside, what came in from inside.
            if side == Side::Outside { (id, 0) } else { (0, id) }
        }
        _ => (0, 0),
    };
    Some(Flow {
        protocol,
        src: Endpoint { addr: header.src_bits(), port: src_port },
        dst: Endpoint { addr: header.dst_bits(), port: dst_port },
    })
}

fn rewrite_quoted(quoted: &mut [u8], src: Endpoint, dst: Endpoint) {
    let Ok(header) = Ipv4::new_checked(quoted) else { return };
    let (protocol, header_len) = (header.protocol().0, usize::from(header.header_len()));
    let addresses = Sum::ZERO
        .double_word(!header.src_bits())
        .double_word(src.addr)
        .double_word(!header.dst_bits())
        .double_word(dst.addr);
    write_addresses(quoted, src.addr, dst.addr);
    if let Some(payload) = quoted.get_mut(header_len..) {
        write_ports(payload, protocol, src.port, dst.port, addresses);
    }
}

/// Addresses and header checksum.
fn write_addresses(ip: &mut [u8], src: u32, dst: u32) {
    let Ok(mut header) = Ipv4::new_checked_mut(ip) else { return };
    let check = checksum::update_double_word(header.checksum(), header.src_bits(), src);
    let check = checksum::update_double_word(check, header.dst_bits(), dst);
    header.set_src(Ipv4Addr::from_bits(src));
    header.set_dst(Ipv4Addr::from_bits(dst));
    header.set_checksum(check);
}

/// The flow of a whole TCP or UDP packet whose header has been read already: `payload` is what follows it. `None` where
/// that is too short, or of another protocol: [`parse`] says what it is.
#[inline]
pub fn plain_flow(protocol: u8, src: u32, dst: u32, payload: &[u8]) -> Option<(Flow, Option<Tcp>)> {
    let tcp = match protocol {
        protocol::UDP if udp::LEN <= payload.len() => None,
        protocol::TCP => Some(Tcp::from_flags(tcp::Tcp::new_checked(payload).ok()?.flags().0)),
        _ => return None,
    };
    let [a, b, c, d] = *payload.first_chunk()?;
    let src = Endpoint { addr: src, port: u16::from_be_bytes([a, b]) };
    let dst = Endpoint { addr: dst, port: u16::from_be_bytes([c, d]) };
    Some((Flow { protocol, src, dst }, tcp))
}

/// Ports, or the query identifier, and the checksum over them as far as it is there: of a quoted packet there may be
/// eight bytes only.
#[inline]
fn write_ports(payload: &mut [u8], protocol: u8, src_port: u16, dst_port: u16, addresses: Sum) {
    match protocol {
        protocol::TCP | protocol::UDP => {
            let Some(ports) = payload.first_chunk_mut::<4>() else { return };
            let old = u32::from_be_bytes(*ports);
            let new = u32::from(src_port) << 16 | u32::from(dst_port);
            *ports = new.to_be_bytes();
            let at = if protocol == protocol::TCP { tcp::CHECKSUM } else { udp::CHECKSUM };
            let Some(field) = payload.get_mut(at..).and_then(|p| p.first_chunk_mut::<2>()) else { return };
            let check = u16::from_be_bytes(*field);
            if protocol == protocol::UDP && check == 0 {
                return;
            }
            let check = addresses.word(!check).double_word(!old).double_word(new).checksum();
            let check = if protocol == protocol::UDP { udp::transmitted(check) } else { check };
            *field = check.to_be_bytes();
        }
        protocol::ICMP => {
            let Ok(mut message) = Icmp::new_checked_mut(payload) else { return };
            // The side that has an identifier; of a hairpinned query the one that the receiver knows.
            let id = if dst_port == 0 { src_port } else { dst_port };
            let old = message.rest();
            let new = u32::from(id) << 16 | old & 0xffff;
            let check = checksum::update_double_word(message.checksum(), old, new);
            message.set_rest(new);
            message.set_checksum(check);
        }
        _ => {}
    }
}

fn layout(ip: &[u8]) -> Option<(Ipv4<&[u8; ipv4::LEN]>, Layout)> {
    let header = Ipv4::new_checked(ip).ok()?;
    let header_len = usize::from(header.header_len());
    if header_len < ipv4::LEN || ip.len() < header_len {
        return None;
    }
    let fragment_offset = header.fragment().offset_bytes();
    Some((header, Layout { header_len, fragment_offset }))
}

/// Echo, timestamp and address mask, with their replies: an identifier is in the second word (RFC 792, RFC 950). RFC 5508
/// REQ-10 says that information requests should not be supported.
const fn has_query_id(kind: icmp::Kind) -> bool {
    matches!(kind.0, 0 | 8 | 13 | 14 | 17 | 18)
}

/// RFC 5508 REQ-10: destination unreachable, time exceeded, parameter problem. No source quench, and no redirects: these
/// are between neighbours.
const fn is_error(kind: icmp::Kind) -> bool {
    matches!(kind.0, 3 | 11 | 12)
}

const fn query_id(rest: u32) -> u16 {
    (rest >> 16) as u16
}
