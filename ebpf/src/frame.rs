//! Reading a frame as far as its IPv4 destination.
//!
//! ```text
//!  0        6        12      14      16      18
//!  ┌────────┬────────┬───────┬─ ─ ─ ─┬─ ─ ─ ─┬──────────────────────────┐
//!  │ dst    │ src    │ type  │ TCI   │ type  │ IPv4: destination at +16 │
//!  └────────┴────────┴───────┴─ ─ ─ ─┴─ ─ ─ ─┴──────────────────────────┘
//!                             each 802.1Q or 802.1ad tag, up to two
//! ```

use aya_ebpf::programs::XdpContext;
use millrace_ebpf_abi::{LocalKey, XdpOutcome};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_DOT1Q: u16 = 0x8100;
const ETHERTYPE_DOT1AD: u16 = 0x88a8;

/// Offset of the type field in an untagged header; what follows is a tag or the payload.
const TYPE: usize = 12;
const TAG_LEN: usize = 4;
const MAX_TAGS: usize = 2;
pub(crate) const IPV4: usize = 14;
pub(crate) const IPV4_HEADER_LEN: usize = 20;
const IPV4_DESTINATION: usize = 16;

/// The IPv4 destination of a unicast frame without tags, or the outcome of any other frame.
#[inline(always)]
pub(crate) fn destination(ctx: &XdpContext) -> Result<LocalKey, XdpOutcome> {
    let hardware_destination: [u8; 6] = read(ctx, 0)?;
    let mut tags = 0;
    let mut ethertype = u16::from_be_bytes(read(ctx, TYPE)?);
    while matches!(ethertype, ETHERTYPE_DOT1Q | ETHERTYPE_DOT1AD) && tags < MAX_TAGS {
        tags += 1;
        ethertype = u16::from_be_bytes(read(ctx, TYPE + tags * TAG_LEN)?);
    }
    if tags > 0 {
        return Err(XdpOutcome::Tagged);
    }
    if ethertype != ETHERTYPE_IPV4 {
        return Err(XdpOutcome::NotIpv4);
    }
    let header: [u8; IPV4_HEADER_LEN] = read(ctx, IPV4)?;
    let [.., a, b, c, d] = header;
    const _: () = assert!(IPV4_DESTINATION + 4 == IPV4_HEADER_LEN);
    let to_group = hardware_destination[0] & 1 == 1;
    let limited_broadcast = [a, b, c, d] == [255; 4];
    // 224.0.0.0/4, RFC 1112 section 4.
    let multicast = a & 0xf0 == 0xe0;
    if to_group || multicast || limited_broadcast {
        return Err(XdpOutcome::Multicast);
    }
    Ok([a, b, c, d])
}

/// `N` bytes at `offset`; a frame that ends before is truncated.
#[inline(always)]
pub(crate) fn read<const N: usize>(ctx: &XdpContext, offset: usize) -> Result<[u8; N], XdpOutcome> {
    let start = ctx.data() + offset;
    if start + N > ctx.data_end() {
        return Err(XdpOutcome::Truncated);
    }
    let bytes = start as *const [u8; N];
    // JUSTIFICATION: the frame is reached by addresses that the context holds; the verifier demands the check above.
    // SAFETY: data ≤ start and start + N ≤ data_end, so the bytes are the frame's; an array of bytes needs no alignment.
    Ok(unsafe { bytes.read() })
}
