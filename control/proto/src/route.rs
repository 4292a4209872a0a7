//! What protocols tell the routing table.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

use crate::IfIndex;

/// A protocol's best route to a prefix, or the end of it. Whole states: telling the same twice changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RouteChange {
    Upsert(Route),
    /// Absent is fine.
    Remove(Prefix),
}

/// A protocol's candidate for one prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    pub prefix: Prefix,
    /// At least one, without duplicates, in ascending order.
    pub next_hops: Vec<NextHop>,
    /// In the protocol's own unit; lower is better among its own routes.
    pub metric: u32,
    /// Carried for policy; 0 is none.
    pub tag: u32,
    /// Where it differs from the protocol's configured distance.
    pub distance: Option<u8>,
}

/// One way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NextHop {
    /// None: destinations are on the link itself.
    pub gateway: Option<Ipv4Addr>,
    /// None: wherever the routing table reaches the gateway (recursive).
    pub interface: Option<IfIndex>,
    /// Share of the flows against the other next hops; 0 counts as 1.
    pub weight: u16,
}

impl NextHop {
    pub const fn via(gateway: Ipv4Addr, interface: IfIndex) -> Self {
        Self { gateway: Some(gateway), interface: Some(interface), weight: 1 }
    }
}

impl RouteChange {
    pub const fn prefix(&self) -> Prefix {
        match self {
            Self::Upsert(route) => route.prefix,
            Self::Remove(prefix) => *prefix,
        }
    }
}
