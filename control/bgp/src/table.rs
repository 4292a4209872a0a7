//! What is known about each prefix: the paths peers gave, packed, and who was told.
//!
//! Nearly all prefixes of a full table have one path, which is stored in the map itself. Paths are kept whether or not
//! the import policy takes them, so that a change of policy needs nothing from the peer.

use millrace_net::Prefix;
use millrace_rib::PrefixMap;

use crate::attrs::AttrId;

/// The number of a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerIx(pub u16);

impl PeerIx {
    /// Routes of this router's own.
    pub const LOCAL: Self = Self(u16::MAX);
}

/// One path in 20 octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// As the peer gave it.
    pub received: AttrId,
    /// As the import policy left it; [`AttrId::NONE`] where it is not taken.
    pub used: AttrId,
    /// Path identifier; 0 without add-path.
    pub id: u32,
    /// Seconds on the shell's clock when it became what it is.
    pub since: u32,
    pub peer: PeerIx,
    /// Of the peer's session it was heard in.
    pub epoch: u8,
    /// Whether packets follow it.
    pub selected: bool,
}

/// The value of the map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// One bit for each update group that announces the prefix.
    pub(crate) told: u32,
    body: Body,
}

#[derive(Clone, Copy, Debug)]
enum Body {
    Empty,
    One(Path),
    Several(u32),
}

const _: () = assert!(size_of::<Slot>() <= 28, "a million slots have to fit");

/// Update groups there can be: bits of [`Slot::told`].
pub(crate) const GROUPS: usize = 32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    map: PrefixMap<Slot>,
    several: Vec<Vec<Path>>,
    free: Vec<u32>,
}

impl Path {
    pub(crate) fn is(&self, peer: PeerIx, id: u32) -> bool {
        (self.peer, self.id) == (peer, id)
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The paths of a prefix, the best first where one is selected.
    pub(crate) fn paths(&self, prefix: Prefix) -> &[Path] {
        self.map.get(prefix).map_or(&[], |slot| self.of(slot))
    }

    fn of<'t>(&'t self, slot: &'t Slot) -> &'t [Path] {
        match &slot.body {
            Body::Empty => &[],
            Body::One(path) => core::slice::from_ref(path),
            Body::Several(index) => self.several.get(*index as usize).map_or(&[], |paths| paths),
        }
    }

    pub(crate) fn paths_mut(&mut self, prefix: Prefix) -> &mut [Path] {
        match self.map.get_mut(prefix) {
            Some(slot) => match &mut slot.body {
                Body::Empty => &mut [],
                Body::One(path) => core::slice::from_mut(path),
                Body::Several(index) => match self.several.get_mut(*index as usize) {
                    Some(paths) => paths,
                    None => &mut [],
                },
            },
            None => &mut [],
        }
    }

    /// Adds a path, or replaces the one of the same peer and identifier, which is returned.
    pub(crate) fn put(&mut self, prefix: Prefix, path: Path) -> Option<Path> {
        let slot = self.map.get_or_insert_with(prefix, || Slot { told: 0, body: Body::Empty });
        match &mut slot.body {
            body @ Body::Empty => {
                *body = Body::One(path);
                None
            }
            Body::One(old) if old.is(path.peer, path.id) => {
                let before = *old;
                *old = Path { selected: before.selected, ..path };
                Some(before)
            }
            body @ Body::One(_) => {
                let Body::One(old) = *body else { return None };
                let paths = vec![old, path];
                let index = match self.free.pop() {
                    Some(index) => {
                        if let Some(place) = self.several.get_mut(index as usize) {
                            *place = paths;
                        }
                        index
                    }
                    None => {
                        self.several.push(paths);
                        u32::try_from(self.several.len() - 1).unwrap_or(u32::MAX)
                    }
                };
                *body = Body::Several(index);
                None
            }
            Body::Several(index) => {
                let paths = self.several.get_mut(*index as usize)?;
                match paths.iter_mut().find(|old| old.is(path.peer, path.id)) {
                    Some(old) => {
                        let before = *old;
                        *old = Path { selected: before.selected, ..path };
                        Some(before)
                    }
                    None => {
                        paths.push(path);
                        None
                    }
                }
            }
        }
    }

    /// Takes a path out. The slot stays until [`Table::forget`].
    pub(crate) fn take(&mut self, prefix: Prefix, peer: PeerIx, id: u32) -> Option<Path> {
        let slot = self.map.get_mut(prefix)?;
        match slot.body {
            Body::Empty => None,
            Body::One(path) if path.is(peer, id) => {
                slot.body = Body::Empty;
                Some(path)
            }
            Body::One(_) => None,
            Body::Several(index) => {
                let paths = self.several.get_mut(index as usize)?;
                let at = paths.iter().position(|path| path.is(peer, id))?;
                let taken = paths.remove(at);
                if let [left] = paths[..] {
                    slot.body = Body::One(left);
                    *paths = Vec::new();
                    self.free.push(index);
                }
                Some(taken)
            }
        }
    }

    pub(crate) fn told(&self, prefix: Prefix) -> u32 {
        self.map.get(prefix).map_or(0, |slot| slot.told)
    }

    /// Sets or clears the bit of a group. A slot that holds nothing any more goes.
    pub(crate) fn set_told(&mut self, prefix: Prefix, bit: u32, told: bool) {
        let Some(slot) = self.map.get_mut(prefix) else { return };
        slot.told = if told { slot.told | bit } else { slot.told & !bit };
        if slot.told == 0 && matches!(slot.body, Body::Empty) {
            self.map.remove(prefix);
        }
    }

    /// Removes the slot if nothing is left of it. `keep`: the groups that have to be told yet.
    pub(crate) fn forget(&mut self, prefix: Prefix, keep: u32) {
        let Some(slot) = self.map.get_mut(prefix) else { return };
        slot.told &= keep;
        if slot.told == 0 && matches!(slot.body, Body::Empty) {
            self.map.remove(prefix);
        }
    }

    /// In address order, from the first prefix behind `after`.
    pub(crate) fn after(&self, after: Option<Prefix>) -> impl Iterator<Item = (Prefix, &[Path])> {
        self.map.after(after).map(|(prefix, slot)| (prefix, self.of(slot)))
    }

    /// `block` and what is in it.
    pub(crate) fn within(&self, block: Prefix) -> impl Iterator<Item = (Prefix, &[Path])> {
        self.map.within(block).map(|(prefix, slot)| (prefix, self.of(slot)))
    }

    /// Octets of memory, about.
    pub(crate) fn memory(&self) -> usize {
        let several: usize = self.several.iter().map(|paths| paths.capacity() * size_of::<Path>() + 24).sum();
        self.map.len() * (8 + size_of::<Slot>()) + several
    }
}
