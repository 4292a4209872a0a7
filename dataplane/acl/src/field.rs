//! From a field's value to its rules: classes, and the pool of compressed bit vectors.

use crate::rule::{Fragment, Key, RuleIndex};

/// The classes of one header field. Every leaf is the position of a vector in the [`Pool`].
#[derive(Debug)]
pub(crate) enum Field {
    Src(Segments),
    Dst(Segments),
    /// By value; one entry more for "no ports".
    SrcPort(Box<[u32]>),
    DstPort(Box<[u32]>),
    /// 256 entries.
    Protocol(Box<[u32]>),
    /// By flags byte; one entry more for "not TCP".
    TcpFlags(Box<[u32]>),
    /// By [`slot_of`].
    DscpFragment(Box<[u32]>),
}

/// Entry of [`Field::SrcPort`], [`Field::DstPort`] for a packet without ports.
pub(crate) const NO_PORTS: usize = 1 << 16;
/// Entry of [`Field::TcpFlags`] for a packet without TCP flags.
pub(crate) const NO_FLAGS: usize = 1 << 8;

/// DSCP and fragment kind as one index under 192.
pub(crate) const fn slot_of(dscp: u8, fragment: Fragment) -> usize {
    (dscp & 63) as usize * 3
        + match fragment {
            Fragment::Whole => 0,
            Fragment::First => 1,
            Fragment::Later => 2,
        }
}

impl Field {
    /// Where in the pool the vector of this packet's class starts.
    #[inline]
    pub(crate) fn vector(&self, key: &Key) -> usize {
        let at = match self {
            Self::Src(segments) => segments.find(key.src),
            Self::Dst(segments) => segments.find(key.dst),
            Self::SrcPort(table) => table[key.ports.map_or(NO_PORTS, |(src, _)| src as usize)],
            Self::DstPort(table) => table[key.ports.map_or(NO_PORTS, |(_, dst)| dst as usize)],
            Self::Protocol(table) => table[key.protocol as usize],
            Self::TcpFlags(table) => table[key.tcp_flags.map_or(NO_FLAGS, usize::from)],
            Self::DscpFragment(table) => table[slot_of(key.dscp, key.fragment)],
        };
        at as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Src(segments) | Self::Dst(segments) => segments.bytes(),
            Self::SrcPort(table)
            | Self::DstPort(table)
            | Self::Protocol(table)
            | Self::TcpFlags(table)
            | Self::DscpFragment(table) => size_of_val::<[u32]>(table),
        }
    }
}

/// The address space cut at every prefix boundary: a first level by the high 16 bits, then a binary search among the
/// few cuts that share them.
#[derive(Debug)]
pub(crate) struct Segments {
    /// `first[h]`: the segment that holds the address `h << 16`; one entry more as the end.
    first: Box<[u32]>,
    /// First address of each segment, ascending, starting with 0.
    starts: Box<[u32]>,
    vectors: Box<[u32]>,
}

impl Segments {
    /// `starts` ascends from 0; `vectors` has one position for each.
    pub(crate) fn new(starts: Vec<u32>, vectors: Vec<u32>) -> Self {
        debug_assert!(starts.first() == Some(&0) && starts.len() == vectors.len());
        let mut first = Vec::with_capacity((1 << 16) + 1);
        let mut segment = 0u32;
        for high in 0..=u16::MAX {
            let address = u32::from(high) << 16;
            while starts.get(segment as usize + 1).is_some_and(|&next| next <= address) {
                segment += 1;
            }
            first.push(segment);
        }
        first.push(u32::try_from(starts.len()).map_or(u32::MAX, |n| n - 1));
        Self { first: first.into(), starts: starts.into(), vectors: vectors.into() }
    }

    #[inline]
    fn find(&self, address: u32) -> u32 {
        let high = (address >> 16) as usize;
        // The segment of the last address under `high` is at most the segment that starts the next one.
        let (low, top) = (self.first[high] as usize, self.first[high + 1] as usize);
        let within = &self.starts[low..=top];
        self.vectors[low + within.partition_point(|&start| start <= address) - 1]
    }

    fn bytes(&self) -> usize {
        4 * (self.first.len() + self.starts.len() + self.vectors.len())
    }
}

/// All bit vectors of a list, each once: `summary` words, then the words of the vector that are not zero.
#[derive(Debug)]
pub(crate) struct Pool {
    words: Vec<u64>,
    /// Words of a summary: one bit for each 64 rules.
    summary_len: usize,
}

impl Pool {
    /// For vectors of `rules` bits.
    pub(crate) fn new(rules: usize) -> Self {
        Self { words: Vec::new(), summary_len: rules.div_ceil(64).div_ceil(64) }
    }

    /// Appends a vector of 64-rule words; gives its position.
    pub(crate) fn push(&mut self, vector: &[u64]) -> usize {
        let at = self.words.len();
        self.words.resize(at + self.summary_len, 0);
        for (i, &word) in vector.iter().enumerate() {
            if word != 0 {
                self.words[at + i / 64] |= 1 << (i % 64);
                self.words.push(word);
            }
        }
        at
    }

    /// The lowest bit set in all vectors at the positions `at` (which it uses up); with no vectors, the lowest of
    /// `rules` bits.
    #[inline]
    pub(crate) fn first_common(&self, at: &mut [usize], rules: usize) -> Option<RuleIndex> {
        let Some((_, _)) = at.split_first() else { return (rules != 0).then_some(RuleIndex(0)) };
        // Where the stored words of the current summary word start, for each vector.
        let mut stored = [0usize; crate::FIELDS];
        for (stored, at) in stored.iter_mut().zip(&*at) {
            *stored = at + self.summary_len;
        }
        for s in 0..self.summary_len {
            let mut common = u64::MAX;
            for &at in &*at {
                common &= self.words[at + s];
            }
            while common != 0 {
                let bit = common.trailing_zeros();
                let below = (1u64 << bit) - 1;
                let mut word = u64::MAX;
                for (&stored, &at) in stored.iter().zip(&*at) {
                    word &= self.words[stored + (self.words[at + s] & below).count_ones() as usize];
                }
                if word != 0 {
                    let index = (s * 64 + bit as usize) * 64 + word.trailing_zeros() as usize;
                    return u32::try_from(index).ok().map(RuleIndex);
                }
                common &= common - 1;
            }
            for (stored, &at) in stored.iter_mut().zip(&*at) {
                *stored += self.words[at + s].count_ones() as usize;
            }
        }
        None
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * self.words.len()
    }
}
