//! Looking up many addresses at once, so that the memory serves them side by side.

use crate::id::GroupId;
use crate::reader::Reader;

/// How [`Reader::lookup_bulk`] goes about it. All ways give equal answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bulk {
    /// Prefetch a block of addresses, then look each up. Runs everywhere.
    Prefetch,
}

/// Addresses whose lines are asked for before the first of them is read.
const BLOCK: usize = 64;

impl Bulk {
    pub const ALL: &'static [Self] = &[Self::Prefetch];

    /// The fastest way this CPU has.
    pub fn best() -> Self {
        Self::Prefetch
    }

    pub fn available(self) -> bool {
        match self {
            Self::Prefetch => true,
        }
    }

    #[inline]
    pub(crate) fn lookup(self, reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
        match self {
            Self::Prefetch => prefetched(reader, addresses, groups),
        }
    }
}

fn prefetched(reader: &Reader<'_>, addresses: &[u32], groups: &mut [GroupId]) {
    for (addresses, groups) in addresses.chunks(BLOCK).zip(groups.chunks_mut(BLOCK)) {
        for &address in addresses {
            reader.prefetch(address);
        }
        for (&address, group) in addresses.iter().zip(groups) {
            *group = reader.lookup(address);
        }
    }
}
