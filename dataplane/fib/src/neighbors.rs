//! The neighbour hash table: (port, address) → adjacency. One word an entry, no lock, no entry ever moves.
//!
//! Every key has two lines of eight slots where it can stand (two-choice hashing), and an insertion takes a free slot
//! in the emptier one. Removal frees the slot. Because nothing is moved, marked or rebuilt, a reader that looks while
//! the writer works finds every key that is there the whole time; a miss costs two cache lines, always.
//! At half load two full lines for one key do not happen; where they do, the insertion is refused.
//!
//! ```text
//!  63            32 31        16 15         0
//! ┌────────────────┬────────────┬────────────┐
//! │ address        │ port       │ adjacency  │   adjacency 0: the slot is free
//! └────────────────┴────────────┴────────────┘
//! ```

use core::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_net::PortId;

use crate::id::AdjacencyId;
use crate::memory::LINE_WORDS;
use crate::word::{u16_at, u32_at};

pub(crate) type Line = [AtomicU64; LINE_WORDS];

const ID: u64 = 0xffff;

#[inline]
fn key(port: PortId, address: Ipv4Addr) -> u64 {
    u64::from(address.to_bits()) << 32 | u64::from(port.0) << 16
}

/// The two lines of a key, of `len` (a power of two) in all. They can be the same one.
#[inline]
pub(crate) fn lines(len: usize, port: PortId, address: Ipv4Addr) -> [usize; 2] {
    // The finaliser of splitmix64: every bit of the key reaches every bit of the result.
    let mut x = key(port, address);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    let mask = len.wrapping_sub(1);
    [u32_at(x, 0) as usize & mask, u32_at(x, 32) as usize & mask]
}

#[inline]
pub(crate) fn find(table: &[Line], port: PortId, address: Ipv4Addr) -> Option<AdjacencyId> {
    let key = key(port, address);
    lines(table.len(), port, address)
        .into_iter()
        .filter_map(|line| table.get(line))
        .flatten()
        .map(|slot| slot.load(Ordering::Acquire))
        .find(|&word| word & !ID == key && word & ID != 0)
        .map(|word| AdjacencyId(u16_at(word, 0)))
}

/// Adds a key that is not there. `false`: both its lines are full.
pub(crate) fn insert(table: &[Line], port: PortId, address: Ipv4Addr, id: AdjacencyId) -> bool {
    let free = |line: usize| table.get(line).into_iter().flatten().filter(|slot| is_free(slot));
    let [first, second] = lines(table.len(), port, address);
    let emptier = if free(first).count() < free(second).count() { second } else { first };
    let slot = free(emptier).next();
    if let Some(slot) = slot {
        slot.store(key(port, address) | u64::from(id.0), Ordering::Release);
    }
    slot.is_some()
}

pub(crate) fn remove(table: &[Line], port: PortId, address: Ipv4Addr, id: AdjacencyId) {
    let word = key(port, address) | u64::from(id.0);
    for line in lines(table.len(), port, address) {
        for slot in table.get(line).into_iter().flatten() {
            if slot.load(Ordering::Relaxed) == word {
                slot.store(0, Ordering::Release);
            }
        }
    }
}

fn is_free(slot: &AtomicU64) -> bool {
    slot.load(Ordering::Relaxed) & ID == 0
}
