//! Indices into the shared tables. An id is good for the burst it was read in (see [`crate::Quiescence`]).

/// A next-hop group: 15 bits. [`GroupId::NONE`] is the answer where no route covers an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct GroupId(pub(crate) u16);

impl GroupId {
    pub const NONE: Self = Self(0);
    /// Groups a table can have, [`GroupId::NONE`] included.
    pub const LIMIT: u32 = 1 << 15;

    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// An adjacency. [`AdjacencyId::NONE`] is never given out; looking it up answers `Failed`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct AdjacencyId(pub(crate) u16);

impl AdjacencyId {
    pub const NONE: Self = Self(0);
    /// Adjacencies a table can have, [`AdjacencyId::NONE`] included.
    pub const LIMIT: u32 = 1 << 16;

    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
