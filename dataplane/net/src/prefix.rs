//! An IPv4 prefix in CIDR form (RFC 4632 §3.1).

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An address block whose host bits are zero. Ordered by address, then by length: a covering prefix sorts first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    bits: u32,
    len: u8,
}

/// Why an address and a length, or a text, are not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// Not `a.b.c.d/len`.
    Syntax,
    /// The length is over 32.
    Length(u8),
    /// Bits beyond the length are set; the prefix that was perhaps meant comes with it.
    HostBits(Prefix),
}

impl Prefix {
    pub const DEFAULT: Self = Self { bits: 0, len: 0 };

    /// The prefix `addr/len`, refused where bits beyond `len` are set.
    pub const fn new(addr: Ipv4Addr, len: u8) -> Result<Self, PrefixError> {
        if 32 < len {
            return Err(PrefixError::Length(len));
        }
        let prefix = Self::truncated(addr, len);
        if prefix.bits == addr.to_bits() { Ok(prefix) } else { Err(PrefixError::HostBits(prefix)) }
    }

    /// The prefix of `len` bits that covers `addr`. A `len` over 32 counts as 32.
    #[inline]
    pub const fn truncated(addr: Ipv4Addr, len: u8) -> Self {
        let len = if len < 32 { len } else { 32 };
        Self { bits: addr.to_bits() & mask(len), len }
    }

    /// The single address `addr/32`.
    #[inline]
    pub const fn host(addr: Ipv4Addr) -> Self {
        Self { bits: addr.to_bits(), len: 32 }
    }

    #[inline]
    pub const fn addr(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.bits)
    }

    /// The address as an integer, most significant octet first.
    #[inline]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    #[expect(clippy::len_without_is_empty, reason = "a prefix length is not a container's length")]
    #[inline]
    pub const fn len(self) -> u8 {
        self.len
    }

    #[inline]
    pub const fn mask(self) -> u32 {
        mask(self.len)
    }

    #[inline]
    pub const fn contains(self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & mask(self.len) == self.bits
    }

    /// Whether every address of `other` is in `self`; a prefix covers itself.
    #[inline]
    pub const fn covers(self, other: Self) -> bool {
        self.len <= other.len && other.bits & mask(self.len) == self.bits
    }

    /// The last address: the directed broadcast of a subnet (RFC 922).
    #[inline]
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.bits | !mask(self.len))
    }
}

const fn mask(len: u8) -> u32 {
    if len == 0 { 0 } else { u32::MAX << (32 - len as u32) }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (addr, len) = text.split_once('/').ok_or(PrefixError::Syntax)?;
        let addr = addr.parse().map_err(|_| PrefixError::Syntax)?;
        if len.is_empty() || 3 < len.len() || !len.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PrefixError::Syntax);
        }
        Self::new(addr, len.parse().map_err(|_| PrefixError::Syntax)?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr(), self.len)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax => f.write_str("expected a prefix such as 192.0.2.0/24"),
            Self::Length(len) => write!(f, "a prefix length is 0 to 32, not {len}"),
            Self::HostBits(prefix) => {
                write!(f, "bits beyond the prefix length are set; did you mean {prefix}?")
            }
        }
    }
}

impl core::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn text_forms() {
        let nearest = Prefix::truncated(Ipv4Addr::new(10, 1, 0, 0), 16);
        for (text, expected) in [
            ("0.0.0.0/0", Ok(Prefix::DEFAULT)),
            ("10.1.0.0/16", Ok(nearest)),
            ("10.1.2.0/16", Err(PrefixError::HostBits(nearest))),
            ("192.0.2.1/32", Ok(Prefix::host(Ipv4Addr::new(192, 0, 2, 1)))),
            ("10.0.0.0/33", Err(PrefixError::Length(33))),
            ("10.0.0.0", Err(PrefixError::Syntax)),
            ("10.0.0.0/", Err(PrefixError::Syntax)),
            ("10.0.0.0/+8", Err(PrefixError::Syntax)),
            ("10.0.0/8", Err(PrefixError::Syntax)),
            ("10.0.0.0/8 ", Err(PrefixError::Syntax)),
            ("10.0.0.0/999", Err(PrefixError::Syntax)),
        ] {
            assert_eq!(text.parse::<Prefix>(), expected, "{text}");
        }
    }

    #[test]
    fn covering_and_last() {
        let p: Prefix = "192.0.2.0/30".parse().unwrap();
        assert!(p.contains(Ipv4Addr::new(192, 0, 2, 3)));
        assert!(!p.contains(Ipv4Addr::new(192, 0, 2, 4)));
        assert_eq!(p.last(), Ipv4Addr::new(192, 0, 2, 3));
        assert!(Prefix::DEFAULT.covers(p) && p.covers(p) && !p.covers(Prefix::DEFAULT));
        assert_eq!(Prefix::DEFAULT.last(), Ipv4Addr::BROADCAST);
    }

    proptest! {
        #[test]
        fn text_round_trips(bits: u32, len in 0u8..=32) {
            let p = Prefix::truncated(Ipv4Addr::from_bits(bits), len);
            prop_assert_eq!(p.to_string().parse::<Prefix>(), Ok(p));
        }

        #[test]
        fn any_text_is_answered(text in ".{0,24}") {
            let _ = text.parse::<Prefix>();
        }
    }
}
