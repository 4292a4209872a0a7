//! The outside ports of a pool: which are taken, which rest, and how the next one is chosen.
//!
//! One bitmap for each (address, protocol). A port is chosen at random (RFC 6056 §3.3.1, RFC 7857 §9) among those that
//! keep the range (RFC 4787 REQ-3a: under 1024 or not) and, for UDP, the parity (REQ-4) of the inside port; if none
//! is left that does, among the others. No port is ever given out twice at a time (REQ-3: no overloading). A port whose
//! mapping has gone rests before it is given out again (RFC 6888 REQ-8).

use core::ops::RangeInclusive;

use crate::flow::protocol;
use crate::rng::Rng;

/// Ports of one bitmap word; the smallest slice of the port space that one worker owns.
const WORD: u32 = 64;

/// Which worker owns a port: the port space is cut into slices, dealt to the workers in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slices {
    workers: u16,
    /// Slices hold 2^bits ports; at least 64.
    bits: u32,
}

impl Slices {
    /// `largest_block`: the largest port block of any pool, so that a block never spans two workers.
    pub fn new(workers: u16, largest_block: u16) -> Self {
        let bits = u32::from(largest_block.max(64)).next_power_of_two().trailing_zeros();
        Self { workers: workers.max(1), bits }
    }

    #[inline]
    pub fn owner(self, port: u16) -> u16 {
        // The remainder is under `workers`.
        u16::try_from((u32::from(port) >> self.bits) % u32::from(self.workers)).unwrap_or(0)
    }

    /// Which worker holds the state of an inside address.
    #[inline]
    pub fn owner_of_address(self, addr: u32) -> u16 {
        // Fibonacci hashing: neighbouring addresses go to different workers.
        let mixed = u64::from(addr.wrapping_mul(0x9e37_79b9));
        u16::try_from((mixed * u64::from(self.workers)) >> 32).unwrap_or(0)
    }
}

/// The protocols that have a port space of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Icmp,
}

impl Kind {
    pub(crate) const fn of(protocol: u8) -> Option<Self> {
        match protocol {
            protocol::TCP => Some(Self::Tcp),
            protocol::UDP => Some(Self::Udp),
            protocol::ICMP => Some(Self::Icmp),
            _ => None,
        }
    }

    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Icmp => protocol::ICMP,
        }
    }
}

/// Ports of one outside address, as far as one worker owns them.
#[derive(Debug)]
pub(crate) struct AddressPorts {
    /// One bit a port: taken, or resting.
    taken: [Box<[u64; 1024]>; 3],
    free: [u32; 3],
    size: u32,
    owned: Slices,
    worker: u16,
    range: RangeInclusive<u16>,
}

impl AddressPorts {
    pub(crate) fn new(range: RangeInclusive<u16>, owned: Slices, worker: u16) -> Self {
        let count = range.clone().filter(|&p| owned.owner(p) == worker).count();
        let free = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            taken: [(); 3].map(|()| Box::new([0; 1024])),
            free: [free; 3],
            size: free,
            owned,
            worker,
            range,
        }
    }

    pub(crate) fn free(&self, kind: Kind) -> u32 {
        self.free[kind as usize]
    }

    /// Ports of one protocol, free or not.
    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    /// Takes a port of `within` at random, as like `wanted` as can be had.
    pub(crate) fn take(
        &mut self,
        rng: &mut Rng,
        kind: Kind,
        wanted: u16,
        within: &RangeInclusive<u16>,
    ) -> Option<u16> {
        if self.free[kind as usize] == 0 {
            return None;
        }
        const LOW: RangeInclusive<u16> = 0..=1023;
        const HIGH: RangeInclusive<u16> = 1024..=u16::MAX;
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let (same, other) = if wanted < 1024 { (LOW, HIGH) } else { (HIGH, LOW) };
        let parity = match kind {
            Kind::Udp if wanted & 1 == 0 => EVEN,
            Kind::Udp => !EVEN,
            Kind::Tcp | Kind::Icmp => u64::MAX,
        };
        let bounds = intersection(&self.range, within);
        for (range, mask) in [(&same, parity), (&same, u64::MAX), (&other, parity), (&other, u64::MAX)] {
            let range = intersection(&bounds, range);
            if let Some(port) = self.search(rng, kind, &range, mask) {
                self.taken[kind as usize][usize::from(port / 64)] |= 1 << (port % 64);
                self.free[kind as usize] -= 1;
                return Some(port);
            }
        }
        None
    }

    /// Takes this very port, if it is free.
    pub(crate) fn take_exactly(&mut self, kind: Kind, port: u16) -> bool {
        let word = &mut self.taken[kind as usize][usize::from(port / 64)];
        let bit = 1 << (port % 64);
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        if self.range.contains(&port) && self.owned.owner(port) == self.worker {
            self.free[kind as usize] -= 1;
        }
        true
    }

    pub(crate) fn give_back(&mut self, kind: Kind, port: u16) {
        self.taken[kind as usize][usize::from(port / 64)] &= !(1 << (port % 64));
        if self.range.contains(&port) && self.owned.owner(port) == self.worker {
            self.free[kind as usize] += 1;
        }
    }

    /// A free port of ours in `range` whose bit is in `mask`: a random word first, then the others in turn.
    fn search(&self, rng: &mut Rng, kind: Kind, range: &RangeInclusive<u16>, mask: u64) -> Option<u16> {
        if range.is_empty() {
            return None;
        }
        let (low, high) = (u32::from(*range.start()), u32::from(*range.end()));
        let (first, last) = (low / WORD, high / WORD);
        let words = last - first + 1;
        let start = rng.below(words);
        for i in 0..words {
            let word = first + (start + i) % words;
            let base = u16::try_from(word * WORD).ok()?;
            if self.owned.owner(base) != self.worker {
                continue;
            }
            let mut free = !self.taken[kind as usize][word as usize] & mask;
            if word == first {
                free &= u64::MAX << (low % WORD);
            }
            if word == last {
                free &= u64::MAX >> (WORD - 1 - high % WORD);
            }
            if free != 0 {
                // A random rotation, so that the lowest free port is not always the one.
                let turn = rng.below(WORD);
                let bit = (free.rotate_right(turn).trailing_zeros() + turn) % WORD;
                return Some(base + u16::try_from(bit).ok()?);
            }
        }
        None
    }
}

fn intersection(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    (*a.start()).max(*b.start())..=(*a.end()).min(*b.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(range: RangeInclusive<u16>) -> AddressPorts {
        AddressPorts::new(range, Slices::new(1, 64), 0)
    }

    #[test]
    fn range_and_parity_are_kept_while_they_can_be() {
        let mut rng = Rng::new(1);
        let mut all = ports(0..=65535);
        for wanted in [5u16, 6, 1023, 1024, 5000, 65535] {
            for _ in 0..50 {
                let udp = all.take(&mut rng, Kind::Udp, wanted, &(0..=65535)).unwrap();
                assert_eq!(udp % 2, wanted % 2, "parity of {wanted}");
                assert_eq!(udp < 1024, wanted < 1024, "range of {wanted}");
                let tcp = all.take(&mut rng, Kind::Tcp, wanted, &(0..=65535)).unwrap();
                assert_eq!(tcp < 1024, wanted < 1024, "range of {wanted}");
            }
        }
    }

    #[test]
    fn every_port_is_given_out_once_and_then_none() {
        let mut rng = Rng::new(2);
        let mut some = ports(1000..=1100);
        let mut got: Vec<u16> =
            core::iter::from_fn(|| some.take(&mut rng, Kind::Udp, 4000, &(0..=65535))).collect();
        got.sort_unstable();
        assert_eq!(got, (1000..=1100).collect::<Vec<_>>());
        assert_eq!(some.free(Kind::Udp), 0);
        assert_eq!(some.free(Kind::Tcp), 101);
        some.give_back(Kind::Udp, 1050);
        assert_eq!(some.take(&mut rng, Kind::Udp, 4000, &(0..=65535)), Some(1050));
    }

    #[test]
    fn workers_own_disjoint_slices_that_make_up_the_range() {
        let slices = Slices::new(3, 512);
        let mut rng = Rng::new(3);
        let mut got: Vec<u16> = (0..3)
            .flat_map(|worker| {
                let mut ports = AddressPorts::new(1024..=65535, slices, worker);
                let free = ports.free(Kind::Tcp);
                let taken: Vec<u16> =
                    core::iter::from_fn(|| ports.take(&mut rng, Kind::Tcp, 40000, &(0..=65535))).collect();
                assert_eq!(taken.len(), free as usize);
                assert!(taken.iter().all(|&p| slices.owner(p) == worker));
                taken
            })
            .collect();
        got.sort_unstable();
        assert_eq!(got, (1024..=65535).collect::<Vec<_>>());
    }

    /// RFC 6056: an observer cannot tell the next port from the last ones.
    #[test]
    fn successive_ports_are_spread() {
        let mut rng = Rng::new(4);
        let mut all = ports(1024..=65535);
        let taken: Vec<u16> =
            (0..200).map(|_| all.take(&mut rng, Kind::Tcp, 40000, &(0..=65535)).unwrap()).collect();
        let near = taken.windows(2).filter(|w| w[0].abs_diff(w[1]) < 256).count();
        assert!(near < 10, "{near} of 200 successive ports are near each other");
    }

    #[test]
    fn a_narrower_range_is_obeyed() {
        let mut rng = Rng::new(5);
        let mut all = ports(1024..=65535);
        for _ in 0..64 {
            let port = all.take(&mut rng, Kind::Tcp, 99, &(2048..=2111)).unwrap();
            assert!((2048..=2111).contains(&port));
        }
        assert_eq!(all.take(&mut rng, Kind::Tcp, 99, &(2048..=2111)), None);
    }
}
