//! The shared memory: how many words each table takes, and the proof that the slices given have that many.

use std::sync::atomic::AtomicU64;

use crate::bulk::Way;
use crate::group::BLOCK_MIN;
use crate::id::{AdjacencyId, GroupId};
use crate::reader::Reader;

pub(crate) const TBL24_WORDS: usize = 1 << 22;
pub(crate) const TBL8_WORDS: usize = 64;
pub(crate) const ADJACENCY_WORDS: usize = 4;
/// Neighbour entries in a cache line, which is a bucket of the hash table.
pub(crate) const LINE_WORDS: usize = 8;

/// How large the tables are. tbl24 is always 32 MiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// /24 blocks that can hold routes longer than /24; 1 to 32,768, of 512 bytes each.
    pub tbl8_groups: u32,
    /// Next-hop groups, the reserved group 0 included; 2 to 32,768, of 8 bytes each.
    pub groups: u32,
    /// ECMP buckets; a multiple of 64, of 2 bytes each. Groups of one member take none.
    pub buckets: u32,
    /// Adjacencies, the reserved adjacency 0 included; 2 to 65,536, of 32 bytes each.
    pub adjacencies: u32,
    /// Slots of the neighbour hash table; a power of two from 8 on, of 8 bytes each. Twice the adjacencies is ample.
    pub neighbors: u32,
}

/// Number of 64-bit words of each table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    pub tbl24: usize,
    pub tbl8: usize,
    pub groups: usize,
    pub buckets: usize,
    pub adjacencies: usize,
    pub neighbors: usize,
}

/// Why slices are not the memory of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{table}: a geometry of {given} is not possible; expected {expected}")]
    Geometry { table: &'static str, given: u32, expected: &'static str },
    #[error("{table}: {given} words of memory where the geometry takes {expected}")]
    Length { table: &'static str, given: usize, expected: usize },
}

impl Geometry {
    /// Ample for an Internet edge: 16,383 blocks of long routes, 32,767 groups, 65,535 neighbours; 45 MiB in all.
    pub const DEFAULT: Self = Self {
        tbl8_groups: 1 << 14,
        groups: 1 << 15,
        buckets: 1 << 18,
        adjacencies: 1 << 16,
        neighbors: 1 << 17,
    };

    pub const fn words(&self) -> Words {
        Words {
            tbl24: TBL24_WORDS,
            tbl8: self.tbl8_groups as usize * TBL8_WORDS,
            groups: self.groups as usize,
            buckets: self.buckets as usize / 4,
            adjacencies: self.adjacencies as usize * ADJACENCY_WORDS,
            neighbors: self.neighbors as usize,
        }
    }

    fn check(&self) -> Result<(), LayoutError> {
        let rows = [
            ("tbl8", self.tbl8_groups, (1..=GroupId::LIMIT).contains(&self.tbl8_groups), "1 to 32768 groups"),
            ("groups", self.groups, (2..=GroupId::LIMIT).contains(&self.groups), "2 to 32768"),
            ("buckets", self.buckets, self.buckets.is_multiple_of(BLOCK_MIN), "a multiple of 64"),
            (
                "adjacencies",
                self.adjacencies,
                (2..=AdjacencyId::LIMIT).contains(&self.adjacencies),
                "2 to 65536",
            ),
            (
                "neighbors",
                self.neighbors,
                8 <= self.neighbors && self.neighbors.is_power_of_two(),
                "a power of two from 8 on",
            ),
        ];
        match rows.into_iter().find(|&(_, _, possible, _)| !possible) {
            Some((table, given, _, expected)) => Err(LayoutError::Geometry { table, given, expected }),
            None => Ok(()),
        }
    }
}

/// The caller's memory, one slice a table, before it is checked. All zero is an empty table.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'m> {
    pub tbl24: &'m [AtomicU64],
    pub tbl8: &'m [AtomicU64],
    pub groups: &'m [AtomicU64],
    pub buckets: &'m [AtomicU64],
    pub adjacencies: &'m [AtomicU64],
    pub neighbors: &'m [AtomicU64],
}

/// Slices whose lengths are those of the geometry: what lets readers index without doubt.
#[derive(Clone, Copy)]
pub struct Memory<'m> {
    pub(crate) tbl24: &'m [AtomicU64; TBL24_WORDS],
    pub(crate) tbl8: &'m [[AtomicU64; TBL8_WORDS]],
    pub(crate) groups: &'m [AtomicU64],
    pub(crate) buckets: &'m [AtomicU64],
    pub(crate) adjacencies: &'m [[AtomicU64; ADJACENCY_WORDS]],
    /// Never empty, and a power of two long.
    pub(crate) neighbors: &'m [[AtomicU64; LINE_WORDS]],
    geometry: Geometry,
    way: Way,
}

impl<'m> Memory<'m> {
    /// Slices longer than needed are cut, so that memory rounded up to pages is fine.
    pub fn new(geometry: Geometry, slices: Slices<'m>) -> Result<Self, LayoutError> {
        geometry.check()?;
        let words = geometry.words();
        let tbl24 = cut("tbl24", slices.tbl24, words.tbl24)?;
        Ok(Self {
            tbl24: tbl24.try_into().map_err(|_| LayoutError::Length {
                table: "tbl24",
                given: tbl24.len(),
                expected: TBL24_WORDS,
            })?,
            tbl8: cut("tbl8", slices.tbl8, words.tbl8)?.as_chunks().0,
            groups: cut("groups", slices.groups, words.groups)?,
            buckets: cut("buckets", slices.buckets, words.buckets)?,
            adjacencies: cut("adjacencies", slices.adjacencies, words.adjacencies)?.as_chunks().0,
            neighbors: cut("neighbors", slices.neighbors, words.neighbors)?.as_chunks().0,
            geometry,
            way: Way::best(),
        })
    }

    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub fn reader(&self) -> Reader<'m> {
        Reader::new(*self, self.way)
    }
}

impl core::fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Memory").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

fn cut<'m>(
    table: &'static str,
    slice: &'m [AtomicU64],
    expected: usize,
) -> Result<&'m [AtomicU64], LayoutError> {
    slice.get(..expected).ok_or(LayoutError::Length { table, given: slice.len(), expected })
}

/// Boxed memory for tests and benches. Pages that are not written cost nothing.
pub struct Owned {
    geometry: Geometry,
    tbl24: Table,
    tbl8: Table,
    groups: Table,
    buckets: Table,
    adjacencies: Table,
    neighbors: Table,
}

impl Owned {
    pub fn new(geometry: Geometry) -> Result<Self, LayoutError> {
        geometry.check()?;
        let words = geometry.words();
        Ok(Self {
            geometry,
            tbl24: Table::zeroed(words.tbl24),
            tbl8: Table::zeroed(words.tbl8),
            groups: Table::zeroed(words.groups),
            buckets: Table::zeroed(words.buckets),
            adjacencies: Table::zeroed(words.adjacencies),
            neighbors: Table::zeroed(words.neighbors),
        })
    }

    pub fn slices(&self) -> Slices<'_> {
        Slices {
            tbl24: self.tbl24.words(),
            tbl8: self.tbl8.words(),
            groups: self.groups.words(),
            buckets: self.buckets.words(),
            adjacencies: self.adjacencies.words(),
            neighbors: self.neighbors.words(),
        }
    }

    /// # Panics
    /// Never: the tables were made for this geometry.
    pub fn memory(&self) -> Memory<'_> {
        match Memory::new(self.geometry, self.slices()) {
            Ok(memory) => memory,
            Err(error) => unreachable!("{error}"),
        }
    }
}

impl core::fmt::Debug for Owned {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Owned").field("geometry", &self.geometry).finish_non_exhaustive()
    }
}

/// Zeroed words that begin at a cache line, as those of a memory map do.
struct Table {
    words: Box<[AtomicU64]>,
    start: usize,
}

impl Table {
    fn zeroed(len: usize) -> Self {
        let words = Box::<[AtomicU64]>::new_zeroed_slice(len + LINE_WORDS);
        // JUSTIFICATION: writing the zeros one by one would touch every page of a 32 MiB table that may stay nearly empty.
        // SAFETY: an AtomicU64 has the representation of a u64, for which all bytes zero is a valid value.
        #[expect(unsafe_code, reason = "zeroed pages from the allocator")]
        let words = unsafe { words.assume_init() };
        let start = words.as_ptr().align_offset(64).min(LINE_WORDS);
        Self { words, start }
    }

    fn words(&self) -> &[AtomicU64] {
        self.words.get(self.start..).unwrap_or_default()
    }
}
