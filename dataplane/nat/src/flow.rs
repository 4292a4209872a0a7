//! What NAT sees of a packet: protocol, two endpoints, TCP flags. And the hashes it is found by.

use core::fmt;
use core::net::Ipv4Addr;

/// IP protocol numbers that have ports of their own kind.
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
}

/// An address and a TCP or UDP port, or an ICMP query identifier; port 0 for protocols without either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Endpoint {
    pub addr: u32,
    pub port: u16,
}

impl Endpoint {
    pub const fn new(addr: Ipv4Addr, port: u16) -> Self {
        Self { addr: addr.to_bits(), port }
    }

    pub const fn addr(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.addr)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.addr(), self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A packet's protocol and endpoints as they stand in it. The identifier of an ICMP query is the port of the endpoint that
/// is on our side; its peer's is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    pub protocol: u8,
    pub src: Endpoint,
    pub dst: Endpoint,
}

impl Flow {
    /// The flow of the packets that answer this one's.
    pub const fn reversed(self) -> Self {
        Self { protocol: self.protocol, src: self.dst, dst: self.src }
    }
}

/// The TCP flags NAT follows (RFC 9293 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tcp {
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub rst: bool,
}

impl Tcp {
    /// From the flags byte of the header.
    pub const fn from_flags(flags: u8) -> Self {
        Self { fin: flags & 1 != 0, syn: flags & 2 != 0, rst: flags & 4 != 0, ack: flags & 16 != 0 }
    }
}

/// Keys of the hashes; different in every process, so that nobody outside can aim at a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    seed: u64,
}

impl Hasher {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Of a session, from the side `near` names: the inside endpoint going out, the outside endpoint coming in.
    #[inline]
    pub(crate) const fn session(self, protocol: u8, near: Endpoint, remote: Endpoint) -> u64 {
        let addrs = (near.addr as u64) << 32 | remote.addr as u64;
        let ports = (protocol as u64) << 32 | (near.port as u64) << 16 | remote.port as u64;
        fold(addrs ^ self.seed, ports ^ 0x9e37_79b9_7f4a_7c15)
    }

    #[inline]
    pub(crate) const fn endpoint(self, protocol: u8, endpoint: Endpoint) -> u64 {
        let bits = (endpoint.addr as u64) << 32 | (endpoint.port as u64) << 8 | protocol as u64;
        fold(bits ^ self.seed, 0xd6e8_feb8_6659_fd93)
    }

    #[inline]
    pub(crate) const fn permission(self, mapping: u32, remote: u32) -> u64 {
        fold(((mapping as u64) << 32 | remote as u64) ^ self.seed, 0xa076_1d64_78bd_642f)
    }

    #[inline]
    pub(crate) const fn address(self, addr: u32) -> u64 {
        self.word(addr as u64)
    }

    #[inline]
    pub(crate) const fn word(self, word: u64) -> u64 {
        fold(word ^ self.seed, 0xe703_7ed1_a0b4_28db)
    }
}

/// A 64×64→128-bit product folded onto itself, twice.
const fn fold(a: u64, b: u64) -> u64 {
    let once = mum(a, b | 1);
    mum(once ^ b, 0x8ebc_6af0_9c88_c6e3)
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a 128-bit product")]
const fn mum(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
