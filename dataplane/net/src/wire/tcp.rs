//! The TCP header (RFC 9293 §3.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |          Source Port          |       Destination Port        |
//! |                        Sequence Number                        |
//! |                     Acknowledgment Number                     |
//! | Offset|  Rsv  |     Flags     |            Window             |
//! |           Checksum            |         Urgent Pointer        |
//! ```

use core::ops::{Deref, DerefMut};

use super::{be, view};

/// Offset of the checksum in the header.
pub const CHECKSUM: usize = field::CHECKSUM;

mod field {
    pub(super) const SRC_PORT: usize = 0;
    pub(super) const DST_PORT: usize = 2;
    pub(super) const SEQUENCE: usize = 4;
    pub(super) const ACKNOWLEDGMENT: usize = 8;
    pub(super) const OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: usize = 14;
    pub(super) const CHECKSUM: usize = 16;
    pub(super) const URGENT: usize = 18;
}

/// The control bits, `CWR ECE URG ACK PSH RST SYN FIN` from the most significant down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);

    /// Whether every bit of `other` is set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

view! {
    /// The fixed part of the TCP header.
    Tcp[20]
}

impl<T: Deref<Target = [u8; LEN]>> Tcp<T> {
    #[inline]
    pub fn src_port(&self) -> u16 {
        be!(self.0, u16 @ field::SRC_PORT)
    }

    #[inline]
    pub fn dst_port(&self) -> u16 {
        be!(self.0, u16 @ field::DST_PORT)
    }

    #[inline]
    pub fn sequence(&self) -> u32 {
        be!(self.0, u32 @ field::SEQUENCE)
    }

    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        be!(self.0, u32 @ field::ACKNOWLEDGMENT)
    }

    /// Length of the header with options, in bytes, 0 to 60.
    #[inline]
    pub fn header_len(&self) -> u8 {
        self.0[field::OFFSET] >> 4 << 2
    }

    #[inline]
    pub fn flags(&self) -> Flags {
        Flags(self.0[field::FLAGS])
    }

    #[inline]
    pub fn window(&self) -> u16 {
        be!(self.0, u16 @ field::WINDOW)
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        be!(self.0, u16 @ field::CHECKSUM)
    }

    #[inline]
    pub fn urgent(&self) -> u16 {
        be!(self.0, u16 @ field::URGENT)
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Tcp<T> {
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        be!(self.0, u16 @ field::SRC_PORT => port);
    }

    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        be!(self.0, u16 @ field::DST_PORT => port);
    }

    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) {
        be!(self.0, u32 @ field::SEQUENCE => sequence);
    }

    #[inline]
    pub fn set_acknowledgment(&mut self, acknowledgment: u32) {
        be!(self.0, u32 @ field::ACKNOWLEDGMENT => acknowledgment);
    }

    /// A header length in bytes, a multiple of four up to 60; the reserved bits become zero.
    #[inline]
    pub fn set_header_len(&mut self, header_len: u8) {
        self.0[field::OFFSET] = header_len >> 2 << 4;
    }

    #[inline]
    pub fn set_flags(&mut self, flags: Flags) {
        self.0[field::FLAGS] = flags.0;
    }

    #[inline]
    pub fn set_window(&mut self, window: u16) {
        be!(self.0, u16 @ field::WINDOW => window);
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        be!(self.0, u16 @ field::CHECKSUM => checksum);
    }

    #[inline]
    pub fn set_urgent(&mut self, urgent: u16) {
        be!(self.0, u16 @ field::URGENT => urgent);
    }
}
