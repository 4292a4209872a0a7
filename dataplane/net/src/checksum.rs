//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and the TCP/UDP pseudo header.
//!
//! Sums are kept in the byte order of memory, 64 bits wide and unfolded: ones'-complement addition does not care
//! about byte order (RFC 1071 §2 B), so nothing is swapped until [`Sum::fold`].

/// A ones'-complement sum that has not been folded to 16 bits yet.
///
/// Room for 2³² additions of 32-bit words, far beyond any IPv4 packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    pub const ZERO: Self = Self(0);

    /// Adds bytes that start at an even offset of what is summed. An odd last byte counts as if a zero followed.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self.0;
        let mut rest = bytes;
        while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
            let word = u64::from_ne_bytes(*chunk);
            sum += (word & 0xffff_ffff) + (word >> 32);
            rest = tail;
        }
        if let Some((chunk, tail)) = rest.split_first_chunk::<4>() {
            sum += u64::from(u32::from_ne_bytes(*chunk));
            rest = tail;
        }
        if let Some((chunk, tail)) = rest.split_first_chunk::<2>() {
            sum += u64::from(u16::from_ne_bytes(*chunk));
            rest = tail;
        }
        if let [last] = rest {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(sum)
    }

    /// Adds one 16-bit word given as a number.
    #[inline]
    #[must_use]
    pub const fn word(self, word: u16) -> Self {
        Self(self.0 + word.to_be() as u64)
    }

    /// Adds two 16-bit words given as one number, such as an address.
    #[inline]
    #[must_use]
    pub const fn double_word(self, words: u32) -> Self {
        Self(self.0 + words.to_be() as u64)
    }

    /// The sum as a 16-bit number.
    #[expect(clippy::cast_possible_truncation, reason = "two folds leave 16 significant bits")]
    #[inline]
    pub const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        u16::from_be(sum as u16)
    }

    /// What a checksum field must hold for what was summed with the field as zero.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether what was summed, its checksum field included, is intact.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The checksum of `bytes`, whose checksum field is zero.
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::ZERO.bytes(bytes).checksum()
}

/// The pseudo header of TCP and UDP (RFC 9293 §3.1, RFC 768): addresses, protocol, and the length of the segment.
#[inline]
pub const fn pseudo_header(src: u32, dst: u32, protocol: u8, segment_len: u16) -> Sum {
    Sum::ZERO.double_word(src).double_word(dst).word(protocol as u16).word(segment_len)
}

/// The checksum after one 16-bit word it covers has changed: `HC' = ~(~HC + ~m + m')`, RFC 1624 §3 equation 3.
///
/// The equation of RFC 1141 turns some results into 0xffff where a full computation says 0x0000; this one does not.
#[inline]
#[must_use]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::ZERO.word(!checksum).word(!old).word(new).checksum()
}

/// [`update`] for a 32-bit field, such as an address.
#[inline]
#[must_use]
pub const fn update_double_word(checksum: u16, old: u32, new: u32) -> u16 {
    Sum::ZERO.word(!checksum).double_word(!old).double_word(new).checksum()
}

/// Whether a TCP or UDP checksum field holds only the folded sum of the pseudo header.
///
/// Linux leaves that there for hardware to complete (`CHECKSUM_PARTIAL`); drivers without hardware (veth, tap, virtio)
/// hand it on as it stands. One intact packet in 65,536 looks the same; completing its checksum changes nothing.
#[inline]
pub const fn is_partial(field: u16, pseudo_header: Sum) -> bool {
    field == pseudo_header.fold()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// RFC 1071 §4.1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn rfc1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.bytes(&bytes).fold(), 0xddf2);
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn rfc1624_example() {
        // RFC 1624 §4: the old equation says 0xffff here, the right answer is 0x0000.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// Every value of the changed word, against every kind of rest and target, equals the full computation.
    #[test]
    fn update_is_exhaustively_a_full_computation() {
        let rest = [0x0000u16, 0x0001, 0x1234, 0x7fff, 0x8000, 0xfffe, 0xffff, 0xcd7a];
        let new = [0x0000u16, 0x0001, 0x0100, 0x3285, 0x7fff, 0x8000, 0xfeff, 0xfffe, 0xffff];
        for rest in rest {
            for old in 0..=u16::MAX {
                // A header is never all zeros: it holds a version.
                let base = Sum::ZERO.word(0x4500).word(rest);
                let before = base.word(old).checksum();
                for new in new {
                    assert_eq!(
                        update(before, old, new),
                        base.word(new).checksum(),
                        "{rest:#x} {old:#x} {new:#x}"
                    );
                }
                let aged = old.wrapping_sub(0x0100);
                assert_eq!(update(before, old, aged), base.word(aged).checksum(), "{rest:#x} {old:#x} ttl");
            }
        }
    }

    /// A received 0xffff (minus zero) verifies, and updating it gives the canonical value.
    #[test]
    fn minus_zero_on_reception() {
        for old in 0x0100..=u16::MAX {
            let rest = !old; // old + rest = 0xffff, so the canonical checksum is 0
            let sum = Sum::ZERO.word(rest).word(old);
            assert_eq!(sum.checksum(), 0);
            assert!(sum.word(0xffff).is_valid());
            let aged = old - 0x0100;
            let after = update(0xffff, old, aged);
            assert!(Sum::ZERO.word(rest).word(aged).word(after).is_valid(), "{old:#x}");
        }
    }

    #[test]
    fn partial_is_the_folded_pseudo_header_only() {
        let pseudo = pseudo_header(0x0a00_0001, 0x0a00_0002, 6, 40);
        let field = naive(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 40]);
        assert!(is_partial(field, pseudo));
        assert!(!is_partial(!field, pseudo));
        assert!(!is_partial(field ^ 1, pseudo));
    }

    proptest! {
        #[test]
        fn sums_equal_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..2100), cut in 0usize..2100) {
            let sum = Sum::ZERO.bytes(&bytes);
            prop_assert_eq!(sum.fold(), naive(&bytes));
            let cut = (cut.min(bytes.len())) & !1;
            let (head, tail) = bytes.split_at(cut);
            prop_assert_eq!(Sum::ZERO.bytes(head).bytes(tail).fold(), sum.fold());
        }

        #[test]
        fn numbers_and_bytes_sum_alike(words: Vec<u16>, address: u32) {
            let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).chain(address.to_be_bytes()).collect();
            let by_word = words.iter().fold(Sum::ZERO, |sum, &w| sum.word(w)).double_word(address);
            prop_assert_eq!(by_word.fold(), Sum::ZERO.bytes(&bytes).fold());
        }

        #[test]
        fn double_word_update_equals_two(check: u16, old: u32, new: u32) {
            let [o0, o1, o2, o3] = old.to_be_bytes();
            let [n0, n1, n2, n3] = new.to_be_bytes();
            let high = update(check, u16::from_be_bytes([o0, o1]), u16::from_be_bytes([n0, n1]));
            let two = update(high, u16::from_be_bytes([o2, o3]), u16::from_be_bytes([n2, n3]));
            let one = update_double_word(check, old, new);
            // Equal as ones'-complement numbers: 0x0000 and 0xffff are the same value.
            prop_assert!(one == two || (one.is_multiple_of(0xffff) && two.is_multiple_of(0xffff)));
        }
    }
}
