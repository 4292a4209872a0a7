//! A route as policies see it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_net::Prefix;
use serde::{Deserialize, Serialize};

use crate::as_path::AsPath;
use crate::community::Community;

/// What conditions look at and changes change. Attributes are shared, so making one is cheap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub prefix: Prefix,
    /// Where it comes from.
    pub protocol: Protocol,
    /// Who said it; None where nobody did.
    pub neighbor: Option<Ipv4Addr>,
    pub next_hop: NextHop,
    /// The protocol's metric; the MED of a BGP route.
    pub metric: Option<u32>,
    /// 0 is none.
    pub tag: u32,
    /// Higher is better: BGP's local preference.
    pub preference: Option<u32>,
    /// Where it is to differ from the protocol's.
    pub distance: Option<u8>,
    /// None for routes that did not come from BGP and go elsewhere.
    pub bgp: Option<BgpAttributes>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BgpAttributes {
    pub origin: Origin,
    pub as_path: AsPath,
    /// Ascending, without duplicates.
    pub communities: Arc<[Community]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum NextHop {
    /// Not known, or not of interest.
    #[default]
    None,
    Address(Ipv4Addr),
    /// The address of the router that announces it.
    Own,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    Connected,
    Static,
    Kernel,
    Rip,
    Ospf,
    Bgp,
}

/// RFC 4271 §5.1.1. The better one is less.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Igp,
    Egp,
    #[default]
    Incomplete,
}

impl Route {
    /// Nothing but a destination and where it comes from.
    pub fn new(prefix: Prefix, protocol: Protocol) -> Self {
        Self {
            prefix,
            protocol,
            neighbor: None,
            next_hop: NextHop::None,
            metric: None,
            tag: 0,
            preference: None,
            distance: None,
            bgp: None,
        }
    }

    pub(crate) fn bgp_mut(&mut self) -> &mut BgpAttributes {
        self.bgp.get_or_insert_default()
    }
}

impl Protocol {
    pub const ALL: [Self; 6] =
        [Self::Connected, Self::Static, Self::Kernel, Self::Rip, Self::Ospf, Self::Bgp];

    /// As in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Static => "static",
            Self::Kernel => "kernel",
            Self::Rip => "rip",
            Self::Ospf => "ospf",
            Self::Bgp => "bgp",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

impl Origin {
    pub const ALL: [Self; 3] = [Self::Igp, Self::Egp, Self::Incomplete];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Igp => "igp",
            Self::Egp => "egp",
            Self::Incomplete => "incomplete",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.name() == name)
    }
}
