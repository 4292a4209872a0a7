//! Whose a packet is that comes to an address which NAT shares with the host: NAT's if NAT holds its port.
//!
//! | packet | looked up |
//! |---|---|
//! | TCP, UDP | destination port |
//! | ICMP answer to a query (types 0, 14, 16, 18) | identifier |
//! | ICMP error (3, 11, 12) | source port or identifier of the packet it quotes, which had left by this address |
//! | any other ICMP: echo requests, redirects | the host's |
//! | other protocols | protocol number |
//! | a later fragment | as its first fragment, if that came before; else the host's |

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};
use aya_ebpf::programs::XdpContext;
use millrace_ebpf_abi::{FragmentKey, LocalKey, MAX_FRAGMENTS, NAT_PORT_WORDS, port_word};

use crate::frame::{IPV4, IPV4_HEADER_LEN, read};

#[map]
static NAT_PORTS: Array<u64> = Array::with_max_entries(NAT_PORT_WORDS, aya_ebpf::bindings::BPF_F_MMAPABLE);
#[map]
static FRAGMENTS: LruHashMap<FragmentKey, u8> = LruHashMap::with_max_entries(MAX_FRAGMENTS, 0);

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_HEADER_LEN: usize = 8;

/// The fields of an IPv4 header that decide.
struct Header {
    protocol: u8,
    /// Bytes, with options.
    len: usize,
    /// In units of eight bytes.
    offset: u16,
    more: bool,
    key: FragmentKey,
}

impl Header {
    #[inline(always)]
    fn read(ctx: &XdpContext, at: usize) -> Option<Self> {
        let header: [u8; IPV4_HEADER_LEN] = read(ctx, at).ok()?;
        let len = (header[0] & 0xf) as usize * 4;
        if header[0] >> 4 != 4 || len < IPV4_HEADER_LEN {
            return None;
        }
        let flags = u16::from_be_bytes([header[6], header[7]]);
        let [s0, s1, s2, s3, d0, d1, d2, d3] =
            [header[12], header[13], header[14], header[15], header[16], header[17], header[18], header[19]];
        Some(Self {
            protocol: header[9],
            len,
            offset: flags & 0x1fff,
            more: flags & 0x2000 != 0,
            key: [s0, s1, s2, s3, d0, d1, d2, d3, header[4], header[5], header[9], 0],
        })
    }
}

/// Whether NAT holds what the packet is for. `slot` is that of its destination.
#[inline(always)]
pub(crate) fn is_nats(ctx: &XdpContext, slot: u8, destination: LocalKey) -> bool {
    let Some(header) = Header::read(ctx, IPV4) else { return false };
    if header.offset != 0 {
        return FRAGMENTS.get_ptr(header.key).is_some();
    }
    let held = port(ctx, &header, destination).is_some_and(|(protocol, port)| holds(slot, protocol, port));
    if header.more {
        // Identifications come again: what is remembered is always the last first fragment's.
        let _ = if held { FRAGMENTS.insert(header.key, 1u8, 0) } else { FRAGMENTS.remove(header.key) };
    }
    held
}

/// The port of the shared address that a packet is for; none if it can only be the host's.
#[inline(always)]
fn port(ctx: &XdpContext, header: &Header, destination: LocalKey) -> Option<(u8, u16)> {
    let at = IPV4 + header.len;
    match header.protocol {
        TCP | UDP => Some((header.protocol, word(ctx, at + 2)?)),
        ICMP => {
            let [kind]: [u8; 1] = read(ctx, at).ok()?;
            match kind {
                0 | 14 | 16 | 18 => Some((ICMP, word(ctx, at + 4)?)),
                3 | 11 | 12 => quoted(ctx, at + ICMP_HEADER_LEN, destination),
                _ => None,
            }
        }
        other => Some((other, 0)),
    }
}

/// The source port of a quoted packet that left by the shared address.
#[inline(always)]
fn quoted(ctx: &XdpContext, at: usize, destination: LocalKey) -> Option<(u8, u16)> {
    let header = Header::read(ctx, at)?;
    let [s0, s1, s2, s3, ..] = header.key;
    if [s0, s1, s2, s3] != destination || header.offset != 0 {
        return None;
    }
    let at = at + header.len;
    match header.protocol {
        TCP | UDP => Some((header.protocol, word(ctx, at)?)),
        ICMP => Some((ICMP, word(ctx, at + 4)?)),
        other => Some((other, 0)),
    }
}

#[inline(always)]
fn word(ctx: &XdpContext, at: usize) -> Option<u16> {
    read(ctx, at).ok().map(u16::from_be_bytes)
}

#[inline(always)]
fn holds(slot: u8, protocol: u8, port: u16) -> bool {
    let (index, bit) = port_word(slot, protocol, port);
    let Some(word) = NAT_PORTS.get_ptr(index) else { return false };
    // JUSTIFICATION: workers write the word from userspace meanwhile; aya offers no atomic read of a map value.
    // SAFETY: the pointer was just returned by the map, is aligned to 8, and array elements live as long as the map. An
    // aligned 64-bit read is whole on every machine the kernel runs BPF on.
    let word = unsafe { word.read_volatile() };
    word & bit != 0
}
