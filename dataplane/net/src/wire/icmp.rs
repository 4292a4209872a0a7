//! The ICMP header (RFC 792).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |     Type      |     Code      |          Checksum             |
//! |                  depends on the type                          |
//! |      errors: the header and first bytes of what provoked it …
//! ```

use core::ops::{Deref, DerefMut};

use super::{be, view};

mod field {
    pub(super) const KIND: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: usize = 2;
    pub(super) const REST: usize = 4;
}

/// The type field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(pub u8);

impl Kind {
    pub const ECHO_REPLY: Self = Self(0);
    pub const UNREACHABLE: Self = Self(3);
    pub const SOURCE_QUENCH: Self = Self(4);
    pub const REDIRECT: Self = Self(5);
    pub const ECHO: Self = Self(8);
    pub const TIME_EXCEEDED: Self = Self(11);
    pub const PARAMETER_PROBLEM: Self = Self(12);

    /// Whether messages of this type are queries or their answers (RFC 1812 §4.3.1 and the types of RFC 792, 950, 1256
    /// and 8335). All others, unknown ones included, count as errors, about which no error is sent (RFC 1812 §4.3.2.7).
    #[inline]
    pub const fn is_query(self) -> bool {
        matches!(self.0, 0 | 8 | 9 | 10 | 13 | 14 | 15 | 16 | 17 | 18 | 42 | 43)
    }
}

view! {
    /// The eight bytes every ICMP message opens with.
    Icmp[8]
}

impl<T: Deref<Target = [u8; LEN]>> Icmp<T> {
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind(self.0[field::KIND])
    }

    #[inline]
    pub fn code(&self) -> u8 {
        self.0[field::CODE]
    }

    #[inline]
    pub fn checksum(&self) -> u16 {
        be!(self.0, u16 @ field::CHECKSUM)
    }

    /// The second word, whose meaning depends on the type.
    #[inline]
    pub fn rest(&self) -> u32 {
        be!(self.0, u32 @ field::REST)
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Icmp<T> {
    #[inline]
    pub fn set_kind(&mut self, kind: Kind) {
        self.0[field::KIND] = kind.0;
    }

    #[inline]
    pub fn set_code(&mut self, code: u8) {
        self.0[field::CODE] = code;
    }

    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        be!(self.0, u16 @ field::CHECKSUM => checksum);
    }

    /// The second word: next-hop MTU in its low half (RFC 1191 §4), pointer in its first octet (RFC 792), a gateway.
    #[inline]
    pub fn set_rest(&mut self, rest: u32) {
        be!(self.0, u32 @ field::REST => rest);
    }
}
