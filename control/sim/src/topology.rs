//! Who is connected to whom, and with which addresses.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::{IfIndex, Interface, InterfaceAddress, LinkKind, Rng};

/// Routers by number, and the segments that join them. Two routers on a segment are a point-to-point link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    pub routers: usize,
    /// Members of each segment, and what it costs every one of them to send there (1 to 15).
    pub segments: Vec<(Vec<usize>, u8)>,
}

impl Topology {
    pub fn line(routers: usize) -> Self {
        Self { routers, segments: (1..routers).map(|r| (vec![r - 1, r], 1)).collect() }
    }

    pub fn ring(routers: usize) -> Self {
        Self { routers, segments: (0..routers).map(|r| (vec![r, (r + 1) % routers], 1)).collect() }
    }

    pub fn grid(width: usize, height: usize) -> Self {
        let at = |x, y| y * width + x;
        let right = (0..height).flat_map(|y| (1..width).map(move |x| (vec![at(x - 1, y), at(x, y)], 1)));
        let down = (1..height).flat_map(|y| (0..width).map(move |x| (vec![at(x, y - 1), at(x, y)], 1)));
        Self { routers: width * height, segments: right.chain(down).collect() }
    }

    /// Everyone on one broadcast segment.
    pub fn lan(routers: usize) -> Self {
        Self { routers, segments: vec![((0..routers).collect(), 1)] }
    }

    /// A random tree: every router hangs on an earlier one.
    pub fn tree(routers: usize, rng: &mut Rng) -> Self {
        let segments = (1..routers).map(|r| (vec![pick(rng, r), r], 1)).collect();
        Self { routers, segments }
    }

    /// A random tree with `extra` more links, costs of 1 to 3, and a segment that joins a handful.
    pub fn random(routers: usize, extra: usize, rng: &mut Rng) -> Self {
        let mut topology = Self::tree(routers, rng);
        for _ in 0..extra {
            let (a, b) = (pick(rng, routers), pick(rng, routers));
            if a != b {
                topology.segments.push((vec![a, b], 1));
            }
        }
        let mut lan: Vec<usize> = (0..4).map(|_| pick(rng, routers)).collect();
        lan.sort_unstable();
        lan.dedup();
        topology.segments.push((lan, 1));
        for (_, cost) in &mut topology.segments {
            *cost = 1 + u8::try_from(rng.below(3)).unwrap_or(0);
        }
        topology
    }

    /// Interfaces of router `r`: a loopback with a host address, and one for each segment it is on.
    pub fn interfaces(&self, r: usize) -> Vec<(Interface, u8)> {
        let loopback = Interface {
            index: IfIndex(1),
            name: "lo".into(),
            kind: LinkKind::Loopback,
            up: true,
            mtu: 65536,
            addresses: vec![address(loopback(r), 32)],
        };
        let on = self.segments.iter().enumerate().filter_map(|(s, (members, cost))| {
            let at = members.iter().position(|member| *member == r)?;
            let kind = if members.len() == 2 { LinkKind::PointToPoint } else { LinkKind::Broadcast };
            let addresses = vec![address(member_address(s, at), 24)];
            let interface =
                Interface { index: index(s), name: format!("eth{s}"), kind, up: true, mtu: 1500, addresses };
            Some((interface, *cost))
        });
        std::iter::once((loopback, 1)).chain(on).collect()
    }

    /// The network of segment `s`.
    pub fn network(&self, s: usize) -> Prefix {
        Prefix::truncated(member_address(s, 0), 24)
    }
}

/// The interface of every member of segment `s`; 1 is the loopback.
pub fn index(s: usize) -> IfIndex {
    IfIndex(u32::try_from(s + 2).unwrap_or(u32::MAX))
}

/// The host address of router `r`.
pub fn loopback(r: usize) -> Ipv4Addr {
    let [.., high, low] = r.to_be_bytes();
    Ipv4Addr::new(172, 16, high, low)
}

/// The address of the member at position `at` of segment `s`.
pub fn member_address(s: usize, at: usize) -> Ipv4Addr {
    let [.., high, low] = s.to_be_bytes();
    let [.., host] = (at + 1).to_be_bytes();
    Ipv4Addr::new(10, high, low, host)
}

fn address(address: Ipv4Addr, prefix_len: u8) -> InterfaceAddress {
    InterfaceAddress { address, prefix_len, peer: None }
}

fn pick(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or(0)
}
