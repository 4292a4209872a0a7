//! The writer's own knowledge of prefixes shorter than /24, and of which /24 blocks hold anything longer.
//!
//! A tree of four levels; a node of level *k* stands for 6*k* bits and holds the prefixes of the six lengths from
//! 6*k* on as one bit each, in heap order (bit 1 is the node's own prefix, bits 2 and 3 its halves, and so on), and one
//! bit for each of its 64 slots: whether the child there holds anything (levels 0 to 2), or whether the /24 block there
//! has routes of its own (level 3). Groups stand in order of their bits in an [`Arena`]; bit counting finds them.
//!
//! So the three questions of an update are a few masks: which prefix covers this one, which part of its span belongs
//! to longer prefixes, what comes next in order. A full Internet table takes some 8 MiB.

use std::ops::{ControlFlow, Range};

use core::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::id::GroupId;

/// Bits of the address that a level consumes.
const STRIDE: u32 = 6;
const SLOTS: usize = 1 << STRIDE;
/// Heap index of slot 0.
const SLOT: u32 = 1 << STRIDE;
/// Nodes of levels 0, 1 and 2, in this order.
const INNER: [usize; 3] = [0, 1, 1 + SLOTS];
const INNER_NODES: usize = 1 + SLOTS + SLOTS * SLOTS;
const LEAF: u32 = 3;

#[derive(Clone, Copy, Default)]
struct Node {
    /// Prefixes, in heap order.
    here: u64,
    /// Slots with something below them.
    below: u64,
    /// Where the groups of `here` stand.
    groups: u32,
}

pub(crate) struct Shadow {
    inner: Box<[Node]>,
    /// Level 3, by the index of the level-2 parent; made when first needed.
    leaves: Box<[Option<Box<[Node; SLOTS]>>]>,
    arena: Arena,
}

/// A part of a prefix's span that belongs to no longer prefix, in /24 blocks.
pub(crate) enum Area {
    /// Ends are multiples of 64.
    Blocks(Range<u32>),
    /// Of the 64 blocks from `first` on: those in `open` hold no route, those in `marked` do.
    Leaf { first: u32, open: u64, marked: u64 },
}

/// What stands in the tree, in order.
pub(crate) enum Item {
    Prefix(Prefix, GroupId),
    /// A marked /24 block.
    Block(u32),
}

/// A place in the tree: a node and a heap index in it (1 to 63), or one of its slots (64 to 127).
#[derive(Clone, Copy)]
struct Place {
    level: u32,
    index: u32,
    heap: u32,
}

impl Place {
    const ROOT: Self = Self { level: 0, index: 0, heap: 1 };

    /// Of a prefix shorter than /24.
    fn of(prefix: Prefix) -> Self {
        let len = u32::from(prefix.len());
        let level = (len / STRIDE).min(LEAF);
        let depth = len - level * STRIDE;
        let index = top(prefix.bits(), level * STRIDE);
        Self { level, index, heap: 1 << depth | top(prefix.bits(), len) & ((1 << depth) - 1) }
    }

    /// The slot of a /24 block.
    const fn of_block(block: u32) -> Self {
        Self { level: LEAF, index: block >> STRIDE, heap: SLOT | block & 63 }
    }

    /// The slot of the parent that leads to this node.
    const fn parent(self) -> Option<Self> {
        if self.level == 0 {
            return None;
        }
        Some(Self { level: self.level - 1, index: self.index >> STRIDE, heap: SLOT | self.index & 63 })
    }

    /// The node behind a slot.
    const fn child(self, slot: u32) -> Self {
        Self { level: self.level + 1, index: self.index << STRIDE | slot, heap: 1 }
    }

    fn prefix(self) -> Prefix {
        let depth = self.heap.ilog2();
        let len = self.level * STRIDE + depth;
        let bits = self.index << depth | self.heap & ((1 << depth) - 1);
        let bits = bits.checked_shl(32 - len).unwrap_or(0);
        Prefix::truncated(Ipv4Addr::from_bits(bits), len.to_le_bytes()[0])
    }
}

impl Shadow {
    pub(crate) fn new() -> Self {
        Self {
            inner: vec![Node::default(); INNER_NODES].into(),
            leaves: (0..SLOTS * SLOTS).map(|_| None).collect(),
            arena: Arena::default(),
        }
    }

    pub(crate) fn get(&self, prefix: Prefix) -> Option<GroupId> {
        let place = Place::of(prefix);
        let node = self.node(place)?;
        (node.here >> place.heap & 1 == 1).then(|| self.arena.get(node.groups, rank(node.here, place.heap)))
    }

    /// Adds or replaces a prefix shorter than /24; the group it had.
    pub(crate) fn insert(&mut self, prefix: Prefix, group: GroupId) -> Option<GroupId> {
        let place = Place::of(prefix);
        let (node, arena) = self.node_mut(place);
        let at = rank(node.here, place.heap);
        if node.here >> place.heap & 1 == 1 {
            return Some(arena.replace(node.groups, at, group));
        }
        node.groups = arena.insert(node.groups, node.here.count_ones(), at, group);
        node.here |= 1 << place.heap;
        self.mark_from(place.parent());
        None
    }

    pub(crate) fn remove(&mut self, prefix: Prefix) -> Option<GroupId> {
        let place = Place::of(prefix);
        if self.node(place)?.here >> place.heap & 1 == 0 {
            return None;
        }
        let (node, arena) = self.node_mut(place);
        let at = rank(node.here, place.heap);
        let old = arena.get(node.groups, at);
        node.groups = arena.remove(node.groups, node.here.count_ones(), at);
        node.here &= !(1 << place.heap);
        self.unmark_from(place);
        Some(old)
    }

    /// Whether the block has a route of /24 or longer.
    pub(crate) fn is_marked(&self, block: u32) -> bool {
        let place = Place::of_block(block);
        self.node(place).is_some_and(|node| node.below >> (place.heap & 63) & 1 == 1)
    }

    pub(crate) fn mark(&mut self, block: u32) {
        self.mark_from(Some(Place::of_block(block)));
    }

    pub(crate) fn unmark(&mut self, block: u32) {
        let place = Place::of_block(block);
        if self.is_marked(block) {
            self.node_mut(place).0.below &= !(1 << (place.heap & 63));
            self.unmark_from(place);
        }
    }

    /// The longest prefix shorter than /24 that covers the block.
    pub(crate) fn cover_of_block(&self, block: u32) -> Option<(Prefix, GroupId)> {
        self.cover(Place::of_block(block))
    }

    /// The longest prefix that covers this one and is shorter.
    pub(crate) fn cover_of(&self, prefix: Prefix) -> Option<(Prefix, GroupId)> {
        self.cover(Place::of(prefix))
    }

    fn cover(&self, mut place: Place) -> Option<(Prefix, GroupId)> {
        loop {
            let node = self.node(place).copied().unwrap_or_default();
            let above = node.here & ABOVE[place.heap as usize & 127];
            if above != 0 {
                let heap = above.ilog2();
                let found = Place { heap, ..place };
                return Some((found.prefix(), self.arena.get(node.groups, rank(node.here, heap))));
            }
            place = place.parent()?;
        }
    }

    /// The parts of the span of `prefix` (shorter than /24) that belong to no longer prefix.
    pub(crate) fn open(&self, prefix: Prefix, mut visit: impl FnMut(Area)) {
        let place = Place::of(prefix);
        let heap = place.heap as usize & 63;
        self.open_in(place, SPAN[heap], UNDER[heap], &mut visit);
    }

    /// `span`: the slots of the node to look at; `hiding`: which of its prefixes count as longer.
    fn open_in(&self, place: Place, span: u64, hiding: u64, visit: &mut impl FnMut(Area)) {
        let node = self.node(place).copied().unwrap_or_default();
        let mut hiding = node.here & hiding;
        let mut open = span;
        while hiding != 0 {
            let heap = hiding.trailing_zeros() as usize;
            open &= !SPAN[heap];
            hiding &= !(UNDER[heap] | 1 << heap);
        }
        let first = place.index << STRIDE;
        if place.level == LEAF {
            return visit(Area::Leaf { first, open: open & !node.below, marked: open & node.below });
        }
        // Blocks behind a slot of this level: 2^18, 2^12 or 2^6.
        let shift = STRIDE * (LEAF - place.level);
        let mut rest = open & !node.below;
        while rest != 0 {
            let start = rest.trailing_zeros();
            let len = (rest >> start).trailing_ones();
            visit(Area::Blocks((first + start) << shift..(first + start + len) << shift));
            rest &= !(ones(len) << start);
        }
        for slot in bits(open & node.below) {
            self.open_in(place.child(slot), u64::MAX, u64::MAX, visit);
        }
    }

    /// Prefixes after `after` and marked blocks that can hold such, in order of address and length.
    pub(crate) fn walk(&self, after: Option<Prefix>, mut visit: impl FnMut(Item) -> ControlFlow<()>) {
        let _ = self.walk_in(Place::ROOT, after, &mut visit);
    }

    fn walk_in(
        &self,
        place: Place,
        after: Option<Prefix>,
        visit: &mut impl FnMut(Item) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let prefix = place.prefix();
        if after.is_some_and(|after| prefix.last() < after.addr()) {
            return ControlFlow::Continue(());
        }
        let node = self.node(place).copied().unwrap_or_default();
        let heap = place.heap as usize & 127;
        if SLOTS <= heap {
            let slot = place.heap & 63;
            return match node.below >> slot & 1 {
                0 => ControlFlow::Continue(()),
                _ if place.level == LEAF => visit(Item::Block(place.index << STRIDE | slot)),
                _ => self.walk_in(place.child(slot), after, visit),
            };
        }
        if node.here & (UNDER[heap] | 1 << heap) | node.below & SPAN[heap] == 0 {
            return ControlFlow::Continue(());
        }
        if node.here >> heap & 1 == 1 && after.is_none_or(|after| after < prefix) {
            visit(Item::Prefix(prefix, self.arena.get(node.groups, rank(node.here, place.heap))))?;
        }
        self.walk_in(Place { heap: 2 * place.heap, ..place }, after, visit)?;
        self.walk_in(Place { heap: 2 * place.heap + 1, ..place }, after, visit)
    }

    fn node(&self, place: Place) -> Option<&Node> {
        let index = place.index as usize;
        match INNER.get(place.level as usize) {
            Some(base) => self.inner.get(base + index),
            None => self.leaves.get(index / SLOTS)?.as_ref().map(|nodes| &nodes[index % SLOTS]),
        }
    }

    fn node_mut(&mut self, place: Place) -> (&mut Node, &mut Arena) {
        let index = place.index as usize;
        let node = match INNER.get(place.level as usize) {
            Some(base) => &mut self.inner[base + index],
            None => {
                let nodes = &mut self.leaves[index / SLOTS];
                &mut nodes.get_or_insert_with(|| Box::new([Node::default(); SLOTS]))[index % SLOTS]
            }
        };
        (node, &mut self.arena)
    }

    /// Marks a slot and all that lead to it.
    fn mark_from(&mut self, mut slot: Option<Place>) {
        while let Some(place) = slot {
            let (node, _) = self.node_mut(place);
            let bit = 1 << (place.heap & 63);
            if node.below & bit != 0 {
                return;
            }
            node.below |= bit;
            slot = place.parent();
        }
    }

    /// Takes the marks off that lead to a node which has become empty.
    fn unmark_from(&mut self, mut place: Place) {
        while self.node(place).is_some_and(|node| node.here | node.below == 0)
            && let Some(parent) = place.parent()
        {
            self.node_mut(parent).0.below &= !(1 << (parent.heap & 63));
            place = parent;
        }
    }
}

/// Groups of all nodes, in runs of 1, 2, 4 … 64 places.
#[derive(Default)]
struct Arena {
    places: Vec<GroupId>,
    /// Free runs, by log₂ of their length.
    free: [Vec<u32>; 7],
}

impl Arena {
    fn get(&self, run: u32, at: u32) -> GroupId {
        self.places.get((run + at) as usize).copied().unwrap_or_default()
    }

    fn replace(&mut self, run: u32, at: u32, group: GroupId) -> GroupId {
        std::mem::replace(&mut self.places[(run + at) as usize], group)
    }

    /// Makes room at `at` in a run of `count`; where the run is then.
    fn insert(&mut self, run: u32, count: u32, at: u32, group: GroupId) -> u32 {
        let grows = count == 0 || count.is_power_of_two();
        let to = if grows { self.take(count + 1) } else { run };
        let (from, end) = (run as usize, (run + count) as usize);
        self.places.copy_within(from + at as usize..end, to as usize + at as usize + 1);
        if grows && count != 0 {
            self.places.copy_within(from..from + at as usize, to as usize);
            self.give_back(run, count);
        }
        self.places[(to + at) as usize] = group;
        to
    }

    /// Closes the gap at `at` in a run of `count`; where the run is then.
    fn remove(&mut self, run: u32, count: u32, at: u32) -> u32 {
        let (from, end) = ((run + at) as usize, (run + count) as usize);
        self.places.copy_within(from + 1..end, from);
        let left = count - 1;
        if left != 0 && !left.is_power_of_two() {
            return run;
        }
        let to = if left == 0 { 0 } else { self.take(left) };
        self.places.copy_within(run as usize..(run + left) as usize, to as usize);
        self.give_back(run, count);
        to
    }

    fn take(&mut self, count: u32) -> u32 {
        let class = class(count);
        if let Some(run) = self.free[class].pop() {
            return run;
        }
        let run = self.places.len();
        self.places.resize(run + (1 << class), GroupId::NONE);
        u32::try_from(run).unwrap_or(u32::MAX)
    }

    fn give_back(&mut self, run: u32, count: u32) {
        self.free[class(count)].push(run);
    }
}

fn class(count: u32) -> usize {
    count.next_power_of_two().ilog2() as usize
}

/// The first `len` bits, right-aligned.
fn top(bits: u32, len: u32) -> u32 {
    bits.checked_shr(32 - len).unwrap_or(0)
}

const fn rank(here: u64, heap: u32) -> u32 {
    (here & !(u64::MAX << heap)).count_ones()
}

const fn ones(len: u32) -> u64 {
    if len < 64 { (1 << len) - 1 } else { u64::MAX }
}

pub(crate) fn bits(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}

/// By heap index: the slots it spans.
const SPAN: [u64; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut heap = 1;
    while heap < SLOT {
        let depth = heap.ilog2();
        let width = SLOT >> depth;
        table[heap as usize] = ones(width) << (width * (heap - (1 << depth)));
        heap += 1;
    }
    table
};

/// By heap index: the heap indices below it.
const UNDER: [u64; SLOTS] = {
    let mut table = [0; SLOTS];
    let mut heap = SLOTS - 1;
    while 1 < heap {
        table[heap / 2] |= table[heap] | 1 << heap;
        heap -= 1;
    }
    table
};

/// By heap index or slot (64 to 127): the heap indices above it.
const ABOVE: [u64; 2 * SLOTS] = {
    let mut table = [0; 2 * SLOTS];
    let mut heap = 2;
    while heap < 2 * SLOTS {
        table[heap] = table[heap / 2] | 1 << (heap / 2);
        heap += 1;
    }
    table
};
