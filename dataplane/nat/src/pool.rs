//! A pool at work: which address and which ports a subscriber gets.

use core::ops::RangeInclusive;

use crate::config::{self, Allocation};
use crate::ports::{AddressPorts, Kind, Slices};
use crate::rng::Rng;
use crate::table::{Block, Subscriber};

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) config: config::Pool,
    addresses: Vec<Address>,
    slices: Slices,
    worker: u16,
    /// Address the next new subscriber gets, in turn: paired subscribers spread over the pool.
    turn: usize,
    pub(crate) mappings: u64,
    pub(crate) sessions: u64,
}

#[derive(Debug)]
struct Address {
    ports: AddressPorts,
    /// With port blocks: one bit a block, held by a subscriber.
    blocks: Vec<u64>,
}

/// What a pool could not give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exhausted {
    /// The subscriber holds as many blocks as it may, and all are full.
    SubscriberBlocks,
    /// No port, or no block, is left.
    Pool,
}

impl Pool {
    pub(crate) fn new(config: config::Pool, slices: Slices, worker: u16) -> Self {
        let blocks = match config.allocation {
            Allocation::Blocks { size, .. } => (1usize << 16) / usize::from(size).max(1),
            Allocation::Random | Allocation::Deterministic { .. } => 0,
        };
        let addresses = config
            .addresses
            .iter()
            .map(|_| Address {
                ports: AddressPorts::new(config.ports.clone(), slices, worker),
                blocks: vec![0; blocks.div_ceil(64)],
            })
            .collect();
        Self { config, addresses, slices, worker, turn: 0, mappings: 0, sessions: 0 }
    }

    pub(crate) fn position(&self, addr: u32) -> Option<u16> {
        let found = self.config.addresses.iter().position(|a| a.to_bits() == addr)?;
        u16::try_from(found).ok()
    }

    pub(crate) fn address(&self, position: u16) -> u32 {
        self.config.addresses[usize::from(position)].to_bits()
    }

    /// Ports of a protocol that are neither taken nor resting.
    pub(crate) fn free(&self, kind: Kind) -> u64 {
        self.addresses.iter().map(|a| u64::from(a.ports.free(kind))).sum()
    }

    /// Ports of one protocol, taken or not.
    pub(crate) fn size(&self) -> u64 {
        self.addresses.iter().map(|a| u64::from(a.ports.size())).sum()
    }

    /// The address for a subscriber that has none yet: the next in turn that still has a port.
    pub(crate) fn next_address(&mut self, kind: Option<Kind>) -> Option<u16> {
        let count = self.addresses.len();
        let at = (0..count).map(|i| (self.turn + i) % count).find(|&at| {
            let ports = &self.addresses[at].ports;
            kind.is_none_or(|kind| 0 < ports.free(kind))
        })?;
        self.turn = (at + 1) % count;
        u16::try_from(at).ok()
    }

    /// Takes a port for a subscriber on the address it is paired with.
    pub(crate) fn take(
        &mut self,
        rng: &mut Rng,
        subscriber: &mut Subscriber,
        pool: u16,
        at: u16,
        kind: Kind,
        wanted: u16,
    ) -> Result<(u16, Option<Block>), Exhausted> {
        let address = &mut self.addresses[usize::from(at)];
        match self.config.allocation {
            Allocation::Random => {
                let port = address.ports.take(rng, kind, wanted, &(0..=u16::MAX));
                port.map(|port| (port, None)).ok_or(Exhausted::Pool)
            }
            Allocation::Deterministic { .. } => {
                let (_, range) = self.deterministic(subscriber.addr).ok_or(Exhausted::Pool)?;
                let ports = &mut self.addresses[usize::from(at)].ports;
                ports
                    .take(rng, kind, wanted, &range)
                    .map(|port| (port, None))
                    .ok_or(Exhausted::SubscriberBlocks)
            }
            Allocation::Blocks { size, max, .. } => {
                for block in subscriber.blocks.iter_mut().filter(|b| b.pool == pool && b.address == at) {
                    let within = block.first..=block.first + (size - 1);
                    if let Some(port) = address.ports.take(rng, kind, wanted, &within) {
                        block.used += 1;
                        return Ok((port, None));
                    }
                }
                if usize::from(max) <= subscriber.blocks.len() {
                    return Err(Exhausted::SubscriberBlocks);
                }
                let first = address
                    .take_block(rng, (self.slices, self.worker), &self.config.ports, size)
                    .ok_or(Exhausted::Pool)?;
                let within = first..=first + (size - 1);
                let mut block = Block { pool, address: at, first, used: 0, idle_since: 0 };
                let port = address.ports.take(rng, kind, wanted, &within);
                if port.is_some() {
                    block.used = 1;
                }
                // Ports that rest may fill a fresh block; it is the subscriber's all the same.
                subscriber.blocks.push(block);
                port.map(|port| (port, Some(block))).ok_or(Exhausted::Pool)
            }
        }
    }

    pub(crate) fn take_exactly(&mut self, at: u16, kind: Kind, port: u16) -> bool {
        self.addresses[usize::from(at)].ports.take_exactly(kind, port)
    }

    /// Takes this very block, if nobody holds it.
    pub(crate) fn take_exact_block(&mut self, at: u16, first: u16) -> bool {
        let Allocation::Blocks { size, .. } = self.config.allocation else { return false };
        let last = first + (size - 1);
        let n = usize::from(first / size);
        let word = &mut self.addresses[usize::from(at)].blocks[n / 64];
        let free = *word & 1 << (n % 64) == 0;
        let ours = self.slices.owner(first) == self.worker;
        let within = self.config.ports.contains(&first) && self.config.ports.contains(&last);
        if free && ours && within {
            *word |= 1 << (n % 64);
        }
        free && ours && within
    }

    pub(crate) fn give_back(&mut self, at: u16, kind: Kind, port: u16) {
        self.addresses[usize::from(at)].ports.give_back(kind, port);
    }

    pub(crate) fn give_back_block(&mut self, block: &Block) {
        if let Allocation::Blocks { size, .. } = self.config.allocation {
            let n = usize::from(block.first / size);
            self.addresses[usize::from(block.address)].blocks[n / 64] &= !(1 << (n % 64));
        }
    }

    /// RFC 7422: position of the outside address, and the ports, of an inside address; by arithmetic alone.
    pub(crate) fn deterministic(&self, inside: u32) -> Option<(u16, RangeInclusive<u16>)> {
        let Allocation::Deterministic { inside: prefix } = self.config.allocation else { return None };
        if inside & prefix.mask() != prefix.bits() {
            return None;
        }
        let (size, per_address) = self.deterministic_layout(prefix.len())?;
        let n = inside - prefix.bits();
        let first = u32::from(*self.config.ports.start()).next_multiple_of(size) + n % per_address * size;
        let range = u16::try_from(first).ok()?..=u16::try_from(first + size - 1).ok()?;
        Some((u16::try_from(n / per_address).ok()?, range))
    }

    /// The inverse of [`Pool::deterministic`].
    pub(crate) fn deterministic_inside(&self, outside: u32, port: u16) -> Option<u32> {
        let Allocation::Deterministic { inside: prefix } = self.config.allocation else { return None };
        let (size, per_address) = self.deterministic_layout(prefix.len())?;
        let start = u32::from(*self.config.ports.start()).next_multiple_of(size);
        let within = u32::from(port).checked_sub(start)? / size;
        if per_address <= within {
            return None;
        }
        let n = u32::from(self.position(outside)?) * per_address + within;
        let inside = prefix.bits().checked_add(n)?;
        (inside & prefix.mask() == prefix.bits()).then_some(inside)
    }

    /// Ports of a subscriber (a power of two, at least 64) and subscribers of an address.
    fn deterministic_layout(&self, prefix_len: u8) -> Option<(u32, u32)> {
        let subscribers = 1u64 << (32 - prefix_len);
        let addresses = u64::try_from(self.addresses.len()).ok()?;
        let per_address = subscribers.div_ceil(addresses);
        let (low, high) = (u32::from(*self.config.ports.start()), u32::from(*self.config.ports.end()));
        let mut size = 1u32 << 15;
        while 64 <= size {
            let whole = (high + 1).saturating_sub(low.next_multiple_of(size)) / size;
            if per_address <= u64::from(whole) {
                return Some((size, u32::try_from(per_address).ok()?));
            }
            size /= 2;
        }
        None
    }
}

impl Address {
    /// A block nobody holds, wholly within `range` and ours: a random one first, then the others in turn.
    fn take_block(
        &mut self,
        rng: &mut Rng,
        (slices, worker): (Slices, u16),
        range: &RangeInclusive<u16>,
        size: u16,
    ) -> Option<u16> {
        let first = range.start().div_ceil(size);
        let end = (u32::from(*range.end()) + 1) / u32::from(size);
        let count = end.checked_sub(u32::from(first)).filter(|&n| n != 0)?;
        let start = rng.below(count);
        for i in 0..count {
            let n = u32::from(first) + (start + i) % count;
            let port = u16::try_from(n * u32::from(size)).ok()?;
            let (word, bit) = (n as usize / 64, 1 << (n % 64));
            if slices.owner(port) == worker && self.blocks[word] & bit == 0 {
                self.blocks[word] |= bit;
                return Some(port);
            }
        }
        None
    }
}
