//! The api socket: control's requests carried out, everybody's questions answered. The only room that knows the
//! messages of `millrace-api`.
//!
//! Any number of peers (up to [`MAX_PEERS`]) may ask. The first that changes something is the writer until its
//! connection ends; others are told so. A peer that sends what is no request is dropped, and nothing else happens.

mod connection;
mod explain;
mod report;

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;

#[cfg(test)]
pub(crate) use millrace_api::Express;
pub(crate) use millrace_api::{
    Acl, AclAction, AclRule, CaptureOrder, DataplaneConfig, FlowHash, Forwarding, Fragments, IcmpSource,
    InterfaceConfig, Mode, MssClamp, NatRole, OnFailure, Police, Queues, Scheduling, Urpf,
};
use millrace_api::{
    Member, NexthopKind, Op, Query, Refusal, RefusalReason, Reply, ReplyBody, Request, RequestBody, VERSION,
};
use millrace_fib as fib;
use rustix::event::{PollFd, PollFlags};

use crate::clock;
use crate::dataplane::Dataplane;
use crate::nat;
use crate::router::Router;
use crate::tables::{GroupKey, Kind};
use connection::{Connection, Ended};

/// Connections at a time: control, the CLI's doctor, a few more.
const MAX_PEERS: usize = 32;
/// Members a group can have, and the weight of one.
const MEMBERS: std::ops::RangeInclusive<usize> = 1..=64;
const WEIGHTS: std::ops::RangeInclusive<u16> = 1..=256;

/// A peer and what it has said.
#[derive(Debug)]
struct Peer {
    connection: Connection,
    id: u64,
    /// Of its last batch; generations do not decrease on one connection.
    generation: u64,
}

#[derive(Debug)]
pub(crate) struct ControlLink {
    /// Differs after every start.
    instance: u64,
    peers: Vec<Peer>,
    /// The peer that changes things.
    writer: Option<u64>,
    next_id: u64,
}

impl ControlLink {
    pub(crate) fn new(instance: u64) -> Self {
        Self { instance, peers: Vec::new(), writer: None, next_id: 0 }
    }

    /// What to wait for.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.peers.iter().map(|Peer { connection, .. }| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, connection.wants_read());
            flags.set(PollFlags::OUT, connection.wants_write());
            let fd: BorrowedFd<'_> = connection.fd();
            PollFd::from_borrowed_fd(fd, flags)
        })
    }

    /// Admits who knocks, and gives every peer a turn.
    pub(crate) fn serve(&mut self, listener: &UnixListener, dataplane: &mut Dataplane) {
        self.admit(listener);
        for mut peer in std::mem::take(&mut self.peers) {
            match self.turn(&mut peer, dataplane) {
                Ok(()) => self.peers.push(peer),
                Err(ended) => self.dismiss(&peer, &ended, dataplane),
            }
        }
    }

    fn admit(&mut self, listener: &UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if MAX_PEERS <= self.peers.len() {
                tracing::warn!(max = MAX_PEERS, "a connection is refused: too many are open");
                continue;
            }
            match Connection::new(stream) {
                Ok(connection) => {
                    let id = self.next_id;
                    self.next_id += 1;
                    tracing::debug!(connection = id, "connection opened");
                    self.peers.push(Peer { connection, id, generation: 0 });
                }
                Err(error) => tracing::warn!(%error, "a connection is refused"),
            }
        }
    }

    fn dismiss(&mut self, peer: &Peer, ended: &Ended, dataplane: &mut Dataplane) {
        match ended {
            Ended::Closed => tracing::debug!(connection = peer.id, "connection closed"),
            Ended::Io(_) | Ended::Garbled(_) | Ended::Unanswerable(_) => {
                tracing::warn!(connection = peer.id, reason = %ended, "connection dropped");
            }
        }
        if self.writer == Some(peer.id) {
            self.writer = None;
            if let Some(router) = &mut dataplane.router {
                router.tables.resync_abandon();
                tracing::info!("control is away; forwarding goes on with what is there");
            }
        }
    }

    fn turn(&mut self, peer: &mut Peer, dataplane: &mut Dataplane) -> Result<(), Ended> {
        let filled = peer.connection.fill();
        while let Some(Request { seq, body }) = peer.connection.request()? {
            let body = self.answer(peer, body, dataplane);
            dataplane.follow_up();
            peer.connection.reply(&Reply { seq, body })?;
        }
        peer.connection.flush()?;
        filled
    }

    fn answer(&mut self, peer: &mut Peer, body: RequestBody, dataplane: &mut Dataplane) -> ReplyBody {
        if let RequestBody::Hello { version } = body {
            return self.hello(peer, version);
        }
        if !peer.connection.greeted {
            return error("the first message is Hello");
        }
        if let RequestBody::Query(query) = body {
            return answer_query(query, dataplane);
        }
        if *self.writer.get_or_insert(peer.id) != peer.id {
            return error("another connection is in control; only queries are answered here");
        }
        match body {
            RequestBody::Configure(config) => match dataplane.configure(*config) {
                Ok(configured) => ReplyBody::Configured { restart: configured.restart },
                Err(refused) => {
                    tracing::error!(reason = %refused, "a configuration is refused");
                    ReplyBody::ConfigRefused { reason: refused.to_string() }
                }
            },
            RequestBody::ResyncBegin { generation } => with_router(dataplane, |router| {
                router.tables.resync_begin(generation);
                ReplyBody::ResyncBegun { generation }
            }),
            RequestBody::ResyncEnd { generation } => {
                with_router(dataplane, |router| match router.tables.resync_end(generation) {
                    Some(swept) => {
                        tracing::info!(generation, swept, "resynchronised with control");
                        ReplyBody::ResyncEnded { generation, swept: u32::try_from(swept).unwrap_or(u32::MAX) }
                    }
                    None => error(&format!("no resynchronisation of generation {generation} was begun")),
                })
            }
            RequestBody::Batch { generation, ops } => {
                if generation < peer.generation {
                    return error(&format!(
                        "generation {generation} after {}: they never decrease",
                        peer.generation
                    ));
                }
                peer.generation = generation;
                batch(dataplane, generation, ops)
            }
            RequestBody::Hello { .. } | RequestBody::Query(_) => error("answered above"),
        }
    }

    fn hello(&self, peer: &mut Peer, version: u32) -> ReplyBody {
        if version != VERSION {
            peer.connection.close();
            return error(&format!(
                "the peer speaks version {version} of the protocol, this dataplane {VERSION}"
            ));
        }
        peer.connection.greeted = true;
        ReplyBody::Hello {
            version: VERSION,
            instance: self.instance,
            build: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
        }
    }

    /// Tries to write what is still unsent; for the end of the process.
    pub(crate) fn farewell(&mut self) {
        for peer in &mut self.peers {
            let _ = peer.connection.flush();
        }
    }
}

fn error(reason: &str) -> ReplyBody {
    ReplyBody::Error { reason: reason.into() }
}

fn with_router(dataplane: &mut Dataplane, answer: impl FnOnce(&mut Router) -> ReplyBody) -> ReplyBody {
    match &mut dataplane.router {
        Some(router) => answer(router),
        None => error("nothing is configured yet: Configure comes first"),
    }
}

fn answer_query(query: Query, dataplane: &mut Dataplane) -> ReplyBody {
    if let Query::CaptureStart(order) = &query {
        return match dataplane.capture_start(order) {
            Ok(id) => ReplyBody::CaptureStarted { id },
            Err(reason) => ReplyBody::Error { reason },
        };
    }
    if let Query::CaptureStop { id } = query {
        dataplane.capture_stop(id);
        return ReplyBody::CaptureStopped;
    }
    with_router(dataplane, |router| match query {
        Query::CaptureStart(_) | Query::CaptureStop { .. } => error("answered above"),
        Query::Captured { id, max } => match report::captured(router, clock::now(), id, max) {
            Some(captured) => ReplyBody::Captured(captured),
            None => error("that capture has ended: nobody asked for what it had taken"),
        },
        Query::Interfaces => ReplyBody::Interfaces(report::interfaces(router)),
        Query::Counters => ReplyBody::Counters(report::counters(router)),
        Query::Workers => ReplyBody::Workers(report::workers(router)),
        Query::Neighbors => ReplyBody::Neighbors(report::neighbors(router, clock::now())),
        Query::Explain(query) => match explain::explain(router, clock::now(), &query) {
            Ok(said) => ReplyBody::Explained(Box::new(said)),
            Err(why) => error(&why),
        },
        Query::Acls => ReplyBody::Acls(report::acls(router)),
        Query::Nexthops => ReplyBody::Nexthops(report::nexthops(router)),
        Query::Fib { address } => ReplyBody::Fib(report::fib(router, address)),
        Query::FibRoutes { after, limit } => ReplyBody::FibRoutes(report::fib_routes(router, after, limit)),
        Query::NatStats => ReplyBody::NatStats(nat::report::stats(&router.nat, &router.crew)),
        Query::NatPools => ReplyBody::NatPools(nat::report::pools(&router.nat, &router.crew)),
        Query::NatSessions { filter, from, limit } => {
            ReplyBody::NatSessions(nat::report::sessions(&router.crew, filter, from, limit))
        }
        Query::NatMappings { filter, from, limit } => {
            ReplyBody::NatMappings(nat::report::mappings(&router.nat, &router.crew, filter, from, limit))
        }
        Query::NatSubscribers { limit } => {
            ReplyBody::NatSubscribers(nat::report::subscribers(&router.crew, limit))
        }
        Query::NatDeterministic(question) => nat::report::deterministic(&router.crew, question),
        Query::NatClear { filter } => nat::report::clear(&router.crew, &filter),
    })
}

/// Carries out the operations in order. Those that cannot be are named; the others are in force when this returns.
fn batch(dataplane: &mut Dataplane, generation: u64, ops: Vec<Op>) -> ReplyBody {
    if ops.iter().any(|op| matches!(op, Op::NexthopUpsert { .. })) {
        // Control may know of a device that the kernel has told us of and we have not read.
        if let Err(reason) = dataplane.hear_kernel() {
            tracing::error!(%reason, "the kernel's news cannot be read");
        }
    }
    with_router(dataplane, |router| {
        let mut refused = Vec::new();
        let mut applied = 0;
        for (index, op) in (0..).zip(ops) {
            match apply(router, op) {
                Ok(()) => applied += 1,
                Err(reason) => refused.push(Refusal { op: index, reason }),
            }
        }
        router.tables.set_generation(generation);
        if let Some(first) = refused.first() {
            tracing::warn!(generation, refused = refused.len(), first = %first.reason, "operations refused");
        }
        ReplyBody::Ack { generation, applied, refused }
    })
}

fn apply(router: &mut Router, op: Op) -> Result<(), RefusalReason> {
    match op {
        Op::NexthopUpsert { id, kind } => {
            let kind = kind_of(router, kind)?;
            router.tables.group_upsert(clock::now(), GroupKey(id.0), kind).map_err(reason_of)
        }
        Op::NexthopRemove { id } => router.tables.group_remove(GroupKey(id.0)).map_err(reason_of),
        Op::RouteUpsert { prefix, nexthop } => {
            router.tables.route_upsert(prefix, GroupKey(nexthop.0)).map_err(reason_of)
        }
        Op::RouteRemove { prefix } => {
            router.tables.route_remove(prefix);
            Ok(())
        }
    }
}

/// The group in terms of ports.
fn kind_of(router: &Router, kind: NexthopKind) -> Result<Kind, RefusalReason> {
    let port = |ifindex| router.ports.by_ifindex(ifindex).ok_or(RefusalReason::UnknownInterface);
    Ok(match kind {
        NexthopKind::Forward(members) => {
            let in_range = |member: &Member| WEIGHTS.contains(&member.weight);
            if !MEMBERS.contains(&members.len()) || !members.iter().all(in_range) {
                return Err(RefusalReason::BadMembers);
            }
            let member =
                |member: &Member| Ok(((port(member.via.ifindex)?, member.via.gateway), member.weight));
            Kind::Forward(members.iter().map(member).collect::<Result<_, _>>()?)
        }
        NexthopKind::Glean { ifindex } => Kind::Glean(port(ifindex)?),
        NexthopKind::Local => Kind::Local,
        NexthopKind::Blackhole => Kind::Blackhole,
        NexthopKind::Unreachable => Kind::Unreachable,
        NexthopKind::Prohibit => Kind::Prohibit,
    })
}

fn reason_of(refusal: fib::Refusal) -> RefusalReason {
    match refusal {
        fib::Refusal::GroupsExhausted => RefusalReason::GroupsExhausted,
        fib::Refusal::Tbl8Exhausted => RefusalReason::Tbl8Exhausted,
        fib::Refusal::AdjacenciesExhausted
        | fib::Refusal::NeighborsExhausted
        | fib::Refusal::UnknownAdjacency => RefusalReason::AdjacenciesExhausted,
        fib::Refusal::BucketsExhausted => RefusalReason::BucketsExhausted,
        fib::Refusal::UnknownGroup => RefusalReason::UnknownNexthop,
        fib::Refusal::UnknownPort => RefusalReason::UnknownInterface,
        fib::Refusal::BadMembers => RefusalReason::BadMembers,
        fib::Refusal::GroupInUse => RefusalReason::NexthopInUse,
    }
}
