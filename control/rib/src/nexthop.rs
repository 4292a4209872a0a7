//! Next hops: what protocols give, what they come to, and the arithmetic between the two.

use core::net::Ipv4Addr;

/// The kernel's number of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfIndex(pub u32);

/// Where a route leads, as its protocol gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// At least one. The order says nothing; [`Target::via`] sorts.
    Nexthops(Vec<Nexthop>),
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Nexthop {
    pub via: Via,
    /// Share of the flows, relative to the other next hops; 0 counts as 1.
    pub weight: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Via {
    /// Wherever the table reaches this address: directly, or through another route (recursive).
    Gateway(Ipv4Addr),
    /// A neighbour on a known link: usable while the interface is up.
    OnLink { interface: IfIndex, gateway: Ipv4Addr },
    /// The same, and not while it is known that the neighbour does not answer ([`crate::Rib::set_silent`]).
    Watched { interface: IfIndex, gateway: Ipv4Addr },
    /// Destinations are themselves neighbours on this interface.
    Interface(IfIndex),
}

/// What a next-hop group comes to. The dataplane's kinds, in this crate's words.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Never empty, sorted by interface and gateway, no way out twice.
    Forward(Vec<Path>),
    Glean(IfIndex),
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A directly connected next hop.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Path {
    pub interface: IfIndex,
    pub gateway: Ipv4Addr,
    /// Relative to the other paths: 1 to [`MAX_WEIGHT`], without a common divisor.
    pub weight: u16,
}

/// Largest weight of a path.
pub const MAX_WEIGHT: u16 = 256;

/// What a gateway comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    Paths(Vec<Path>),
    /// It lies in a blackhole or the like, and so do the routes through it.
    Special(Special),
    Nothing(Unresolved),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Special {
    Blackhole,
    Unreachable,
    Prohibit,
}

/// Why a gateway cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// No usable route leads there.
    NoRoute,
    /// Only the default route leads there, and that is not taken.
    OnlyDefault,
    /// It is an address of this router.
    OwnAddress,
    /// The routes that lead there lead there through itself.
    Loop,
    /// Too many other next hops stand between.
    TooDeep,
}

impl core::fmt::Display for Unresolved {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "no usable route leads to it",
            Self::OnlyDefault => "only the default route leads to it",
            Self::OwnAddress => "it is an address of this router",
            Self::Loop => "it is reached through itself only",
            Self::TooDeep => "too many other next hops stand between",
        })
    }
}

impl Target {
    /// Sorted and without duplicates, so that equal sets are equal values.
    pub fn via(mut nexthops: Vec<Nexthop>) -> Self {
        normalise(&mut nexthops);
        Self::Nexthops(nexthops)
    }

    pub fn gateway(gateway: Ipv4Addr) -> Self {
        Self::Nexthops(vec![Nexthop { via: Via::Gateway(gateway), weight: 1 }])
    }

    pub fn interface(interface: IfIndex) -> Self {
        Self::Nexthops(vec![Nexthop { via: Via::Interface(interface), weight: 1 }])
    }

    pub fn nexthops(&self) -> &[Nexthop] {
        match self {
            Self::Nexthops(nexthops) => nexthops,
            Self::Local | Self::Blackhole | Self::Unreachable | Self::Prohibit => &[],
        }
    }

    /// Whether equal candidates may be one ECMP group: every next hop is a gateway.
    pub(crate) fn merges(&self) -> bool {
        let nexthops = self.nexthops();
        !nexthops.is_empty() && nexthops.iter().all(|nexthop| !matches!(nexthop.via, Via::Interface(_)))
    }
}

/// Sorts, and gives each way out its largest weight once.
pub(crate) fn normalise(nexthops: &mut Vec<Nexthop>) {
    for nexthop in nexthops.iter_mut() {
        nexthop.weight = nexthop.weight.max(1);
    }
    nexthops.sort_unstable_by_key(|nexthop| (nexthop.via, core::cmp::Reverse(nexthop.weight)));
    nexthops.dedup_by_key(|nexthop| nexthop.via);
}

/// What `target` comes to, given what on the links can be used and what gateways come to; none: it cannot be used.
/// `is_usable` is not asked about gateways.
///
/// Next hops that cannot be used are left out; a set that leads somewhere prefers gateways to an interface, and an
/// interface to a blackhole. A gateway's weight is shared among the paths it resolves to.
pub(crate) fn combine(
    target: &Target,
    max_paths: usize,
    is_usable: impl Fn(Via) -> bool,
    mut resolve: impl FnMut(Ipv4Addr) -> Found,
) -> Option<Kind> {
    let nexthops = match target {
        Target::Nexthops(nexthops) => nexthops,
        Target::Local => return Some(Kind::Local),
        Target::Blackhole => return Some(Kind::Blackhole),
        Target::Unreachable => return Some(Kind::Unreachable),
        Target::Prohibit => return Some(Kind::Prohibit),
    };
    let mut shares = Vec::new();
    let mut glean = None;
    let mut special = None;
    for nexthop in nexthops {
        let weight = u64::from(nexthop.weight.max(1));
        match nexthop.via {
            Via::OnLink { interface, gateway } | Via::Watched { interface, gateway } => {
                if is_usable(nexthop.via) {
                    shares.push(Share { interface, gateway, part: weight, of: 1 });
                }
            }
            Via::Interface(interface) => {
                if is_usable(nexthop.via) {
                    glean = glean.or(Some(interface));
                }
            }
            Via::Gateway(gateway) => match resolve(gateway) {
                Found::Paths(paths) => {
                    let of = paths.iter().map(|path| u64::from(path.weight)).sum();
                    shares.extend(paths.iter().map(|path| {
                        let part = weight * u64::from(path.weight);
                        Share { interface: path.interface, gateway: path.gateway, part, of }
                    }));
                }
                Found::Special(kind) => special = special.or(Some(kind)),
                Found::Nothing(_) => {}
            },
        }
    }
    if !shares.is_empty() {
        return Some(Kind::Forward(weigh(shares, max_paths)));
    }
    glean.map(Kind::Glean).or(special.map(|special| match special {
        Special::Blackhole => Kind::Blackhole,
        Special::Unreachable => Kind::Unreachable,
        Special::Prohibit => Kind::Prohibit,
    }))
}

/// A way out with its share of the flows, `part / of`.
struct Share {
    interface: IfIndex,
    gateway: Ipv4Addr,
    part: u64,
    of: u64,
}

/// Common denominators beyond this are rounded: weights end below 257 anyway.
const MAX_DENOMINATOR: u64 = 1 << 32;

/// Shares as paths with small integer weights.
fn weigh(shares: Vec<Share>, max_paths: usize) -> Vec<Path> {
    let denominator = shares.iter().fold(1, |all, share| {
        let all = all / gcd(all, share.of) * share.of;
        all.min(MAX_DENOMINATOR)
    });
    let mut ways: Vec<_> = shares
        .into_iter()
        .map(|share| {
            let weight = u128::from(share.part) * u128::from(denominator) / u128::from(share.of);
            (share.interface, share.gateway, u64::try_from(weight).unwrap_or(u64::MAX).max(1))
        })
        .collect();
    ways.sort_unstable();
    ways.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 = kept.2.saturating_add(next.2);
        }
        same
    });
    ways.truncate(max_paths.max(1));
    let divisor = ways.iter().fold(0, |all, way| gcd(all, way.2)).max(1);
    let largest = ways.iter().map(|way| way.2 / divisor).max().unwrap_or(1);
    let mut paths: Vec<_> = ways
        .into_iter()
        .map(|(interface, gateway, weight)| {
            let weight = scaled(weight / divisor, largest);
            Path { interface, gateway, weight }
        })
        .collect();
    // Scaling may leave a common divisor behind.
    let divisor = paths.iter().fold(0, |all, path| gcd(all, u64::from(path.weight))).max(1);
    for path in &mut paths {
        path.weight = u16::try_from(u64::from(path.weight) / divisor).unwrap_or(MAX_WEIGHT);
    }
    paths
}

/// `weight` on a scale where `largest` is at most [`MAX_WEIGHT`].
fn scaled(weight: u64, largest: u64) -> u16 {
    let max = u64::from(MAX_WEIGHT);
    let weight = if largest <= max {
        weight
    } else {
        let rounded = (u128::from(weight) * u128::from(max) + u128::from(largest) / 2) / u128::from(largest);
        u64::try_from(rounded).unwrap_or(max)
    };
    u16::try_from(weight.clamp(1, max)).unwrap_or(MAX_WEIGHT)
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const C: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 3);
    const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const DARK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 66);

    fn path(gateway: Ipv4Addr, weight: u16) -> Path {
        Path { interface: IfIndex(1), gateway, weight }
    }

    fn via(gateway: Ipv4Addr, weight: u16) -> Nexthop {
        Nexthop { via: Via::Gateway(gateway), weight }
    }

    fn link(interface: u32, gateway: Ipv4Addr) -> Nexthop {
        Nexthop { via: Via::OnLink { interface: IfIndex(interface), gateway }, weight: 1 }
    }

    fn watched(gateway: Ipv4Addr) -> Nexthop {
        Nexthop { via: Via::Watched { interface: IfIndex(1), gateway }, weight: 1 }
    }

    /// Interface 1 is up, and B is silent there. A, B and C are on it, FAR is reached through A and B (1:2), DARK is in a blackhole.
    fn resolve(gateway: Ipv4Addr) -> Found {
        match gateway {
            A | B | C => Found::Paths(vec![path(gateway, 1)]),
            FAR => Found::Paths(vec![path(A, 1), path(B, 2)]),
            DARK => Found::Special(Special::Blackhole),
            _ => Found::Nothing(Unresolved::NoRoute),
        }
    }

    #[test]
    fn what_sets_come_to() {
        let nowhere = Ipv4Addr::new(203, 0, 113, 1);
        let glean = |interface| Nexthop { via: Via::Interface(IfIndex(interface)), weight: 1 };
        let forward = |paths: &[Path]| Some(Kind::Forward(paths.to_vec()));
        let cases: Vec<(&str, Vec<Nexthop>, Option<Kind>)> = vec![
            ("one gateway weighs 1", vec![via(A, 7)], forward(&[path(A, 1)])),
            (
                "weights are kept in proportion",
                vec![via(A, 20), via(B, 30)],
                forward(&[path(A, 2), path(B, 3)]),
            ),
            ("what does not resolve is left out", vec![via(A, 2), via(nowhere, 3)], forward(&[path(A, 1)])),
            ("nothing resolves", vec![via(nowhere, 1)], None),
            ("a recursive one spreads", vec![via(FAR, 1)], forward(&[path(A, 1), path(B, 2)])),
            (
                "a recursive one shares its weight",
                vec![via(FAR, 1), via(C, 1)],
                forward(&[path(A, 1), path(B, 2), path(C, 3)]),
            ),
            (
                "the same way out twice is one",
                vec![via(FAR, 3), via(A, 1)],
                forward(&[path(A, 1), path(B, 1)]),
            ),
            ("large weights are scaled", vec![via(A, 1000), via(B, 500)], forward(&[path(A, 2), path(B, 1)])),
            ("odd large ones too", vec![via(A, 1021), via(B, 1)], forward(&[path(A, 256), path(B, 1)])),
            ("on a link that is up", vec![link(1, A), link(2, B)], forward(&[path(A, 1)])),
            ("on a link that is down", vec![link(2, B)], None),
            ("a watched one that is silent", vec![watched(A), watched(B)], forward(&[path(A, 1)])),
            ("an interface", vec![glean(1)], Some(Kind::Glean(IfIndex(1)))),
            ("an interface that is down", vec![glean(2)], None),
            ("gateways before interfaces", vec![glean(1), via(A, 1)], forward(&[path(A, 1)])),
            ("into the dark", vec![via(DARK, 1)], Some(Kind::Blackhole)),
            ("light before dark", vec![via(DARK, 1), via(B, 1)], forward(&[path(B, 1)])),
            (
                "more than the maximum",
                vec![via(FAR, 1), via(C, 1), link(1, FAR)],
                forward(&[path(A, 1), path(B, 2), path(C, 3)]),
            ),
        ];
        for (name, nexthops, expected) in cases {
            let is_usable = |via| match via {
                Via::OnLink { interface, .. } | Via::Interface(interface) => interface == IfIndex(1),
                Via::Watched { interface, gateway } => interface == IfIndex(1) && gateway != B,
                Via::Gateway(_) => false,
            };
            let kind = combine(&Target::via(nexthops), 3, is_usable, resolve);
            assert_eq!(kind, expected, "{name}");
        }
    }

    #[test]
    fn sets_have_one_form() {
        assert_eq!(
            Target::via(vec![via(B, 0), via(A, 2), via(A, 5)]),
            Target::via(vec![via(A, 5), via(B, 1)])
        );
    }
}
