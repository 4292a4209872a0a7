//! Next hops that paths use, and how far each is: the shell follows them in the routing table.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_proto::NextHop;

#[derive(Clone, Debug, Default)]
pub(crate) struct NextHops {
    known: BTreeMap<Ipv4Addr, Known>,
    /// What was said last, for neighbouring prefixes mostly share it.
    last: Option<(Ipv4Addr, Arc<[NextHop]>)>,
}

#[derive(Clone, Debug)]
struct Known {
    /// Paths that use it.
    users: u32,
    /// None: nothing leads there, or it has not been said yet.
    metric: Option<u32>,
}

impl NextHops {
    /// Says whether it is to be followed from here on.
    pub(crate) fn hold(&mut self, address: Ipv4Addr) -> bool {
        let known = self.known.entry(address).or_insert(Known { users: 0, metric: None });
        known.users += 1;
        known.users == 1
    }

    /// Says whether it is not to be followed any longer.
    pub(crate) fn release(&mut self, address: Ipv4Addr) -> bool {
        let Some(known) = self.known.get_mut(&address) else { return false };
        known.users -= 1;
        let gone = known.users == 0;
        if gone {
            self.known.remove(&address);
        }
        gone
    }

    /// Says whether anything changes by it.
    pub(crate) fn set(&mut self, address: Ipv4Addr, metric: Option<u32>) -> bool {
        match self.known.get_mut(&address) {
            Some(known) => std::mem::replace(&mut known.metric, metric) != metric,
            None => false,
        }
    }

    pub(crate) fn metric(&self, address: Ipv4Addr) -> Option<u32> {
        self.known.get(&address)?.metric
    }

    /// One gateway as a set of next hops.
    pub(crate) fn single(&mut self, address: Ipv4Addr) -> Arc<[NextHop]> {
        match &self.last {
            Some((last, set)) if *last == address => Arc::clone(set),
            Some(_) | None => {
                let set: Arc<[NextHop]> = [recursive(address)].into();
                self.last = Some((address, Arc::clone(&set)));
                set
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ipv4Addr, u32, Option<u32>)> {
        self.known.iter().map(|(address, known)| (*address, known.users, known.metric))
    }
}

/// Wherever the routing table reaches it.
pub(crate) const fn recursive(address: Ipv4Addr) -> NextHop {
    NextHop { gateway: Some(address), interface: None, weight: 1 }
}
