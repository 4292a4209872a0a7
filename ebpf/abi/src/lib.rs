//! What the XDP program and the dataplane share: map names, keys, values, and the one list of outcomes.
//!
//! Addresses are byte arrays in network order, so that both sides compare the bytes of the packet.
#![no_std]

/// Names of the program and its maps in the object file.
pub mod name {
    pub const PROGRAM: &str = "millrace";
    /// `HashMap<u32 ifindex, Interface>`
    pub const INTERFACES: &str = "INTERFACES";
    /// `HashMap<LocalKey, u8>`: addresses whose packets are the kernel's, see [`crate::LocalKey`].
    pub const LOCALS: &str = "LOCALS";
    /// `XskMap`, indexed by [`crate::Interface::xsk_base`] + receive queue.
    pub const XSKS: &str = "XSKS";
    /// `PerCpuArray<u64>`, indexed by [`crate::XdpOutcome`] per interface slot.
    pub const OUTCOMES: &str = "OUTCOMES";
}

/// Interfaces a dataplane can have; equals `millrace_net::PortId::MAX`.
pub const MAX_INTERFACES: u32 = 256;
/// Receive queues an interface can have.
pub const MAX_QUEUES: u32 = 64;
/// Local and broadcast addresses of the whole host.
pub const MAX_LOCALS: u32 = 16384;

/// An IPv4 destination that is the kernel's: an address of any interface of the host, or the directed broadcast
/// address of a connected subnet. Octets in network order.
pub type LocalKey = [u8; 4];

/// How frames of one interface are treated.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interface {
    /// Index in XSKS of queue 0.
    pub xsk_base: u32,
    /// Index of this interface's row in OUTCOMES: the slot of outcome `o` is `port * XdpOutcome::COUNT + o`.
    pub port: u16,
    /// 1: a frame for a queue without a live socket goes to the kernel; 0: it is dropped.
    pub fail_open: u8,
    /// Keeps the size a multiple of four without padding bytes.
    pub reserved: u8,
}

#[cfg(feature = "user")]
// JUSTIFICATION: aya copies map values as bytes; the trait is its promise that this is sound.
// SAFETY: Interface is repr(C), has no padding (4 + 2 + 1 + 1 bytes) and no invalid bit patterns.
#[expect(unsafe_code, reason = "Pod is how aya is told that a type is plain bytes")]
unsafe impl aya::Pod for Interface {}

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What the XDP program decided about a frame. One variant = one counter = one row of `show counters`.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum XdpOutcome { $($(#[$doc])* $variant,)* }

        impl XdpOutcome {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
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
    /// For one of the host's own addresses: the kernel's.
    Local = "local",
    /// The frame ends before its Ethernet or IPv4 header does: dropped.
    Truncated = "truncated",
    /// In transit, but no live socket on its queue; the interface fails open, so the kernel forwards it.
    NoWorkerPassed = "no-worker-passed",
    /// In transit, but no live socket on its queue; the interface fails closed.
    NoWorkerDropped = "no-worker-dropped",
    /// The program runs on an interface it has no row for: the kernel's.
    UnknownInterface = "unknown-interface",
}
