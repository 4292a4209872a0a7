//! What a shard shows of itself, a page at a time: whoever looks on does so between two bursts, and says how many records
//! one look may cost.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;

use millrace_net::Instant;

use crate::config::PerProtocol;
use crate::flow::{Endpoint, Flow, protocol};
use crate::nat::Nat;
use crate::ports::Kind;
use crate::table::{Mapping, Origin, Session};
use crate::tcp_state::TcpState;

/// Where a page begins: at the first record, or where the page before ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor(u32);

impl Cursor {
    /// For those who send a cursor elsewhere and have it back.
    pub const fn position(self) -> u32 {
        self.0
    }

    /// Any number will do: beyond the last record a page is empty.
    pub const fn from_position(position: u32) -> Self {
        Self(position)
    }
}

/// A conversation, times in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionView {
    pub protocol: u8,
    pub inside: Endpoint,
    pub outside: Endpoint,
    pub remote: Endpoint,
    /// Of a TCP connection.
    pub tcp: Option<TcpState>,
    pub kind: MappingKind,
    pub age: u32,
    /// Until it ends if nothing more is seen of it.
    pub expires_in: u32,
}

/// An inside endpoint and the outside endpoint it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingView {
    pub protocol: u8,
    pub inside: Endpoint,
    pub outside: Endpoint,
    pub kind: MappingKind,
    pub sessions: u32,
    /// Seconds.
    pub age: u32,
}

/// What a mapping comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MappingKind {
    /// Index in [`Config::pools`](crate::Config::pools).
    Pool(u16),
    Forward,
    OneToOne,
}

/// An inside address with state from a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriberView {
    pub addr: Ipv4Addr,
    pub sessions: u32,
    /// Outside ports, over all protocols.
    pub ports: u32,
    pub blocks: usize,
}

/// A pool as far as one shard has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolView<'a> {
    pub name: &'a str,
    pub addresses: &'a [Ipv4Addr],
    pub ports: RangeInclusive<u16>,
    pub mappings: u64,
    pub sessions: u64,
    /// Ports of this shard, over all addresses, for one protocol.
    pub size: u64,
    /// Those neither taken nor resting.
    pub free: PerProtocol<u64>,
}

impl Nat {
    /// Bytes of memory for sessions and mappings.
    pub fn bytes(&self) -> usize {
        self.sessions.bytes() + self.mappings.bytes()
    }

    /// RFC 7422, forward: the outside address and ports of an inside address.
    pub fn deterministic(&self, inside: u32) -> Option<(u32, RangeInclusive<u16>)> {
        self.pools.iter().find_map(|p| p.deterministic(inside).map(|(at, range)| (p.address(at), range)))
    }

    /// RFC 7422, reverse: the inside address behind an outside endpoint.
    pub fn deterministic_inside(&self, outside: Endpoint) -> Option<u32> {
        self.pools.iter().find_map(|p| p.deterministic_inside(outside.addr, outside.port))
    }

    /// Free ports of a pool for a protocol, resting ones not counted.
    pub fn free_ports(&self, pool: u16, protocol: u8) -> Option<u64> {
        Some(self.pools.get(usize::from(pool))?.free(Kind::of(protocol)?))
    }

    /// Shows the sessions among the next `records` positions; gives where to go on, `None` at the end. What is made or
    /// ended between two pages may be missed; nothing is shown twice.
    pub fn sessions_page(
        &self,
        from: Cursor,
        records: usize,
        mut visit: impl FnMut(&SessionView),
    ) -> Option<Cursor> {
        let (page, next) = self.sessions.slab.page(from.0, records);
        page.filter(|(_, s)| s.live).for_each(|(id, s)| visit(&self.view(id, s)));
        next.map(Cursor)
    }

    /// The same for mappings.
    pub fn mappings_page(
        &self,
        from: Cursor,
        records: usize,
        mut visit: impl FnMut(&MappingView),
    ) -> Option<Cursor> {
        let (page, next) = self.mappings.slab.page(from.0, records);
        page.filter(|(_, m)| m.live).for_each(|(_, m)| {
            visit(&MappingView {
                protocol: m.protocol,
                inside: m.inside,
                outside: m.outside,
                kind: kind_of(m),
                sessions: m.sessions,
                age: self.now_secs.saturating_sub(m.created),
            });
        });
        next.map(Cursor)
    }

    /// The same for subscribers.
    pub fn subscribers_page(
        &self,
        from: Cursor,
        records: usize,
        mut visit: impl FnMut(&SubscriberView),
    ) -> Option<Cursor> {
        let (page, next) = self.subscribers.slab.page(from.0, records);
        page.filter(|(_, s)| s.live).for_each(|(_, s)| {
            visit(&SubscriberView {
                addr: Ipv4Addr::from_bits(s.addr),
                sessions: s.sessions,
                ports: s.ports,
                blocks: s.blocks.len(),
            });
        });
        next.map(Cursor)
    }

    /// The pools in the order of the configuration.
    pub fn pools(&self) -> impl Iterator<Item = PoolView<'_>> {
        self.pools.iter().map(|pool| PoolView {
            name: &pool.config.name,
            addresses: &pool.config.addresses,
            ports: pool.config.ports.clone(),
            mappings: pool.mappings,
            sessions: pool.sessions,
            size: pool.size(),
            free: PerProtocol {
                tcp: pool.free(Kind::Tcp),
                udp: pool.free(Kind::Udp),
                icmp: pool.free(Kind::Icmp),
            },
        })
    }

    /// Ends the sessions that `matches` says among the next `records` positions, as `clear nat sessions` does; gives how
    /// many, and where to go on.
    pub fn clear(
        &mut self,
        now: Instant,
        from: Cursor,
        records: usize,
        mut matches: impl FnMut(&SessionView) -> bool,
    ) -> (usize, Option<Cursor>) {
        self.advance(now);
        let (page, next) = self.sessions.slab.page(from.0, records);
        let chosen: Vec<u32> =
            page.filter(|(id, s)| s.live && matches(&self.view(*id, s))).map(|(id, _)| id).collect();
        for &id in &chosen {
            self.cut_session(id);
        }
        (chosen.len(), next.map(Cursor))
    }

    /// The session of a packet from inside, as `explain` shows it. Touches nothing.
    pub fn session_of(&self, flow: &Flow) -> Option<SessionView> {
        let id = self.sessions.outbound(flow)?;
        Some(self.view(id, self.sessions.slab.get(id)))
    }

    fn view(&self, id: u32, s: &Session) -> SessionView {
        SessionView {
            protocol: s.protocol,
            inside: s.inside,
            outside: s.outside,
            remote: s.remote,
            tcp: (s.protocol == protocol::TCP).then_some(s.tcp),
            kind: kind_of(self.mappings.slab.get(s.mapping)),
            age: self.now_secs.saturating_sub(s.created),
            expires_in: self.deadline(id).saturating_sub(self.now_secs),
        }
    }
}

const fn kind_of(mapping: &Mapping) -> MappingKind {
    match mapping.origin {
        Origin::Pool { pool, .. } => MappingKind::Pool(pool),
        Origin::Forward => MappingKind::Forward,
        Origin::OneToOne => MappingKind::OneToOne,
    }
}
