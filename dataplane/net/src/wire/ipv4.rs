//! The IPv4 header (RFC 791 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |version|  IHL  |Type of Service|          Total Length         |
//! |         Identification        |Flags|      Fragment Offset    |
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! |                       Source Address                          |
//! |                    Destination Address                        |
//! |                    Options, IHL - 5 words                     |
//! ```

use core::net::Ipv4Addr;
use core::ops::{Deref, DerefMut};

use super::{be, view};
use crate::checksum::{self, Sum};

mod field {
    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LEN: usize = 2;
    pub(super) const IDENT: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: usize = 10;
    pub(super) const SRC: usize = 12;
    pub(super) const DST: usize = 16;
}

/// The longest header: 15 words (RFC 791 §3.1).
pub const MAX_LEN: usize = 60;

/// What the payload is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Protocol(pub u8);

impl Protocol {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
}

/// The word of flags and fragment offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment(pub u16);

impl Fragment {
    /// Neither a flag nor an offset.
    pub const NONE: Self = Self(0);
    const RESERVED: u16 = 0x8000;
    const DF: u16 = 0x4000;
    const MF: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;

    /// The word for a fragment at `offset_bytes`, a multiple of eight below 65536. DF is clear.
    #[inline]
    pub const fn at(offset_bytes: u16, more: bool) -> Self {
        Self(offset_bytes >> 3 | if more { Self::MF } else { 0 })
    }

    #[inline]
    pub const fn dont_fragment(self) -> bool {
        self.0 & Self::DF != 0
    }

    #[inline]
    pub const fn more(self) -> bool {
        self.0 & Self::MF != 0
    }

    /// Of the payload of the whole datagram, in bytes.
    #[inline]
    pub const fn offset_bytes(self) -> u16 {
        (self.0 & Self::OFFSET) << 3
    }

    /// Whether this is part of a fragmented datagram, the first part included.
    #[inline]
    pub const fn is_fragment(self) -> bool {
        self.0 & (Self::MF | Self::OFFSET) != 0
    }

    /// Whether the bit that RFC 791 §3.1 says must be zero is set.
    #[inline]
    pub const fn reserved(self) -> bool {
        self.0 & Self::RESERVED != 0
    }
}

view! {
    /// The fixed part of the header. `new_checked` proves those 20 bytes only; whether version, header length, total
    /// length and checksum make sense is for the caller to ask, because each failure has a name of its own.
    Ipv4[20]
}

impl<T: Deref<Target = [u8; LEN]>> Ipv4<T> {
    #[inline]
    pub fn version(&self) -> u8 {
        self.0[field::VERSION_IHL] >> 4
    }

    /// Header length in bytes, 0 to 60.
    #[inline]
    pub fn header_len(&self) -> u8 {
        (self.0[field::VERSION_IHL] & 0x0f) << 2
    }

    /// Version and header length together: 0x45 is IPv4 without options.
    #[inline]
    pub fn version_ihl(&self) -> u8 {
        self.0[field::VERSION_IHL]
    }

    #[inline]
    pub fn tos(&self) -> u8 {
        self.0[field::TOS]
    }

    /// Length of header and payload in bytes.
    #[inline]
    pub fn total_len(&self) -> u16 {
        be!(self.0, u16 @ field::TOTAL_LEN)
    }

    #[inline]
    pub fn ident(&self) -> u16 {
        be!(self.0, u16 @ field::IDENT)
    }

    #[inline]
    pub fn fragment(&self) -> Fragment {
        Fragment(be!(self.0, u16 @ field::FRAGMENT))
    }

    #[inline]
    pub fn ttl(&self) -> u8 {
        self.0[field::TTL]
    }

    #[inline]
    pub fn protocol(&self) -> Protocol {
        Protocol(self.0[field::PROTOCOL])
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        be!(self.0, u16 @ field::CHECKSUM)
    }

    #[inline]
    pub fn src(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.src_bits())
    }

    #[inline]
    pub fn dst(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.dst_bits())
    }

    #[inline]
    pub fn src_bits(&self) -> u32 {
        be!(self.0, u32 @ field::SRC)
    }

    #[inline]
    pub fn dst_bits(&self) -> u32 {
        be!(self.0, u32 @ field::DST)
    }

    /// The ones'-complement sum of these 20 bytes; options are added to it by the caller.
    #[inline]
    pub fn sum(&self) -> Sum {
        Sum::ZERO.bytes(&self.0[..])
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Ipv4<T> {
    /// Version 4 and a header length in bytes, a multiple of four up to 60.
    #[inline]
    pub fn set_header_len(&mut self, header_len: u8) {
        self.0[field::VERSION_IHL] = 0x40 | header_len >> 2 & 0x0f;
    }

    #[inline]
    pub fn set_tos(&mut self, tos: u8) {
        self.0[field::TOS] = tos;
    }

    #[inline]
    pub fn set_total_len(&mut self, total_len: u16) {
        be!(self.0, u16 @ field::TOTAL_LEN => total_len);
    }

    #[inline]
    pub fn set_ident(&mut self, ident: u16) {
        be!(self.0, u16 @ field::IDENT => ident);
    }

    #[inline]
    pub fn set_fragment(&mut self, fragment: Fragment) {
        be!(self.0, u16 @ field::FRAGMENT => fragment.0);
    }

    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.0[field::TTL] = ttl;
    }

    #[inline]
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.0[field::PROTOCOL] = protocol.0;
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        be!(self.0, u16 @ field::CHECKSUM => checksum);
    }

    #[inline]
    pub fn set_src(&mut self, src: Ipv4Addr) {
        be!(self.0, u32 @ field::SRC => src.to_bits());
    }

    #[inline]
    pub fn set_dst(&mut self, dst: Ipv4Addr) {
        be!(self.0, u32 @ field::DST => dst.to_bits());
    }

    /// Computes the checksum anew; `options` are the header bytes behind these 20.
    #[inline]
    pub fn fill_checksum(&mut self, options: &[u8]) {
        self.set_checksum(0);
        let checksum = self.sum().bytes(options).checksum();
        self.set_checksum(checksum);
    }

    /// One hop less to live, and the checksum with it (RFC 1624). A TTL of zero stays zero.
    #[inline]
    pub fn decrement_ttl(&mut self) {
        let old = be!(self.0, u16 @ field::TTL);
        if let Some(new) = old.checked_sub(0x0100) {
            let checksum = checksum::update(self.checksum(), old, new);
            be!(self.0, u16 @ field::TTL => new);
            self.set_checksum(checksum);
        }
    }
}
