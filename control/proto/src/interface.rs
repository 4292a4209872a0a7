//! Interfaces as routing protocols see them: a name, an index, addresses, and whether frames pass.

use std::fmt;
use std::net::Ipv4Addr;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

/// The kernel's number of an interface. It never changes while the interface lives; a name may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct IfIndex(pub u32);

/// All that is known about one interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    pub index: IfIndex,
    pub name: String,
    pub kind: LinkKind,
    /// Administratively up, with carrier.
    pub up: bool,
    /// Octets of an IP packet.
    pub mtu: u32,
    /// In the kernel's order: the first is the primary one.
    pub addresses: Vec<InterfaceAddress>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LinkKind {
    /// Multicast reaches every neighbour.
    Broadcast,
    /// One neighbour at the far end.
    PointToPoint,
    Loopback,
}

/// An address with the subnet it stands in, or with the far end of a point-to-point link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct InterfaceAddress {
    pub address: Ipv4Addr,
    /// 0 to 32; what is over 32 counts as 32.
    pub prefix_len: u8,
    /// The far end's address, where it is not in the same subnet (`ip address add A peer B`).
    pub peer: Option<Ipv4Addr>,
}

/// Whole states, never differences: telling the same twice changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InterfaceEvent {
    Upsert(Interface),
    /// Gone; unknown indexes are ignored.
    Remove(IfIndex),
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Interface {
    /// The address of ours whose subnet or far end holds `neighbor`; the longest match where several do.
    pub fn address_towards(&self, neighbor: Ipv4Addr) -> Option<&InterfaceAddress> {
        self.addresses.iter().filter(|own| own.reaches(neighbor)).max_by_key(|own| own.network().len())
    }

    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }
}

impl InterfaceAddress {
    /// The subnet, or the far end as a host where there is one.
    pub fn network(&self) -> Prefix {
        match self.peer {
            Some(peer) => Prefix::truncated(peer, self.prefix_len),
            None => Prefix::truncated(self.address, self.prefix_len),
        }
    }

    /// Whether `neighbor` is on this subnet.
    pub fn reaches(&self, neighbor: Ipv4Addr) -> bool {
        self.network().contains(neighbor)
    }

    /// The subnet's directed broadcast address; None on /31, /32 and point-to-point (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.prefix_len < 31 && self.peer.is_none()).then(|| self.network().last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(address: [u8; 4], prefix_len: u8, peer: Option<[u8; 4]>) -> InterfaceAddress {
        InterfaceAddress { address: address.into(), prefix_len, peer: peer.map(Ipv4Addr::from) }
    }

    #[test]
    fn the_subnet_that_holds_a_neighbour() {
        let wide = address([10, 0, 0, 1], 16, None);
        let narrow = address([10, 0, 5, 1], 24, None);
        let tunnel = address([172, 16, 0, 1], 32, Some([192, 0, 2, 9]));
        let interface = Interface {
            index: IfIndex(3),
            name: "eth0".into(),
            kind: LinkKind::Broadcast,
            up: true,
            mtu: 1500,
            addresses: vec![wide, narrow, tunnel],
        };
        for (neighbor, expected) in [
            ([10, 0, 5, 9], Some(&narrow)),
            ([10, 0, 6, 9], Some(&wide)),
            ([192, 0, 2, 9], Some(&tunnel)),
            ([172, 16, 0, 1], None),
            ([198, 51, 100, 1], None),
        ] {
            assert_eq!(interface.address_towards(neighbor.into()), expected, "{neighbor:?}");
        }
        assert_eq!(narrow.broadcast(), Some(Ipv4Addr::new(10, 0, 5, 255)));
        assert_eq!(tunnel.broadcast(), None);
        assert_eq!(address([10, 9, 0, 0], 31, None).broadcast(), None);
    }
}
