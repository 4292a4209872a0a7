//! Whether packets circle: forwarding tables followed hop by hop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::Instant;

use crate::network::Network;
use crate::router::Router;

/// Every loop that there was, and how long.
#[derive(Clone, Debug, Default)]
pub struct LoopWatch {
    /// Destinations that loop at this moment, and since when.
    open: BTreeMap<Prefix, Instant>,
    /// Each that is over: destination, begin, end.
    past: Vec<(Prefix, Instant, Instant)>,
}

impl LoopWatch {
    /// How many there were.
    pub fn count(&self) -> usize {
        self.open.len() + self.past.len()
    }

    /// The longest, those that last among them.
    pub fn longest(&self, now: Instant) -> Duration {
        let past = self.past.iter().map(|(_, begin, end)| *end - *begin);
        past.chain(self.open.values().map(|begin| now - *begin)).max().unwrap_or(Duration::ZERO)
    }

    pub fn is_looping(&self) -> bool {
        !self.open.is_empty()
    }

    /// Follows packets for `prefix`, after a router changed its route to it.
    pub(crate) fn check<R: Router>(&mut self, network: &Network<R>, prefix: Prefix) {
        let now = network.now();
        if circles(network, prefix.addr()) {
            self.open.entry(prefix).or_insert(now);
        } else if let Some(begin) = self.open.remove(&prefix) {
            // What came and went within one instant nobody could send a packet into.
            if begin != now {
                self.past.push((prefix, begin, now));
            }
        }
    }
}

/// Whether a packet for `destination` sent by any router can come back to a router it has passed.
fn circles<R: Router>(network: &Network<R>, destination: Ipv4Addr) -> bool {
    let routers = network.topology().routers;
    let mut done = BTreeSet::new();
    (0..routers).any(|r| visit(network, destination, r, &mut BTreeSet::new(), &mut done))
}

fn visit<R: Router>(
    network: &Network<R>,
    destination: Ipv4Addr,
    r: usize,
    under_way: &mut BTreeSet<usize>,
    done: &mut BTreeSet<usize>,
) -> bool {
    if done.contains(&r) {
        return false;
    }
    if !under_way.insert(r) {
        return true;
    }
    let circles = next_routers(network, destination, r)
        .into_iter()
        .any(|next| visit(network, destination, next, under_way, done));
    under_way.remove(&r);
    done.insert(r);
    circles
}

/// Where router `r` sends packets for `destination`: nowhere if it is on that network or has no route.
fn next_routers<R: Router>(network: &Network<R>, destination: Ipv4Addr, r: usize) -> Vec<usize> {
    let connected =
        network.connected(r).into_iter().filter(|own| own.contains(destination)).map(|own| own.len()).max();
    let learned =
        (0..=32u8).rev().find_map(|len| network.routes(r).get(&Prefix::truncated(destination, len)));
    match learned {
        Some(route) if connected.is_none_or(|len| len < route.prefix.len()) => {
            let gateways = route.next_hops.iter().filter_map(|hop| hop.gateway);
            gateways.filter_map(|gateway| network.owner(gateway)).collect()
        }
        Some(_) | None => Vec::new(),
    }
}
