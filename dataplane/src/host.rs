//! The host as rtnetlink tells of it: its links and IPv4 addresses. Pure: events and dumps in, questions answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use millrace_net::Prefix;

use crate::netlink::{Address, Link};

#[derive(Debug, Default)]
pub(crate) struct Host {
    links: BTreeMap<u32, Link>,
    /// By interface, in the order of arrival: the first primary address is the one the kernel prefers.
    addresses: BTreeMap<u32, Vec<Address>>,
}

impl Host {
    /// Each of these says whether anything changed.
    pub(crate) fn link_is(&mut self, link: Link) -> bool {
        let ifindex = link.ifindex;
        let before = self.links.insert(ifindex, link);
        before.as_ref() != self.links.get(&ifindex)
    }

    pub(crate) fn link_gone(&mut self, ifindex: u32) -> bool {
        let addresses = self.addresses.remove(&ifindex).is_some();
        self.links.remove(&ifindex).is_some() || addresses
    }

    pub(crate) fn address_is(&mut self, address: Address) -> bool {
        let of_link = self.addresses.entry(address.ifindex).or_default();
        match of_link.iter_mut().find(|known| is_same(known, &address)) {
            Some(known) if *known == address => false,
            Some(known) => {
                *known = address;
                true
            }
            None => {
                of_link.push(address);
                true
            }
        }
    }

    pub(crate) fn address_gone(&mut self, address: &Address) -> bool {
        let Some(of_link) = self.addresses.get_mut(&address.ifindex) else { return false };
        let before = of_link.len();
        of_link.retain(|known| !is_same(known, address));
        of_link.len() != before
    }

    /// Replaces everything by what a dump says.
    pub(crate) fn replace(&mut self, links: Vec<Link>, addresses: Vec<Address>) {
        *self = Self::default();
        for link in links {
            self.link_is(link);
        }
        for address in addresses {
            self.address_is(address);
        }
    }

    pub(crate) fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Addresses of an interface with their prefix lengths, primary ones first.
    pub(crate) fn addresses(&self, ifindex: u32) -> Vec<(Ipv4Addr, u8)> {
        let of_link = self.addresses.get(&ifindex).map(Vec::as_slice).unwrap_or_default();
        let primary = of_link.iter().filter(|address| !address.secondary);
        let secondary = of_link.iter().filter(|address| address.secondary);
        primary.chain(secondary).map(|address| (address.local, address.prefix_len)).collect()
    }

    /// Destinations whose packets are the kernel's: every address of every interface, and the directed broadcast
    /// addresses of their subnets. Not 127.0.0.0/8, which is a martian on any wire (RFC 1812 §5.3.7).
    pub(crate) fn locals(&self) -> BTreeSet<Ipv4Addr> {
        let mut locals = BTreeSet::new();
        for address in self.addresses.values().flatten() {
            locals.insert(address.local);
            locals.extend(address.broadcast);
            // RFC 3021: a /31 has no broadcast address.
            if address.prefix_len < 31 {
                locals.insert(Prefix::truncated(address.local, address.prefix_len).last());
            }
        }
        locals.retain(|address| !address.is_loopback());
        locals
    }
}

/// The kernel tells addresses apart by interface, address and prefix length.
fn is_same(a: &Address, b: &Address) -> bool {
    (a.ifindex, a.local, a.prefix_len) == (b.ifindex, b.local, b.prefix_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(ifindex: u32, text: &str, broadcast: Option<&str>, secondary: bool) -> Address {
        let (local, len) = text.split_once('/').unwrap();
        Address {
            ifindex,
            local: local.parse().unwrap(),
            prefix_len: len.parse().unwrap(),
            broadcast: broadcast.map(|text| text.parse().unwrap()),
            secondary,
        }
    }

    #[test]
    fn locals_are_addresses_and_directed_broadcasts() {
        let mut host = Host::default();
        for (text, broadcast) in [
            ("127.0.0.1/8", None),
            ("192.0.2.1/24", Some("192.0.2.255")),
            ("198.51.100.1/30", None),
            ("203.0.113.0/31", None),
            ("10.255.0.1/32", None),
        ] {
            assert!(host.address_is(address(1, text, broadcast, false)), "{text}");
        }
        let locals: Vec<String> = host.locals().iter().map(ToString::to_string).collect();
        let expected =
            ["10.255.0.1", "192.0.2.1", "192.0.2.255", "198.51.100.1", "198.51.100.3", "203.0.113.0"];
        assert_eq!(locals, expected);
    }

    #[test]
    fn addresses_come_primary_first_and_change_once() {
        let mut host = Host::default();
        let second = address(2, "192.0.2.2/24", None, true);
        assert!(host.address_is(second.clone()));
        assert!(host.address_is(address(2, "192.0.2.1/24", None, false)));
        assert!(!host.address_is(second.clone()), "the same again");
        let list =
            |host: &Host| host.addresses(2).iter().map(|(addr, _)| addr.octets()[3]).collect::<Vec<_>>();
        assert_eq!(list(&host), [1, 2]);
        assert!(host.address_is(Address { secondary: false, ..second.clone() }), "promoted");
        assert_eq!(list(&host), [2, 1]);
        assert!(host.address_gone(&second) && !host.address_gone(&second));
        assert_eq!(list(&host), [1]);
    }
}
