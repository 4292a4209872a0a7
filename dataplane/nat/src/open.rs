//! The slow path in: a new flow gets its mapping and its session, or a reason why not.

use crate::alg::{self, Control};
use crate::config::{Allocation, Filtering, SourceAction};
use crate::expiry::{Link, NIL};
use millrace_net::Instant;

use crate::flow::{Endpoint, Flow, Tcp, protocol};
use crate::nat::{Nat, OutsideAddress};
use crate::pool::Exhausted;
use crate::ports::Kind;
use crate::table::{Mapping, Origin, Session};
use crate::tcp_state::{Direction, TcpState};
use crate::verdict::{Denied, Event, PortChange, Refused, Verdict};

impl Nat {
    /// The mappings of the configured port forwards; they live as long as the shard.
    pub(crate) fn install_forwards(&mut self) {
        let forwards = core::mem::take(&mut self.config.forwards);
        for forward in &forwards {
            for (outside, inside) in forward.pairs() {
                let owner = self.owner_of_inside(forward.protocol, inside.addr);
                self.forward_owners.insert((forward.protocol, outside), owner);
                // The port is nobody else's, whichever worker's slice it lies in.
                if let (Some(OutsideAddress::Pool { pool, address }), Some(kind)) =
                    (self.outside.get(&outside.addr), Kind::of(forward.protocol))
                {
                    self.pools[usize::from(*pool)].take_exactly(*address, kind, outside.port);
                }
                if owner != self.worker {
                    continue;
                }
                self.new_mapping(forward.protocol, inside, outside, Origin::Forward, NIL);
            }
        }
        self.config.forwards = forwards;
    }

    /// Ports of shared addresses that the host uses are taken for good; those of forwards are not the host's.
    pub(crate) fn leave_to_the_host(&mut self) {
        let host_ports = core::mem::take(&mut self.config.host_ports);
        for (number, range) in &host_ports {
            let Some(kind) = Kind::of(*number) else { continue };
            for &addr in &self.shared {
                let Some(&OutsideAddress::Pool { pool, address }) = self.outside.get(&addr) else { continue };
                for port in range.clone() {
                    self.pools[usize::from(pool)].take_exactly(address, kind, port);
                }
            }
        }
        self.config.host_ports = host_ports;
    }

    /// The mapping of an outbound packet's source, made if there is none.
    pub(crate) fn mapping_for(&mut self, flow: &Flow, tcp: Option<Tcp>) -> Result<u32, Verdict> {
        if let Some(id) = self.mappings.by_inside(flow.protocol, flow.src) {
            let dynamic = matches!(self.mappings.slab.get(id).origin, Origin::Pool { .. });
            if dynamic && tcp.is_some_and(|t| !t.syn) {
                return Err(Verdict::Deny(Denied::TcpNoSession));
            }
            return Ok(id);
        }
        if let Some(&outside) = self.statics.get(&flow.src.addr) {
            return self
                .map_one_to_one(flow.protocol, flow.src, outside)
                .ok_or(Verdict::Refuse(Refused::TableFull));
        }
        let pool = match self.source_action(flow.src.addr) {
            Some(SourceAction::Pool(pool)) => pool,
            Some(SourceAction::Exempt | SourceAction::ExemptTo(_)) => return Err(Verdict::Bypass),
            None => return Err(Verdict::Refuse(Refused::NoPool)),
        };
        if tcp.is_some_and(|t| !t.syn) {
            return Err(Verdict::Deny(Denied::TcpNoSession));
        }
        self.map_from_pool(pool, flow.protocol, flow.src).map_err(Verdict::Refuse)
    }

    /// Lets one data connection, or several, in from `remote` to the inside endpoint `inside`, as a gateway read in a
    /// payload; gives the outside endpoint to name there. It lasts as long as a half-open connection.
    pub fn expect(
        &mut self,
        now: Instant,
        protocol: u8,
        inside: Endpoint,
        remote: u32,
    ) -> Result<Endpoint, Refused> {
        self.advance(now);
        let announced = Endpoint { addr: remote, port: 0 };
        let flow = Flow { protocol, src: inside, dst: announced };
        // A SYN, so that the mapping is made whatever the protocol.
        let syn = (protocol == protocol::TCP).then_some(Tcp { syn: true, ..Tcp::default() });
        let mapping = self.mapping_for(&flow, syn).map_err(|verdict| match verdict {
            Verdict::Refuse(refused) => refused,
            Verdict::Translate(_) | Verdict::Bypass | Verdict::Deny(_) | Verdict::Handoff(..) => {
                Refused::NoPool
            }
        })?;
        if let Err(refused) = self.announce(mapping, remote) {
            self.end_mapping_if_unused(mapping);
            return Err(refused);
        }
        Ok(self.mappings.slab.get(mapping).outside)
    }

    fn map_from_pool(&mut self, pool: u16, protocol: u8, inside: Endpoint) -> Result<u32, Refused> {
        if self.mappings.slab.is_full() {
            return Err(Refused::TableFull);
        }
        let id = self.subscribers.find_or_insert(inside.addr).ok_or(Refused::TableFull)?;
        let result = self.map_for_subscriber(id, pool, protocol, inside);
        self.subscribers.release_if_idle(id);
        result
    }

    fn map_for_subscriber(
        &mut self,
        id: u32,
        p: u16,
        protocol: u8,
        inside: Endpoint,
    ) -> Result<u32, Refused> {
        let kind = Kind::of(protocol);
        let pool = &mut self.pools[usize::from(p)];
        let subscriber = self.subscribers.slab.get_mut(id);
        if kind.is_some() && self.config.limits.ports_per_subscriber <= subscriber.ports {
            return Err(Refused::SubscriberPorts);
        }
        let address = match (pool.deterministic(inside.addr), subscriber.pairing) {
            (Some((address, _)), _) => address,
            (None, Some((paired, address))) if paired == p => address,
            (None, _) => pool.next_address(kind).ok_or(Refused::PoolExhausted)?,
        };
        let outside_addr = pool.address(address);
        let port = match kind {
            None => 0,
            Some(kind) => {
                let taken = pool.take(&mut self.rng, subscriber, p, address, kind, inside.port);
                match taken {
                    Ok((port, new_block)) => {
                        if let (Some(block), Allocation::Blocks { size, .. }) =
                            (new_block, &pool.config.allocation)
                        {
                            let (first, size) = (block.first, *size);
                            self.note(Event::BlockAllocated {
                                inside: inside.addr,
                                outside: outside_addr,
                                first,
                                size,
                            });
                        }
                        port
                    }
                    Err(Exhausted::SubscriberBlocks) => return Err(Refused::SubscriberPorts),
                    Err(Exhausted::Pool) => return Err(Refused::PoolExhausted),
                }
            }
        };
        let outside = Endpoint { addr: outside_addr, port };
        if kind.is_none() && self.mappings.by_outside(protocol, outside).is_some() {
            // A protocol without ports belongs to the one inside host that claimed it.
            return Err(Refused::PoolExhausted);
        }
        let subscriber = self.subscribers.slab.get_mut(id);
        subscriber.ports += 1;
        subscriber.pairing = Some((p, address));
        let origin = Origin::Pool { pool: p, address };
        self.new_mapping(protocol, inside, outside, origin, id).ok_or(Refused::TableFull)
    }

    pub(crate) fn map_one_to_one(&mut self, protocol: u8, inside: Endpoint, outside: u32) -> Option<u32> {
        let outside = Endpoint { addr: outside, port: inside.port };
        self.new_mapping(protocol, inside, outside, Origin::OneToOne, NIL)
    }

    fn new_mapping(
        &mut self,
        protocol: u8,
        inside: Endpoint,
        outside: Endpoint,
        origin: Origin,
        subscriber: u32,
    ) -> Option<u32> {
        let created = self.now_secs;
        let id = self.add_mapping(Mapping {
            inside,
            outside,
            sessions: 0,
            created,
            subscriber,
            protocol,
            origin,
            live: true,
        })?;
        self.totals.mappings_created += 1;
        if self.logs_mappings(origin) {
            self.note(Event::MappingCreated { protocol, inside, outside });
        }
        Some(id)
    }

    /// Puts a mapping into the table, and tells whose its port is.
    pub(crate) fn add_mapping(&mut self, mapping: Mapping) -> Option<u32> {
        let (protocol, outside, origin) = (mapping.protocol, mapping.outside, mapping.origin);
        let id = self.mappings.insert(mapping)?;
        if let Origin::Pool { pool, .. } = origin {
            self.pools[usize::from(pool)].mappings += 1;
        }
        if self.shared.contains(&outside.addr) {
            self.port_changes.push_back(PortChange { protocol, outside, held: true });
        }
        Some(id)
    }

    /// Mappings in blocks are covered by their block's line in the log, deterministic ones by arithmetic.
    pub(crate) fn logs_mappings(&self, origin: Origin) -> bool {
        match origin {
            Origin::Pool { pool, .. } => {
                matches!(self.pools[usize::from(pool)].config.allocation, Allocation::Random)
            }
            Origin::OneToOne | Origin::Forward => false,
        }
    }

    pub(crate) fn open_session(
        &mut self,
        mapping: u32,
        remote: Endpoint,
        direction: Direction,
        tcp: Option<Tcp>,
    ) -> Result<u32, Refused> {
        let m = self.mappings.slab.get(mapping);
        let (protocol, inside, outside) = (m.protocol, m.inside, m.outside);
        let state = match tcp {
            Some(t) if t.syn => TcpState::opened_by(direction),
            // In the middle of a connection: only static mappings come here without a SYN.
            _ => TcpState::Established,
        };
        let session = Session {
            inside,
            outside,
            remote,
            mapping,
            link: Link::NONE,
            refreshed: self.now_secs,
            created: self.now_secs,
            slot: 0,
            protocol,
            tcp: state,
            hairpin: self.is_outside_address(remote.addr),
            gateway: self.is_control(protocol, inside, remote),
            live: true,
        };
        let id = self.add_session(session)?;
        if self.config.gateways.tftp
            && direction == Direction::Out
            && protocol == protocol::UDP
            && remote.port == alg::TFTP
        {
            // The server answers from another port (RFC 1350 §4). Without room for it, the answer is as any other's.
            let _ = self.announce(mapping, remote.addr);
        }
        Ok(id)
    }

    /// Lets whatever `remote` sends from any port in through a mapping, for as long as a conversation without an answer
    /// lives.
    fn announce(&mut self, mapping: u32, remote: u32) -> Result<(), Refused> {
        let announced = Endpoint { addr: remote, port: 0 };
        let m = self.mappings.slab.get(mapping);
        let (protocol, inside) = (m.protocol, m.inside);
        let syn = (protocol == protocol::TCP).then_some(Tcp { syn: true, ..Tcp::default() });
        match self.sessions.outbound(&Flow { protocol, src: inside, dst: announced }) {
            Some(id) => self.see(id, Direction::Out, syn),
            None => {
                self.open_session(mapping, announced, Direction::Out, syn)?;
            }
        }
        Ok(())
    }

    /// Puts a session into the table, onto the wheel, and on its subscriber's account.
    pub(crate) fn add_session(&mut self, session: Session) -> Result<u32, Refused> {
        let (mapping, remote) = (session.mapping, session.remote);
        let m = self.mappings.slab.get(mapping);
        let (subscriber, origin) = (m.subscriber, m.origin);
        if subscriber != NIL
            && self.config.limits.sessions_per_subscriber <= self.subscribers.slab.get(subscriber).sessions
        {
            return Err(Refused::SubscriberSessions);
        }
        let gateway = session.gateway;
        let id = self.sessions.insert(session).ok_or(Refused::TableFull)?;
        if gateway {
            self.controls.insert(id, Control::default());
        }
        let deadline = self.deadline(id);
        let slot = self.wheel.insert(&mut self.sessions.slab, id, deadline);
        self.sessions.slab.get_mut(id).slot = slot;
        self.mappings.slab.get_mut(mapping).sessions += 1;
        if subscriber != NIL {
            self.subscribers.slab.get_mut(subscriber).sessions += 1;
        }
        if let Origin::Pool { pool, .. } = origin {
            self.pools[usize::from(pool)].sessions += 1;
        }
        if self.filtering(mapping) == Filtering::AddressDependent {
            self.permissions.add(mapping, remote.addr);
        }
        self.totals.sessions_created += 1;
        Ok(id)
    }
}
