//! What goes out: split horizon, the choice of entries, and messages at a pace receivers can follow. RFC 2453 §3.10.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{IfIndex, Instant, InterfaceAddress, Transmit, WallClock};

use crate::config::SplitHorizon;
use crate::link::Link;
use crate::receive::natural_length;
use crate::table::{Entry, OriginKind, State, Table};
use crate::wire::{self, Command, Version};
use crate::{Metric, auth};

/// Messages sent in one go, and the pause after them. 10,000 routes take a fifth of a second, and a peer that gives its
/// socket 40 kB, as FRR does, loses none.
pub(crate) const BURST: usize = 20;
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// One update or reply that is being sent to one destination.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) link: IfIndex,
    pub(crate) source: InterfaceAddress,
    pub(crate) destination: SocketAddrV4,
    pub(crate) version: Version,
    pub(crate) purpose: Purpose,
    pub(crate) routes: Routes,
    /// For cryptographic authentication; one for all messages of a job, so that reordering among them does no harm.
    pub(crate) sequence: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Regular,
    Triggered,
    Reply,
    /// The last word of a router that stops: everything is unreachable.
    Farewell,
}

/// What is left to send.
#[derive(Clone, Debug)]
pub(crate) enum Routes {
    /// The whole table from behind this prefix on, as it is when its turn comes.
    Whole {
        after: Option<Prefix>,
    },
    Changed {
        prefixes: Arc<[Prefix]>,
        next: usize,
    },
}

/// What became of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Message(Transmit),
    /// No key is valid: the rest of the job is dropped.
    NoKey,
    Done,
}

impl Job {
    /// The next message, if any entries are left for it.
    pub(crate) fn next(&mut self, now: Instant, clock: WallClock, link: &Link, table: &Table) -> Next {
        let authentication = match self.version {
            Version::V1 => &crate::config::Authentication::None,
            Version::V2 => &link.config.authentication,
        };
        let Some(protection) = auth::protection(authentication, clock.unix(now), self.sequence) else {
            return Next::NoKey;
        };
        let entries = self.entries(link, table, wire::capacity(protection));
        if entries.is_empty() {
            return Next::Done;
        }
        Next::Message(Transmit {
            interface: self.link,
            source: SocketAddrV4::new(self.source.address, wire::PORT),
            destination: self.destination,
            ttl: link.config.ttl_security.ttl(),
            payload: wire::encode(Command::Response, self.version, &entries, protection),
        })
    }

    fn entries(&mut self, link: &Link, table: &Table, capacity: usize) -> Vec<wire::Entry> {
        let mut entries = Vec::new();
        let advert = |prefix, entry| advert(link, &self.source, self.purpose, self.version, prefix, entry);
        match &mut self.routes {
            Routes::Whole { after } => {
                for (prefix, entry) in table.iter_after(*after) {
                    *after = Some(prefix);
                    entries.extend(advert(prefix, entry));
                    if entries.len() == capacity {
                        break;
                    }
                }
            }
            Routes::Changed { prefixes, next } => {
                while let Some(prefix) = prefixes.get(*next).filter(|_| entries.len() < capacity) {
                    *next += 1;
                    entries.extend(table.get(*prefix).and_then(|entry| advert(*prefix, entry)));
                }
            }
        }
        entries
    }
}

/// What is said of `prefix` in a message from `source`; None: nothing.
fn advert(
    link: &Link,
    source: &InterfaceAddress,
    purpose: Purpose,
    version: Version,
    prefix: Prefix,
    entry: &Entry,
) -> Option<wire::Entry> {
    let state = entry.state()?;
    let back = match state {
        // Everyone on a network knows that network.
        State::Own(origin) => match origin.kind {
            OriginKind::Connected(_) if prefix.contains(source.address) => Direction::Pointless,
            OriginKind::Connected(_) | OriginKind::Redistributed | OriginKind::Default => Direction::Onward,
        },
        State::Learned { next_hops, .. } => {
            if next_hops.iter().any(|(neighbor, _)| neighbor.interface == link.interface.index) {
                Direction::Back
            } else {
                Direction::Onward
            }
        }
        State::Garbage { .. } => Direction::Onward,
    };
    let poisoned = match (back, link.config.split_horizon, purpose) {
        (Direction::Pointless, SplitHorizon::Simple | SplitHorizon::PoisonedReverse, _) => return None,
        (_, _, Purpose::Farewell) => true,
        (Direction::Onward, _, _) | (_, SplitHorizon::Off, _) => false,
        (Direction::Back, SplitHorizon::Simple, Purpose::Regular | Purpose::Reply) => return None,
        (Direction::Back, SplitHorizon::Simple, Purpose::Triggered)
        | (Direction::Back, SplitHorizon::PoisonedReverse, _) => true,
    };
    let announced = if poisoned || state.metric().is_infinite() {
        (Metric::INFINITY, state.tag())
    } else {
        match link.exported(prefix, state) {
            Some(announced) => announced,
            // A triggered update takes back what an earlier policy let through.
            None if purpose == Purpose::Triggered => (Metric::INFINITY, state.tag()),
            None => return None,
        }
    };
    let (metric, tag) = announced;
    if version == Version::V1 && natural_length(prefix.addr(), source) != prefix.len() {
        return None;
    }
    Some(wire::Entry {
        family: wire::FAMILY_IPV4,
        tag,
        address: prefix.addr(),
        mask: Ipv4Addr::from_bits(prefix.mask()),
        next_hop: if metric.is_infinite() { Ipv4Addr::UNSPECIFIED } else { next_hop(state, link, source) },
        metric: metric.get().into(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Onward,
    /// Towards where the route was learned.
    Back,
    /// To those who are there already.
    Pointless,
}

/// RFC 2453 §4.4: a better first hop than this router, if it stands on the same subnet.
fn next_hop(state: &State, link: &Link, source: &InterfaceAddress) -> Ipv4Addr {
    let better = match state {
        State::Own(origin) => origin.next_hop,
        State::Learned { next_hops, .. } => {
            let here = next_hops.iter().find(|(neighbor, _)| neighbor.interface == link.interface.index);
            here.map(|(_, gateway)| *gateway)
        }
        State::Garbage { .. } => None,
    };
    better.filter(|gateway| source.reaches(*gateway)).unwrap_or(Ipv4Addr::UNSPECIFIED)
}
