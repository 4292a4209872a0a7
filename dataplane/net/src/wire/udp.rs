//! The UDP header (RFC 768).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |          Source Port          |       Destination Port        |
//! |            Length             |           Checksum            |
//! ```

use core::ops::{Deref, DerefMut};

use super::{be, view};

/// Offset of the checksum in the header.
pub const CHECKSUM: usize = field::CHECKSUM;

mod field {
    pub(super) const SRC_PORT: usize = 0;
    pub(super) const DST_PORT: usize = 2;
    pub(super) const LENGTH: usize = 4;
    pub(super) const CHECKSUM: usize = 6;
}

view! {
    /// The UDP header.
    Udp[8]
}

impl<T: Deref<Target = [u8; LEN]>> Udp<T> {
    #[inline]
    pub fn src_port(&self) -> u16 {
        be!(self.0, u16 @ field::SRC_PORT)
    }

    #[inline]
    pub fn dst_port(&self) -> u16 {
        be!(self.0, u16 @ field::DST_PORT)
    }

    /// Length of header and data in bytes.
    #[inline]
    pub fn length(&self) -> u16 {
        be!(self.0, u16 @ field::LENGTH)
    }

    /// Zero where the sender computed none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be!(self.0, u16 @ field::CHECKSUM)
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Udp<T> {
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        be!(self.0, u16 @ field::SRC_PORT => port);
    }

    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        be!(self.0, u16 @ field::DST_PORT => port);
    }

    #[inline]
    pub fn set_length(&mut self, length: u16) {
        be!(self.0, u16 @ field::LENGTH => length);
    }

    /// The field as it is to stand; see [`transmitted`] for what a computed zero becomes.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        be!(self.0, u16 @ field::CHECKSUM => checksum);
    }
}

/// A computed checksum as it is transmitted: zero means "none", so zero is sent as all ones (RFC 768).
#[inline]
pub const fn transmitted(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}
