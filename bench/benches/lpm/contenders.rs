//! What takes part in this process: Millrace's table, each way of looking it up, and the crates.

use core::net::Ipv4Addr;
use std::error::Error;
use std::hint::black_box;

use ip_network::Ipv4Network;
use millrace_fib::{Bulk, Geometry, GroupId, GroupSpec, Owned, Quiescence, Reader, Writer};
use millrace_net::PortId;

use crate::{HOPS, Route, timed};

/// Addresses looked up together where a contender can do that.
const BURST: usize = 256;

pub(crate) trait Contender {
    /// How many addresses make a round of some tens of milliseconds.
    fn lookups(&self) -> usize {
        1 << 22
    }

    /// How many routes one round removes and inserts again; 0 where another row measures that.
    fn updates(&self) -> usize {
        100_000
    }

    /// The sum of the hops found, and seconds. `trace` is the number of the trace that the addresses begin.
    fn look_up(&mut self, trace: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>>;

    /// Removes routes and inserts them again: seconds for each.
    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>>;
}

fn sum(addresses: &[u32], find: impl Fn(u32) -> u64) -> (u64, f64) {
    timed(|| addresses.iter().map(|&address| find(address)).sum())
}

/// Times `remove` and `insert` over all routes.
fn remove_and_insert<T>(
    contender: &mut T,
    routes: &[Route],
    remove: impl Fn(&mut T, &Route),
    insert: impl Fn(&mut T, &Route),
) -> (f64, f64) {
    let ((), removal) = timed(|| routes.iter().for_each(|route| remove(contender, route)));
    let ((), insertion) = timed(|| routes.iter().for_each(|route| insert(contender, route)));
    (removal, insertion)
}

/// The table of this project with the writer that keeps it, looked up one by one.
pub(crate) struct Millrace<'m> {
    writer: Writer<'m>,
    reader: Reader<'m>,
    hops: Vec<GroupId>,
}

/// The row of the table itself, and those of the crates.
pub(crate) const MILLRACE: &str = "Millrace, one by one";
pub(crate) const CRATES: [&str; 3] = ["poptrie 0.2", "prefix-trie 0.10", "ip_network_table 0.2"];

/// One of [`CRATES`].
pub(crate) fn build(name: &str, routes: &[Route]) -> Result<Box<dyn Contender>, Box<dyn Error>> {
    Ok(match name {
        "poptrie 0.2" => Box::new(Poptrie::build(routes)),
        "prefix-trie 0.10" => Box::new(PrefixTrie::build(routes)),
        "ip_network_table 0.2" => Box::new(IpNetworkTable::build(routes)?),
        _ => return Err(format!("no contender is called {name}").into()),
    })
}

/// Ample for the table and its updates.
pub(crate) fn memory() -> Result<Owned, Box<dyn Error>> {
    Ok(Owned::new(Geometry { adjacencies: 2, neighbors: 8, ..Geometry::DEFAULT })?)
}

impl<'m> Millrace<'m> {
    pub(crate) fn build(owned: &'m Owned, routes: &[Route]) -> Result<Self, Box<dyn Error>> {
        let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
        let mut hops = vec![GroupId::NONE];
        for hop in 1..=HOPS {
            hops.push(writer.group_insert(&GroupSpec::Glean(PortId(hop)))?);
        }
        for route in routes {
            writer.route_insert(route.prefix, hops[usize::from(route.hop)])?;
        }
        Ok(Self { reader: writer.reader(), writer, hops })
    }

    /// The same table looked up in bulk, where the CPU can.
    pub(crate) fn in_bulk(&self, bulk: Bulk) -> Option<InBulk<'m>> {
        Some(InBulk(self.reader.with_bulk(bulk)?))
    }
}

/// Groups are numbered from 1 in the order they were made, which is that of the hops.
fn hop(group: GroupId) -> u64 {
    group.index() as u64
}

impl Contender for Millrace<'_> {
    fn look_up(&mut self, _: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        Ok(sum(addresses, |address| hop(self.reader.lookup(address))))
    }

    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        let remove =
            |millrace: &mut Self, route: &Route| _ = black_box(millrace.writer.route_remove(route.prefix));
        let insert = |millrace: &mut Self, route: &Route| {
            let group = millrace.hops[usize::from(route.hop)];
            _ = black_box(millrace.writer.route_insert(route.prefix, group));
        };
        Ok(remove_and_insert(self, routes, remove, insert))
    }
}

pub(crate) struct InBulk<'m>(Reader<'m>);

impl Contender for InBulk<'_> {
    fn updates(&self) -> usize {
        0
    }

    fn look_up(&mut self, _: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        let mut groups = [GroupId::NONE; BURST];
        Ok(timed(|| {
            let mut sum = 0;
            for burst in addresses.chunks(BURST) {
                self.0.lookup_bulk(burst, &mut groups);
                sum += groups[..burst.len()].iter().map(|&group| hop(group)).sum::<u64>();
            }
            sum
        }))
    }

    fn update(&mut self, _: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        Ok((f64::NAN, f64::NAN))
    }
}

/// poptrie 0.2.
struct Poptrie(poptrie::Poptrie<(u32, u8), u16>);

impl Poptrie {
    fn build(routes: &[Route]) -> Self {
        Self(routes.iter().map(|route| ((route.prefix.bits(), route.prefix.len()), route.hop)).collect())
    }
}

impl Contender for Poptrie {
    fn lookups(&self) -> usize {
        1 << 18
    }

    fn updates(&self) -> usize {
        100
    }

    fn look_up(&mut self, _: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        Ok(sum(addresses, |address| self.0.lookup(address).map_or(0, |&hop| hop.into())))
    }

    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        let key = |route: &Route| (route.prefix.bits(), route.prefix.len());
        let remove = |this: &mut Self, route: &Route| _ = black_box(this.0.remove(key(route)));
        let insert = |this: &mut Self, route: &Route| _ = black_box(this.0.insert(key(route), route.hop));
        Ok(remove_and_insert(self, routes, remove, insert))
    }
}

/// prefix-trie 0.10.
struct PrefixTrie(prefix_trie::PrefixMap<(u32, u8), u16>);

impl PrefixTrie {
    fn build(routes: &[Route]) -> Self {
        Self(routes.iter().map(|route| ((route.prefix.bits(), route.prefix.len()), route.hop)).collect())
    }
}

impl Contender for PrefixTrie {
    fn lookups(&self) -> usize {
        1 << 18
    }

    fn look_up(&mut self, _: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        Ok(sum(addresses, |address| self.0.get_lpm(&(address, 32)).map_or(0, |(_, &hop)| hop.into())))
    }

    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        let key = |route: &Route| (route.prefix.bits(), route.prefix.len());
        let remove = |this: &mut Self, route: &Route| _ = black_box(this.0.remove(&key(route)));
        let insert = |this: &mut Self, route: &Route| _ = black_box(this.0.insert(key(route), route.hop));
        Ok(remove_and_insert(self, routes, remove, insert))
    }
}

/// ip_network_table 0.2, over treebitmap.
struct IpNetworkTable(ip_network_table::IpNetworkTable<u16>);

impl IpNetworkTable {
    fn build(routes: &[Route]) -> Result<Self, Box<dyn Error>> {
        let mut table = ip_network_table::IpNetworkTable::with_capacity(routes.len(), 0);
        for route in routes {
            table.insert(network(route)?, route.hop);
        }
        Ok(Self(table))
    }
}

fn network(route: &Route) -> Result<Ipv4Network, Box<dyn Error>> {
    Ok(Ipv4Network::new(route.prefix.addr(), route.prefix.len())?)
}

impl Contender for IpNetworkTable {
    fn lookups(&self) -> usize {
        1 << 18
    }

    fn look_up(&mut self, _: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        let find = |address| {
            self.0.longest_match_ipv4(Ipv4Addr::from_bits(address)).map_or(0, |(_, &hop)| hop.into())
        };
        Ok(sum(addresses, find))
    }

    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        let networks = routes.iter().map(network).collect::<Result<Vec<_>, _>>()?;
        let ((), removal) =
            timed(|| networks.iter().for_each(|&network| _ = black_box(self.0.remove(network))));
        let ((), insertion) = timed(|| {
            for (&network, route) in networks.iter().zip(routes) {
                black_box(self.0.insert(network, route.hop));
            }
        });
        Ok((removal, insertion))
    }
}
