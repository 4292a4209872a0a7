//! What the XDP program and the dataplane share: map names, keys, values, and the one list of outcomes.
//!
//! Addresses are byte arrays in network order, so that both sides compare the bytes of the packet.
#![no_std]

#[cfg(test)]
extern crate std;

/// Names of the program and its maps in the object file.
pub mod name {
    pub const PROGRAM: &str = "millrace";
    /// `HashMap<u32, u64>`: ifindex to [`crate::Interface::to_bits`].
    pub const INTERFACES: &str = "INTERFACES";
    /// `HashMap<LocalKey, u8>`: addresses whose packets are the kernel's, see [`crate::LocalKey`].
    pub const LOCALS: &str = "LOCALS";
    /// `Array<u64>` with `BPF_F_MMAPABLE`, indexed by [`crate::port_word`]: ports of shared addresses that NAT holds.
    pub const NAT_PORTS: &str = "NAT_PORTS";
    /// `LruHashMap<FragmentKey, u8>`: datagrams to a shared address whose first fragment was NAT's.
    pub const FRAGMENTS: &str = "FRAGMENTS";
    /// `XskMap`, indexed by [`crate::Interface::xsk_base`] + receive queue.
    pub const XSKS: &str = "XSKS";
    /// `PerCpuArray<u64>`, indexed by [`crate::outcome_slot`].
    pub const OUTCOMES: &str = "OUTCOMES";
    /// `Array<u64>` with `BPF_F_MMAPABLE`, one for each slice of the FIB; sized when the object is loaded.
    pub const FIB: [&str; 6] =
        ["FIB_TBL24", "FIB_TBL8", "FIB_GROUPS", "FIB_BUCKETS", "FIB_ADJACENCIES", "FIB_NEIGHBORS"];
}

/// Interfaces a dataplane can have: one for each `millrace_net::PortId`.
pub const MAX_INTERFACES: u32 = 256;
/// Receive queues an interface can have.
pub const MAX_QUEUES: u32 = 64;
/// Local and broadcast addresses of the whole host.
pub const MAX_LOCALS: u32 = 16384;

/// Row of OUTCOMES for frames of interfaces that have no row in INTERFACES.
pub const UNKNOWN_PORT: u16 = 256;
const _: () = assert!(UNKNOWN_PORT as u32 == MAX_INTERFACES);
/// Entries of OUTCOMES: a row for each interface, and one for unknown ones.
pub const OUTCOME_SLOTS: u32 = (MAX_INTERFACES + 1) * XdpOutcome::COUNT;

/// Index in OUTCOMES of the counter of `outcome` in the row of `port`.
#[inline(always)]
pub const fn outcome_slot(port: u16, outcome: XdpOutcome) -> u32 {
    port as u32 * XdpOutcome::COUNT + outcome as u32
}

/// An IPv4 destination that is the kernel's: an address of any interface of the host, or the directed broadcast
/// address of a connected subnet. Octets in network order.
pub type LocalKey = [u8; 4];

/// A value of the LOCALS map: the host's alone.
pub const LOCAL: u8 = 0;
/// Addresses that NAT shares with the host; their values in LOCALS are 1 to this, one more than their slot in NAT_PORTS.
pub const MAX_SHARED: u8 = 16;

/// Which port space of a shared address: each protocol with ports, ICMP query identifiers, and for all others one bit a
/// protocol number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortSpace(u32);

impl PortSpace {
    const COUNT: u32 = 4;

    /// The space of a protocol, and the port in it.
    #[inline(always)]
    pub const fn of(protocol: u8, port: u16) -> (Self, u16) {
        match protocol {
            6 => (Self(0), port),
            17 => (Self(1), port),
            1 => (Self(2), port),
            other => (Self(3), other as u16),
        }
    }
}

/// Words of NAT_PORTS for one port space.
const SPACE_WORDS: u32 = 65536 / 64;
/// Entries of NAT_PORTS.
pub const NAT_PORT_WORDS: u32 = MAX_SHARED as u32 * PortSpace::COUNT * SPACE_WORDS;

/// Words of NAT_PORTS that belong to one shared address.
pub const fn slot_words(slot: u8) -> core::ops::Range<usize> {
    let len = PortSpace::COUNT * SPACE_WORDS;
    (slot as u32 * len) as usize..((slot as u32 + 1) * len) as usize
}

/// Index in NAT_PORTS and bit in the word of a port of a shared address.
#[inline(always)]
pub const fn port_word(slot: u8, protocol: u8, port: u16) -> (u32, u64) {
    let (space, port) = PortSpace::of(protocol, port);
    let word = (slot as u32 * PortSpace::COUNT + space.0) * SPACE_WORDS + port as u32 / 64;
    (word, 1 << (port % 64))
}

/// Fragmented datagrams to shared addresses that are remembered.
pub const MAX_FRAGMENTS: u32 = 8192;

/// Names the fragments of one datagram (RFC 791 §3.2): source, destination, identification, protocol and a zero.
pub type FragmentKey = [u8; 12];

/// How frames of one interface are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Index in XSKS of queue 0.
    pub xsk_base: u32,
    /// This interface's row in OUTCOMES.
    pub port: u16,
    /// A frame for a queue without a live socket goes to the kernel; else it is dropped.
    pub fail_open: bool,
}

impl Interface {
    /// The value of the INTERFACES map: `xsk_base` in bits 0-31, `port` in 32-47, `fail_open` in 48.
    pub const fn to_bits(self) -> u64 {
        self.xsk_base as u64 | (self.port as u64) << 32 | (self.fail_open as u64) << 48
    }

    /// What [`Self::to_bits`] made.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "each cast takes the bits of one field")]
    pub const fn from_bits(bits: u64) -> Self {
        Self { xsk_base: bits as u32, port: (bits >> 32) as u16, fail_open: bits >> 48 & 1 == 1 }
    }
}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What the XDP program decided about a frame. One variant = one counter = one row of `show counters`.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum XdpOutcome { $($(#[$doc])* $variant,)* }

        impl XdpOutcome {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            #[expect(clippy::cast_possible_truncation, reason = "a handful of variants")]
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// The name users see.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

outcomes! {
    /// IPv4 in transit, given to the worker of its queue.
    Redirected = "redirected",
    /// Not IPv4 (ARP, IPv6, LLDP, …): the kernel's.
    NotIpv4 = "not-ipv4",
    /// IPv4 multicast or limited broadcast, or a group hardware address: the kernel's.
    Multicast = "multicast",
    /// With a VLAN tag: the kernel's, whose VLAN interface it is for.
    Tagged = "tagged",
    /// For one of the host's own addresses: the kernel's.
    Local = "local",
    /// For an address that NAT shares with the host, and NAT holds the port: given to the worker of its queue.
    Shared = "shared",
    /// The frame ends before its Ethernet or IPv4 header does: dropped.
    Truncated = "truncated",
    /// In transit, but no live socket on its queue; the interface fails open, so the kernel forwards it.
    NoWorkerPassed = "no-worker-passed",
    /// In transit, but no live socket on its queue; the interface fails closed.
    NoWorkerDropped = "no-worker-dropped",
    /// The program runs on an interface it has no row for: the kernel's.
    UnknownInterface = "unknown-interface",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_survives_its_bits() {
        for xsk_base in [0, 1, MAX_INTERFACES * MAX_QUEUES - 1, u32::MAX] {
            for port in [0, 1, 255, u16::MAX] {
                for fail_open in [false, true] {
                    let interface = Interface { xsk_base, port, fail_open };
                    assert_eq!(Interface::from_bits(interface.to_bits()), interface);
                }
            }
        }
    }

    #[test]
    fn each_port_of_each_shared_address_has_a_bit_of_its_own() {
        let mut taken = std::vec![0u64; NAT_PORT_WORDS as usize];
        for slot in 0..MAX_SHARED {
            for protocol in [1, 6, 17, 47, 50] {
                let ports = if [1, 6, 17].contains(&protocol) { 0..=u16::MAX } else { 7..=7 };
                for port in ports {
                    let (word, bit) = port_word(slot, protocol, port);
                    assert!(slot_words(slot).contains(&(word as usize)));
                    assert_eq!(taken[word as usize] & bit, 0, "{slot} {protocol} {port}");
                    taken[word as usize] |= bit;
                }
            }
        }
    }

    #[test]
    fn each_outcome_of_each_port_has_a_slot_of_its_own() {
        let mut taken = [false; OUTCOME_SLOTS as usize];
        for port in 0..=UNKNOWN_PORT {
            for outcome in XdpOutcome::ALL {
                let slot = outcome_slot(port, *outcome) as usize;
                assert!(!std::mem::replace(&mut taken[slot], true), "{port} {}", outcome.name());
            }
        }
        assert!(taken.iter().all(|taken| *taken));
    }
}
