//! The interfaces as the engine sees them: an immutable table, replaced whole when anything changes.

use core::net::Ipv4Addr;
use std::sync::Arc;

use millrace_acl::Policer;
use millrace_net::{Mac, PortId, Prefix};

use crate::filter::Filter;
use crate::stage::mss_clamp::MssClamp;

/// One interface in service.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Port {
    /// Frames to other hardware addresses are dropped.
    pub mac: Mac,
    /// Largest IPv4 packet, in bytes.
    pub mtu: u16,
    /// Whether packets may be sent to it: administratively up and with carrier.
    pub up: bool,
    /// Its addresses with their prefix lengths, the primary one first.
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Whether its driver hands over TCP and UDP packets whose checksum is only the pseudo header's sum (veth, tap,
    /// virtio).
    pub partial_checksums: bool,
    /// Whether the sources of what arrives are checked against the routes.
    pub urpf: Urpf,
    /// Whether broadcasts to its subnets are forwarded onto its link (RFC 2644: off by default).
    pub directed_broadcast: bool,
    /// Whether hosts on its link are told of better routers there (RFC 1812 §5.2.7.2).
    pub redirects: bool,
    pub nat: NatSide,
    pub mss_clamp: MssClamp,
    /// What packets that arrive must pass.
    pub guard_in: Guard,
    /// What packets that leave must pass, but for the router's own.
    pub guard_out: Guard,
}

/// On which side of NAT a port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NatSide {
    /// Neither: what passes between it and any other port is only routed.
    #[default]
    Neither,
    /// What comes from it and leaves by an outside port is translated, or does not leave.
    Inside,
    /// What comes from it for an outside address of NAT is translated back, or dropped.
    Outside,
}

/// A packet filter and a policer, of one direction of a port. Equal are those that share both.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    pub filter: Option<Arc<Filter>>,
    pub policer: Option<Arc<Policer>>,
}

impl Guard {
    pub const NONE: Self = Self { filter: None, policer: None };

    /// Whether every packet passes.
    #[inline]
    pub const fn is_open(&self) -> bool {
        self.filter.is_none() && self.policer.is_none()
    }
}

impl PartialEq for Guard {
    fn eq(&self, other: &Self) -> bool {
        fn same<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
            a.map(Arc::as_ptr) == b.map(Arc::as_ptr)
        }
        same(self.filter.as_ref(), other.filter.as_ref())
            && same(self.policer.as_ref(), other.policer.as_ref())
    }
}

impl Eq for Guard {}

/// Unicast reverse path forwarding (RFC 3704, RFC 1812 §5.3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Urpf {
    #[default]
    Off,
    /// There is a route to the source, by whatever interface; the default route counts (RFC 3704 §2.4).
    Loose,
    /// A best route to the source leaves by the interface the packet came in by; any of several equal ones (§2.2).
    Strict,
}

impl Port {
    /// A port that is up, without addresses, all switches at their defaults.
    pub const fn new(mac: Mac, mtu: u16) -> Self {
        Self {
            mac,
            mtu,
            up: true,
            addresses: Vec::new(),
            partial_checksums: false,
            urpf: Urpf::Off,
            directed_broadcast: false,
            redirects: false,
            nat: NatSide::Neither,
            mss_clamp: MssClamp::Off,
            guard_in: Guard::NONE,
            guard_out: Guard::NONE,
        }
    }

    /// Whether `addr` is the broadcast address of one of its subnets: all ones, or the all zeros of old (RFC 1812
    /// §4.2.3.1). Links of two addresses or one have none (RFC 3021).
    pub fn is_subnet_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.addresses.iter().any(|&(own, len)| {
            let subnet = Prefix::truncated(own, len);
            len < 31 && (addr == subnet.last() || addr == subnet.addr())
        })
    }

    /// Whether `addr` is the all-ones broadcast address of one of its subnets, the form that may be forwarded.
    pub fn is_directed_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.addresses.iter().any(|&(own, len)| len < 31 && addr == Prefix::truncated(own, len).last())
    }

    /// Whether one of its subnets has both addresses.
    pub fn shares_subnet(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        let has_both = |subnet: Prefix| subnet.contains(one) && subnet.contains(other);
        self.addresses.iter().any(|&(own, len)| has_both(Prefix::truncated(own, len)))
    }

    /// The address to speak to `peer` from: the one in the same subnet, else the primary one.
    pub fn address_towards(&self, peer: Ipv4Addr) -> Option<Ipv4Addr> {
        let same_subnet = |&&(own, len): &&(Ipv4Addr, u8)| Prefix::truncated(own, len).contains(peer);
        self.addresses.iter().find(same_subnet).or(self.addresses.first()).map(|&(own, _)| own)
    }
}

/// All ports, indexed by [`PortId`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ports {
    slots: Vec<Option<Port>>,
    /// Whether any port is on a side of NAT.
    has_nat: bool,
    /// Whether any port clamps segment sizes.
    has_mss_clamp: bool,
}

impl Ports {
    pub const fn new() -> Self {
        Self { slots: Vec::new(), has_nat: false, has_mss_clamp: false }
    }

    /// Puts `port` at `id`, in place of what was there. Numbers from [`PortId::MAX`] on are refused.
    #[must_use]
    pub fn insert(&mut self, id: PortId, port: Port) -> bool {
        if PortId::MAX <= id.index() {
            return false;
        }
        if self.slots.len() <= id.index() {
            self.slots.resize(id.index() + 1, None);
        }
        self.slots[id.index()] = Some(port);
        self.has_mss_clamp = self.slots.iter().flatten().any(|port| port.mss_clamp != MssClamp::Off);
        self.has_nat = self.slots.iter().flatten().any(|port| port.nat != NatSide::Neither);
        true
    }

    /// The same without address translation.
    pub fn without_nat(&self) -> Self {
        let mut plain = self.clone();
        plain.slots.iter_mut().flatten().for_each(|port| port.nat = NatSide::Neither);
        plain.has_nat = false;
        plain
    }

    #[inline]
    pub fn get(&self, id: PortId) -> Option<&Port> {
        self.slots.get(id.index())?.as_ref()
    }

    /// Whether `addr` is the broadcast address of a subnet on any port.
    pub fn is_subnet_broadcast(&self, addr: Ipv4Addr) -> bool {
        self.slots.iter().flatten().any(|port| port.is_subnet_broadcast(addr))
    }

    /// What the router is called by where nobody has given it a router-id.
    pub fn highest_address(&self) -> Option<Ipv4Addr> {
        self.slots.iter().flatten().flat_map(|port| &port.addresses).map(|&(own, _)| own).max()
    }

    #[inline]
    pub(crate) const fn has_mss_clamp(&self) -> bool {
        self.has_mss_clamp
    }

    #[inline]
    pub(crate) const fn has_nat(&self) -> bool {
        self.has_nat
    }

    /// The side of NAT that a port is on.
    #[inline]
    pub fn nat_side(&self, id: PortId) -> NatSide {
        self.get(id).map_or(NatSide::Neither, |port| port.nat)
    }

    /// Whether `addr` is an address of any port.
    pub fn is_own(&self, addr: Ipv4Addr) -> bool {
        self.slots.iter().flatten().any(|port| port.addresses.iter().any(|&(own, _)| own == addr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn port(addresses: &[(&str, u8)]) -> Port {
        let mut port = Port::new(Mac::ZERO, 1500);
        port.addresses = addresses.iter().map(|&(a, len)| (addr(a), len)).collect();
        port
    }

    #[test]
    fn subnet_broadcasts() {
        let port = port(&[("192.0.2.1", 24), ("198.51.100.0", 31), ("203.0.113.9", 32)]);
        for (text, expected) in [
            ("192.0.2.255", true),
            ("192.0.2.0", true),
            ("192.0.2.1", false),
            ("198.51.100.1", false),
            ("198.51.100.0", false),
            ("203.0.113.9", false),
        ] {
            assert_eq!(port.is_subnet_broadcast(addr(text)), expected, "{text}");
            assert_eq!(port.is_directed_broadcast(addr(text)), expected && text.ends_with("255"), "{text}");
        }
    }

    #[test]
    fn source_is_of_the_peers_subnet_or_primary() {
        let two = port(&[("10.0.0.1", 24), ("10.0.1.1", 24)]);
        for (peer, expected) in [("10.0.0.9", "10.0.0.1"), ("10.0.1.9", "10.0.1.1"), ("8.8.8.8", "10.0.0.1")]
        {
            assert_eq!(two.address_towards(addr(peer)), Some(addr(expected)), "{peer}");
        }
        assert_eq!(port(&[]).address_towards(addr("8.8.8.8")), None);
    }

    #[test]
    fn table_is_sparse_and_bounded() {
        let mut ports = Ports::new();
        assert!(ports.insert(PortId(3), port(&[])));
        assert!(!ports.insert(PortId(256), port(&[])));
        assert!(ports.get(PortId(3)).is_some());
        assert_eq!(ports.highest_address(), None);
        assert!(ports.insert(PortId(1), port(&[("192.0.2.1", 24), ("10.0.0.1", 8)])));
        assert_eq!(ports.highest_address(), Some(addr("192.0.2.1")));
        assert!(ports.is_own(addr("10.0.0.1")) && !ports.is_own(addr("10.0.0.2")));
        for absent in [0, 2, 4, 256, u16::MAX] {
            assert!(ports.get(PortId(absent)).is_none());
        }
    }
}
