//! Attribute sets: what all prefixes of an announcement share, kept once however many prefixes have it.
//!
//! A set is small: the fields the decision reads, and one run of octets that holds the AS path and the other attributes
//! as they stand on the wire. The [`Interner`] numbers the sets; prefixes hold numbers.

use std::hash::{BuildHasher, Hash};
use std::net::Ipv4Addr;

use hashbrown::HashTable;
use millrace_policy::{BgpAttributes, Community, Origin};

use crate::as_path::AsPath;
use crate::wire::attribute::{Code, LOCAL_PREF_DEFAULT};

/// One set of attributes. Equal sets are equal values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Attrs {
    pub next_hop: Ipv4Addr,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub origin: Origin,
    /// Octets of the AS path at the front of `bytes`.
    path_len: u16,
    /// The path; then the other attributes in ascending order: code, flags, length of two octets, value.
    bytes: Box<[u8]>,
}

/// A set in the making.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    pub origin: Origin,
    pub next_hop: Ipv4Addr,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    /// Segments with four-octet ASes.
    pub as_path: Vec<u8>,
    /// At most one of a code.
    pub others: Vec<Other<Vec<u8>>>,
}

/// An attribute without a field of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Other<V> {
    pub code: u8,
    pub flags: u8,
    pub value: V,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            origin: Origin::Igp,
            next_hop: Ipv4Addr::UNSPECIFIED,
            med: None,
            local_pref: None,
            as_path: Vec::new(),
            others: Vec::new(),
        }
    }
}

impl Draft {
    pub fn get(&self, code: Code) -> Option<&[u8]> {
        self.others.iter().find(|other| other.code == code as u8).map(|other| &other.value[..])
    }

    /// An empty value takes the attribute away, unless it is one that has no value.
    pub fn set(&mut self, code: Code, value: Vec<u8>) {
        self.others.retain(|other| other.code != code as u8);
        if !value.is_empty() || code == Code::AtomicAggregate {
            self.others.push(Other { code: code as u8, flags: code.flags(), value });
        }
    }

    pub fn remove(&mut self, code: Code) {
        self.others.retain(|other| other.code != code as u8);
    }

    pub fn finish(mut self) -> Attrs {
        self.others.sort_by_key(|other| other.code);
        let path_len = u16::try_from(self.as_path.len()).unwrap_or(u16::MAX);
        let mut bytes = self.as_path;
        bytes.truncate(path_len.into());
        bytes.reserve_exact(self.others.iter().map(|other| 4 + other.value.len()).sum());
        for other in self.others {
            let len = u16::try_from(other.value.len()).unwrap_or(u16::MAX);
            bytes.extend([other.code, other.flags]);
            bytes.extend(len.to_be_bytes());
            bytes.extend(other.value.iter().take(len.into()));
        }
        Attrs {
            next_hop: self.next_hop,
            med: self.med,
            local_pref: self.local_pref,
            origin: self.origin,
            path_len,
            bytes: bytes.into(),
        }
    }
}

impl Attrs {
    pub fn as_path(&self) -> AsPath<'_> {
        AsPath::new(self.bytes.get(..self.path_len.into()).unwrap_or_default())
    }

    /// The attributes that have no field, in ascending order.
    pub fn others(&self) -> impl Iterator<Item = Other<&[u8]>> {
        let mut rest = self.bytes.get(self.path_len.into()..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (&[code, flags, high, low], behind) = rest.split_first_chunk()?;
            let (value, behind) = behind.split_at_checked(u16::from_be_bytes([high, low]).into())?;
            rest = behind;
            Some(Other { code, flags, value })
        })
    }

    pub fn get(&self, code: Code) -> Option<&[u8]> {
        self.others().find(|other| other.code == code as u8).map(|other| other.value)
    }

    /// A copy to be changed.
    pub fn draft(&self) -> Draft {
        Draft {
            origin: self.origin,
            next_hop: self.next_hop,
            med: self.med,
            local_pref: self.local_pref,
            as_path: self.as_path().bytes().to_vec(),
            others: self
                .others()
                .map(|Other { code, flags, value }| Other { code, flags, value: value.to_vec() })
                .collect(),
        }
    }

    pub fn preference(&self) -> u32 {
        self.local_pref.unwrap_or(LOCAL_PREF_DEFAULT)
    }

    /// RFC 4456 §8
    pub fn originator(&self) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(*self.get(Code::OriginatorId)?.first_chunk::<4>()?))
    }

    pub fn cluster_list(&self) -> impl Iterator<Item = Ipv4Addr> {
        let list = self.get(Code::ClusterList).unwrap_or_default();
        list.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets))
    }

    /// RFC 9234 §5
    pub fn only_to_customer(&self) -> Option<u32> {
        self.get(Code::OnlyToCustomer)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    pub fn has_community(&self, community: u32) -> bool {
        let list = self.get(Code::Communities).unwrap_or_default();
        list.as_chunks().0.contains(&community.to_be_bytes())
    }

    pub fn communities(&self) -> impl Iterator<Item = Community> {
        let standard = self.get(Code::Communities).unwrap_or_default().as_chunks().0.iter();
        let extended = self.get(Code::ExtendedCommunities).unwrap_or_default().as_chunks().0.iter();
        let large = self.get(Code::LargeCommunities).unwrap_or_default().as_chunks::<12>().0.iter();
        let standard = standard.map(|octets| Community::Standard(u32::from_be_bytes(*octets)));
        let extended = extended.map(|octets| Community::Extended(u64::from_be_bytes(*octets)));
        let large = large.map(|octets| {
            let word = |at: usize| {
                let octets = octets.get(at..).and_then(|rest| rest.first_chunk());
                octets.map_or(0, |octets| u32::from_be_bytes(*octets))
            };
            Community::Large(word(0), word(4), word(8))
        });
        standard.chain(extended).chain(large)
    }

    /// What policies look at.
    pub fn to_policy(&self) -> BgpAttributes {
        let mut communities: Vec<Community> = self.communities().collect();
        communities.sort_unstable();
        communities.dedup();
        BgpAttributes {
            origin: self.origin,
            as_path: self.as_path().to_policy(),
            communities: communities.into(),
        }
    }

    /// Octets on the heap, for the memory that is shown.
    fn heap(&self) -> usize {
        self.bytes.len()
    }
}

/// The number of a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttrId(u32);

impl AttrId {
    /// Stands for none.
    pub const NONE: Self = Self(u32::MAX);

    pub fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

/// All sets in use, each once, counted by those who hold its number.
#[derive(Clone, Debug, Default)]
pub struct Interner {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_value: HashTable<u32>,
    hasher: Fnv,
    heap: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    holders: u32,
    /// None while the slot is free.
    attrs: Option<Attrs>,
}

/// A hash that is the same in every run, as replays want it.
#[derive(Clone, Debug, Default)]
struct Fnv;

#[derive(Debug)]
struct FnvState(u64);

impl BuildHasher for Fnv {
    type Hasher = FnvState;

    fn build_hasher(&self) -> FnvState {
        FnvState(0xcbf2_9ce4_8422_2325)
    }
}

impl std::hash::Hasher for FnvState {
    fn finish(&self) -> u64 {
        // The upper bits choose, too.
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.0 = (self.0 ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        }
        for byte in rest {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

impl Interner {
    /// The number of a set, held once more.
    pub fn hold_value(&mut self, attrs: Attrs) -> AttrId {
        let hash = self.hasher.hash_one(&attrs);
        let slots = &self.slots;
        let is = |id: &u32| slots.get(*id as usize).and_then(|slot| slot.attrs.as_ref()) == Some(&attrs);
        if let Some(&id) = self.by_value.find(hash, is) {
            self.hold(AttrId(id));
            return AttrId(id);
        }
        self.heap += attrs.heap();
        let slot = Slot { holders: 1, attrs: Some(attrs) };
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(place) = self.slots.get_mut(id as usize) {
                    *place = slot;
                }
                id
            }
            None => {
                let id = u32::try_from(self.slots.len()).unwrap_or(u32::MAX - 1);
                self.slots.push(slot);
                id
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_value.insert_unique(hash, id, |id| {
            slots
                .get(*id as usize)
                .and_then(|slot| slot.attrs.as_ref())
                .map_or(0, |attrs| hasher.hash_one(attrs))
        });
        AttrId(id)
    }

    /// Numbers that stand for nothing are fine.
    pub fn hold(&mut self, id: AttrId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.holders += 1;
        }
    }

    /// The last one who lets go frees the set. Numbers that stand for nothing are fine.
    pub fn release(&mut self, id: AttrId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        slot.holders = slot.holders.saturating_sub(1);
        if slot.holders != 0 {
            return;
        }
        let Some(attrs) = slot.attrs.take() else { return };
        self.heap -= attrs.heap();
        let hash = self.hasher.hash_one(&attrs);
        if let Ok(entry) = self.by_value.find_entry(hash, |other| *other == id.0) {
            entry.remove();
        }
        self.free.push(id.0);
    }

    pub fn get(&self, id: AttrId) -> Option<&Attrs> {
        self.slots.get(id.0 as usize)?.attrs.as_ref()
    }

    /// Sets in use.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of memory they take, about.
    pub fn memory(&self) -> usize {
        self.heap + self.slots.capacity() * size_of::<Slot>() + self.by_value.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(med: u32) -> Attrs {
        Draft { med: Some(med), ..Draft::default() }.finish()
    }

    #[test]
    fn equal_sets_have_one_number_and_go_with_their_last_holder() {
        let mut interner = Interner::default();
        let one = interner.hold_value(attrs(1));
        let two = interner.hold_value(attrs(2));
        assert_eq!(interner.hold_value(attrs(1)), one);
        assert_ne!(one, two);
        interner.release(one);
        assert_eq!((interner.len(), interner.get(one)), (2, Some(&attrs(1))));
        interner.release(one);
        assert_eq!((interner.len(), interner.get(one)), (1, None));
        assert_eq!(interner.hold_value(attrs(3)), one);
        interner.release(AttrId::NONE);
        for med in 10..5000 {
            interner.hold_value(attrs(med));
        }
        assert_eq!(interner.hold_value(attrs(2)), two);
        assert_eq!(interner.len(), 4992);
    }

    #[test]
    fn a_set_survives_its_draft() {
        let mut draft = Draft { med: Some(7), ..Draft::default() };
        crate::as_path::push(&mut draft.as_path, crate::as_path::SegmentKind::Sequence, &[1, 2]);
        draft.set(Code::LargeCommunities, vec![0; 12]);
        draft.set(Code::Communities, vec![0, 1, 0, 2]);
        let attrs = draft.finish();
        assert_eq!(attrs.draft().finish(), attrs);
        assert_eq!(attrs.as_path().to_string(), "1 2");
        let communities: Vec<Community> = attrs.communities().collect();
        assert_eq!(communities, [Community::Standard(0x1_0002), Community::Large(0, 0, 0)]);
    }
}
