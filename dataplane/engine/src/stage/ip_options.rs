//! IPv4 options on a packet in transit. RFC 791 §3.1, RFC 1812 §4.2.2.1-2, §5.3.13, RFC 2113, RFC 7126.
//! Reads: the options. Sets: on the way out, what record route and timestamp ask for, and the header checksum.
//! Next: ip_forward. Drops: source-routed, source-route-failed (3/5), ip-bad-option (12/0 with a pointer).
//!
//! | option | what is done |
//! |---|---|
//! | end, no operation | skipped |
//! | record route | the outgoing address is added |
//! | timestamp | address and time are added, or the overflow counted |
//! | loose and strict source route | refused, unless the administrator permits them |
//! | router alert | passed on: no protocol here asks for packets in transit (RFC 6398 §5) |
//! | any other | passed on unchanged (RFC 1812 §5.3.13.1) |
//!
//! The router's own address as next hop of a source route does not get here: such a packet is for the host.

use core::net::Ipv4Addr;

use millrace_net::wire::ipv4::{self, Ipv4};

use crate::outcome::DropReason;
use crate::packet::Packet;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const RECORD_ROUTE: u8 = 7;
const TIMESTAMP: u8 = 68;
const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
const ROUTER_ALERT: u8 = 148;
/// The bit of an option's type that says: into every fragment.
const COPIED: u8 = 0x80;

/// Offsets within an option.
const LENGTH: usize = 1;
const POINTER: usize = 2;
const FLAGS: usize = 3;

/// Timestamp flags (RFC 791 §3.1).
const TIME_ONLY: u8 = 0;
const WITH_ADDRESS: u8 = 1;
const PRESPECIFIED: u8 = 3;

/// What the options of a packet ask of the router.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    /// Offset in the header of a record route option with room.
    record_route: Option<usize>,
    /// Offset in the header of a timestamp option.
    timestamp: Option<usize>,
    source_route: Option<SourceRoute>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SourceRoute {
    Loose,
    Strict,
}

/// Walks the options. On ip-bad-option `packet.detail` is the offset in the IPv4 header of the octet at fault.
pub(crate) fn ip_options(packet: &mut Packet, frame: &[u8]) -> Result<Options, DropReason> {
    let header = packet.ip(frame).get(..usize::from(packet.header_len)).unwrap_or_default();
    parse(header).map_err(|at| {
        packet.detail = u32::try_from(at).unwrap_or(0);
        DropReason::IpBadOption
    })
}

/// The options of a header, or the offset of the octet at fault.
fn parse(header: &[u8]) -> Result<Options, usize> {
    let mut found = Options::default();
    let mut at = ipv4::LEN;
    while let Some((kind, len)) = option_at(header, at) {
        let option = header.get(at..at + len).filter(|option| !option.is_empty()).ok_or(at + LENGTH)?;
        let once = |seen: bool| if seen { Err(at) } else { Ok(()) };
        match kind {
            RECORD_ROUTE => {
                once(found.record_route.is_some())?;
                if has_room(option, 4, 4).map_err(|fault| at + fault)? {
                    found.record_route = Some(at);
                }
            }
            TIMESTAMP => {
                once(found.timestamp.is_some())?;
                check_timestamp(option).map_err(|fault| at + fault)?;
                found.timestamp = Some(at);
            }
            LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE => {
                once(found.source_route.is_some())?;
                let route =
                    if kind == STRICT_SOURCE_ROUTE { SourceRoute::Strict } else { SourceRoute::Loose };
                found.source_route = Some(route);
            }
            ROUTER_ALERT if option.len() < 4 => return Err(at + LENGTH),
            _ => (),
        }
        at += len;
    }
    Ok(found)
}

/// Whether `entry` bytes can be written where the pointer says; `first` is the least pointer. A pointer beyond the
/// option means full. Room for a part of an entry is a fault (RFC 791 §3.1), as is a pointer into the option's head.
fn has_room(option: &[u8], first: u8, entry: usize) -> Result<bool, usize> {
    let pointer = *option.get(POINTER).ok_or(LENGTH)?;
    if pointer < first {
        return Err(POINTER);
    }
    let free = option.len().checked_sub(usize::from(pointer) - 1).filter(|&free| free != 0);
    match free {
        None => Ok(false),
        Some(free) if free < entry => Err(POINTER),
        Some(_) => Ok(true),
    }
}

fn check_timestamp(option: &[u8]) -> Result<(), usize> {
    let flags = *option.get(FLAGS).ok_or(LENGTH)?;
    let entry = timestamp_entry(flags);
    let full = !has_room(option, 5, entry)?;
    // RFC 791 §3.1: when the overflow count itself overflows the datagram is in error.
    if full && flags & 15 != PRESPECIFIED && flags >> 4 == 15 { Err(FLAGS) } else { Ok(()) }
}

const fn timestamp_entry(flags: u8) -> usize {
    match flags & 15 {
        WITH_ADDRESS | PRESPECIFIED => 8,
        _ => 4,
    }
}

impl Options {
    /// RFC 7126 §4.3-4.4: refused by default. Where permitted, a strict route goes on only if the next address of it, the
    /// destination, is on a connected network (RFC 1812 §5.2.4.1).
    pub(crate) fn permit(
        &self,
        source_routes: bool,
        destination_is_connected: bool,
    ) -> Result<(), DropReason> {
        match self.source_route {
            Some(_) if !source_routes => Err(DropReason::SourceRouted),
            Some(SourceRoute::Strict) if !destination_is_connected => Err(DropReason::SourceRouteFailed),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) const fn is_source_routed(&self) -> bool {
        self.source_route.is_some()
    }

    /// Whether the header is to be changed on the way out.
    pub(crate) const fn wants_update(&self) -> bool {
        self.record_route.is_some() || self.timestamp.is_some()
    }

    /// Writes what was asked for and the header checksum. `outgoing` is the address of the interface the packet leaves by
    /// (RFC 1812 §4.2.2.2); `time` the timestamp value; `is_own` knows the router's addresses.
    pub(crate) fn update(
        &self,
        packet: &Packet,
        frame: &mut [u8],
        outgoing: Option<Ipv4Addr>,
        time: u32,
        is_own: impl Fn(Ipv4Addr) -> bool,
    ) {
        let Some(header) = packet.ip_mut(frame).get_mut(..usize::from(packet.header_len)) else { return };
        if let (Some(at), Some(outgoing)) = (self.record_route, outgoing) {
            append(header, at, &outgoing.octets());
        }
        if let Some(at) = self.timestamp {
            stamp(header, at, outgoing, time, is_own);
        }
        if let Ok((mut view, options)) = Ipv4::split_mut(header) {
            view.fill_checksum(options);
        }
    }
}

/// Fills in a timestamp option whose shape `check_timestamp` has found good.
fn stamp(
    header: &mut [u8],
    at: usize,
    outgoing: Option<Ipv4Addr>,
    time: u32,
    is_own: impl Fn(Ipv4Addr) -> bool,
) {
    let (Some(&len), Some(&pointer), Some(&flags)) =
        (header.get(at + LENGTH), header.get(at + POINTER), header.get(at + FLAGS))
    else {
        return;
    };
    let full = len < pointer;
    match (flags & 15, outgoing) {
        (PRESPECIFIED, _) if full => (),
        (PRESPECIFIED, _) => {
            // RFC 1812 §5.3.13.6: any of the router's addresses will do.
            let place = at + usize::from(pointer) - 1;
            let listed = header.get(place..).and_then(<[u8]>::first_chunk::<4>).map(|&octets| octets.into());
            if listed.is_some_and(is_own) {
                skip(header, at, 4);
                append(header, at, &time.to_be_bytes());
            }
        }
        (TIME_ONLY | WITH_ADDRESS, _) if full => {
            if let Some(overflow) = header.get_mut(at + FLAGS) {
                *overflow = overflow.saturating_add(0x10);
            }
        }
        (TIME_ONLY, _) => append(header, at, &time.to_be_bytes()),
        (WITH_ADDRESS, Some(outgoing)) => {
            append(header, at, &outgoing.octets());
            append(header, at, &time.to_be_bytes());
        }
        (_, _) => (), // no address to give, or a flag that RFC 791 does not define
    }
}

/// Writes at the pointer of the option at `at` and moves the pointer on.
fn append(header: &mut [u8], at: usize, bytes: &[u8]) {
    let Some(&pointer) = header.get(at + POINTER) else { return };
    let place = (at + usize::from(pointer)).saturating_sub(1);
    if let Some(room) = header.get_mut(place..place + bytes.len()) {
        room.copy_from_slice(bytes);
        skip(header, at, u8::try_from(bytes.len()).unwrap_or(0));
    }
}

fn skip(header: &mut [u8], at: usize, bytes: u8) {
    if let Some(pointer) = header.get_mut(at + POINTER) {
        *pointer = pointer.saturating_add(bytes);
    }
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
        kind => match header.get(at + LENGTH).map(|&len| usize::from(len)) {
            Some(len) if 2 <= len && at + len <= header.len() => Some((kind, len)),
            _ => Some((kind, 0)),
        },
    }
}
