//! The configuration of `[nat]` as the shards want it: names are numbers, interfaces are the addresses they have, limits are
//! one shard's.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use millrace_api::nat as api;
use millrace_nat as nat;

use super::host_ports::HostPorts;

/// What is to be put into force, and what cannot be.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) config: nat::Config,
    /// Ports of the largest block: what slices are made for.
    pub(crate) largest_block: u16,
    /// Addresses that nobody but this router answers for: they are NAT's alone.
    pub(crate) alone: BTreeSet<Ipv4Addr>,
    /// By pool, in the order of the configuration: why it translates nothing.
    pub(crate) problems: Vec<Option<String>>,
}

/// The first address of an interface, and which addresses are the host's.
pub(crate) trait Addresses {
    fn of_interface(&self, name: &str) -> Option<Ipv4Addr>;
    fn is_local(&self, address: Ipv4Addr) -> bool;
}

pub(crate) fn plan(
    wanted: &api::NatConfig,
    workers: usize,
    host: &impl Addresses,
    host_ports: &HostPorts,
) -> Plan {
    let mut plan = Plan::default();
    let one_to_one: BTreeSet<Ipv4Addr> = wanted.statics.iter().map(|pair| pair.outside).collect();
    for pool in &wanted.pools {
        let (addresses, problem) = addresses(pool, host, &one_to_one);
        plan.config.pools.push(nat::Pool {
            name: pool.name.clone(),
            addresses,
            ports: pool.ports.0..=pool.ports.1,
            filtering: nat::PerProtocol {
                tcp: filtering(pool.filtering.tcp),
                udp: filtering(pool.filtering.udp),
                icmp: filtering(pool.filtering.icmp),
            },
            allocation: allocation(&pool.allocation),
        });
        if let api::NatAllocation::Blocks { size, .. } = pool.allocation {
            plan.largest_block = plan.largest_block.max(size);
        }
        plan.problems.push(problem);
    }
    plan.config.sources = wanted.sources.iter().filter_map(|source| self::source(source, wanted)).collect();
    plan.config.forwards =
        wanted.forwards.iter().filter_map(|forward| self::forward(forward, host)).collect();
    plan.config.statics = wanted
        .statics
        .iter()
        .map(|pair| nat::Static { outside: pair.outside, inside: pair.inside })
        .collect();
    let outside = plan.config.pools.iter().flat_map(|pool| pool.addresses.iter().copied());
    let outside = outside
        .chain(plan.config.forwards.iter().map(|forward| forward.outside))
        .chain(plan.config.statics.iter().map(|pair| pair.outside));
    let (shared, alone) = outside.collect::<BTreeSet<_>>().into_iter().partition(|addr| host.is_local(*addr));
    plan.alone = alone;
    plan.config.shared = Vec::from_iter::<BTreeSet<Ipv4Addr>>(shared);
    if !plan.config.shared.is_empty() {
        plan.config.host_ports = host_ports.ranges(wanted);
    }
    plan.config.timers = timers(&wanted.timers);
    plan.config.limits = limits(&wanted.limits, workers);
    plan.config.gateways = nat::Gateways { ftp: wanted.algs.ftp, tftp: wanted.algs.tftp };
    plan.config.refusal = match wanted.refuse_with {
        api::NatRefusal::Prohibited => nat::Refusal::Prohibited,
        api::NatRefusal::Unreachable => nat::Refusal::HostUnreachable,
    };
    plan
}

fn addresses(
    pool: &api::NatPool,
    host: &impl Addresses,
    one_to_one: &BTreeSet<Ipv4Addr>,
) -> (Vec<Ipv4Addr>, Option<String>) {
    match &pool.addresses {
        api::NatAddresses::Interface(name) => match host.of_interface(name) {
            Some(address) => (vec![address], None),
            None => {
                let problem =
                    format!("{name} has no IPv4 address; flows through the pool are refused until it has");
                (Vec::new(), Some(problem))
            }
        },
        api::NatAddresses::Ranges(ranges) => {
            let all = ranges.iter().flat_map(|(first, last)| first.to_bits()..=last.to_bits());
            let all = all.map(Ipv4Addr::from_bits);
            (all.filter(|address| !one_to_one.contains(address)).collect(), None)
        }
    }
}

fn filtering(filtering: api::NatFiltering) -> nat::Filtering {
    match filtering {
        api::NatFiltering::EndpointIndependent => nat::Filtering::EndpointIndependent,
        api::NatFiltering::AddressDependent => nat::Filtering::AddressDependent,
        api::NatFiltering::AddressAndPortDependent => nat::Filtering::AddressAndPortDependent,
    }
}

fn allocation(allocation: &api::NatAllocation) -> nat::Allocation {
    match *allocation {
        api::NatAllocation::Random => nat::Allocation::Random,
        api::NatAllocation::Blocks { size, max, idle_secs } => {
            nat::Allocation::Blocks { size, max, idle_secs }
        }
        api::NatAllocation::Deterministic { inside } => nat::Allocation::Deterministic { inside },
    }
}

fn source(source: &api::NatSource, wanted: &api::NatConfig) -> Option<nat::Source> {
    let action = match &source.pool {
        None => source.to.map_or(nat::SourceAction::Exempt, nat::SourceAction::ExemptTo),
        Some(name) => {
            let position = wanted.pools.iter().position(|pool| pool.name == *name)?;
            nat::SourceAction::Pool(u16::try_from(position).ok()?)
        }
    };
    Some(nat::Source { from: source.from, action })
}

fn forward(forward: &api::NatForward, host: &impl Addresses) -> Option<nat::Forward> {
    let outside = match &forward.outside {
        api::NatOutside::Address(address) => *address,
        api::NatOutside::Interface(name) => host.of_interface(name)?,
    };
    Some(nat::Forward {
        protocol: forward.protocol,
        outside,
        outside_ports: forward.outside_ports.0..=forward.outside_ports.1,
        inside: forward.inside,
        inside_port: forward.inside_port,
    })
}

fn timers(timers: &api::NatTimers) -> nat::Timers {
    nat::Timers {
        tcp_established: timers.tcp_established,
        tcp_transitory: timers.tcp_transitory,
        udp: timers.udp,
        icmp: timers.icmp,
        other: timers.other,
        inbound_refresh: timers.inbound_refresh,
        port_quarantine: timers.port_quarantine,
    }
}

/// Subscribers are spread by hash, so a shard gets its share and an eighth.
fn limits(limits: &api::NatLimits, workers: usize) -> nat::Limits {
    let workers = u32::try_from(workers).unwrap_or(u32::MAX).max(1);
    let share = |all: u32| if workers == 1 { all } else { all / workers + all / workers / 8 + 1 };
    nat::Limits {
        sessions: share(limits.sessions),
        mappings: share(limits.mappings),
        sessions_per_subscriber: limits.sessions_per_subscriber.unwrap_or(u32::MAX),
        ports_per_subscriber: limits.ports_per_subscriber.unwrap_or(u32::MAX),
    }
}

/// A range as the API shows it.
pub(crate) fn range_name(range: &RangeInclusive<u16>) -> String {
    format!("{}-{}", range.start(), range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// eth0 has 192.0.2.2, and 203.0.113.12 is an address of the host too.
    struct Played;

    impl Addresses for Played {
        fn of_interface(&self, name: &str) -> Option<Ipv4Addr> {
            (name == "eth0").then_some(Ipv4Addr::new(192, 0, 2, 2))
        }

        fn is_local(&self, address: Ipv4Addr) -> bool {
            [Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(203, 0, 113, 12)].contains(&address)
        }
    }

    fn pool(name: &str, addresses: api::NatAddresses) -> api::NatPool {
        api::NatPool {
            name: name.into(),
            addresses,
            ports: (1024, 65535),
            host_ports: vec![(8080, 8080)],
            filtering: api::NatPerProtocol::default(),
            allocation: api::NatAllocation::Random,
        }
    }

    fn addr(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn wanted() -> api::NatConfig {
        let range = (addr("203.0.113.8"), addr("203.0.113.15"));
        api::NatConfig {
            pools: vec![
                pool("shared", api::NatAddresses::Interface("eth0".into())),
                pool("alone", api::NatAddresses::Ranges(vec![range])),
                pool("absent", api::NatAddresses::Interface("eth9".into())),
            ],
            sources: vec![
                api::NatSource { from: "10.9.0.0/16".parse().unwrap(), to: None, pool: None },
                api::NatSource {
                    from: "10.0.0.0/8".parse().unwrap(),
                    to: Some("172.16.0.0/12".parse().unwrap()),
                    pool: None,
                },
                api::NatSource { from: "10.0.0.0/8".parse().unwrap(), to: None, pool: Some("alone".into()) },
            ],
            forwards: vec![api::NatForward {
                protocol: 6,
                outside: api::NatOutside::Interface("eth9".into()),
                outside_ports: (80, 80),
                inside: addr("10.0.0.1"),
                inside_port: 80,
            }],
            statics: vec![api::NatStatic { outside: addr("203.0.113.9"), inside: addr("10.0.0.9") }],
            ..api::NatConfig::default()
        }
    }

    #[test]
    fn names_become_numbers_and_addresses_find_their_owners() {
        let plan = plan(&wanted(), 1, &Played, &HostPorts::default());
        let [shared, alone, absent] = plan.config.pools.as_slice() else { panic!("three pools") };
        assert_eq!(shared.addresses, [addr("192.0.2.2")]);
        assert_eq!(alone.addresses.len(), 7, "one is one-to-one");
        assert!(!alone.addresses.contains(&addr("203.0.113.9")));
        assert!(absent.addresses.is_empty());
        assert_eq!(plan.problems.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
        let actions: Vec<_> = plan.config.sources.iter().map(|source| source.action).collect();
        let to = nat::SourceAction::ExemptTo("172.16.0.0/12".parse().unwrap());
        assert_eq!(actions, [nat::SourceAction::Exempt, to, nat::SourceAction::Pool(1)]);
        assert!(plan.config.forwards.is_empty(), "its interface has no address");
        assert_eq!(plan.config.shared, [addr("192.0.2.2"), addr("203.0.113.12")]);
        assert_eq!(plan.alone.len(), 7, "six of the pool, and the one-to-one address");
        assert_eq!(
            plan.config.host_ports.len(),
            4,
            "one range, two pools, TCP and UDP: {:?}",
            plan.config.host_ports
        );
    }

    #[test]
    fn limits_are_shared_out() {
        for (workers, expected) in [(1, 1 << 20), (2, (1 << 19) + (1 << 16) + 1)] {
            let plan = plan(&wanted(), workers, &Played, &HostPorts::default());
            assert_eq!(plan.config.limits.sessions, expected, "{workers} workers");
        }
    }
}
