//! A neighbour: its configuration, its connections, and what was agreed with it.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::Instant;
use serde::Serialize;

use crate::config::{Config, PeerConfig};
use crate::machine::ConnId;
use crate::stats::PeerStats;
use crate::wire::{Capabilities, Family, Open, UpdateContext};

/// RFC 4271 §8.2.2, of the connection that has come furthest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
pub enum State {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

impl State {
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Connect, Self::Active, Self::OpenSent, Self::OpenConfirm, Self::Established];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Connect => "Connect",
            Self::Active => "Active",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

/// What a peer is to us. RFC 4271 §1.1, RFC 5065 §2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    External,
    Internal,
    /// Another AS of our confederation.
    Confederation,
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: Ipv4Addr,
    pub(crate) config: PeerConfig,
    pub(crate) kind: PeerKind,
    /// Taken because of a range, and forgotten with its session.
    pub(crate) dynamic: bool,
    /// Without a connection: Idle, Connect (the shell is connecting) or Active (waiting).
    pub(crate) waiting: State,
    /// Two at most, while it is not decided which one stays.
    pub(crate) conns: Vec<Conn>,
    /// Idle for a reason: nobody may call.
    pub(crate) held: bool,
    /// Of the established session.
    pub(crate) agreed: Option<Agreed>,
    /// How long the next failure keeps it idle.
    pub(crate) idle_hold: Duration,
    pub(crate) last_down: Option<(Instant, String)>,
    /// What became of the last attempt to have a session.
    pub(crate) attempt: Option<String>,
    pub(crate) up_since: Option<Instant>,
    /// Counts sessions; paths remember theirs.
    pub(crate) epoch: u8,
    /// Paths of an epoch before are kept until the peer has told everything again.
    pub(crate) stale: bool,
    /// Everything the peer knows has come.
    pub(crate) end_of_rib: bool,
    /// Paths, and those that the policy takes.
    pub(crate) received: u32,
    pub(crate) accepted: u32,
    pub(crate) warned: bool,
    pub(crate) watched: bool,
    pub(crate) group: Option<u8>,
    pub(crate) stats: PeerStats,
}

#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    /// We called.
    pub(crate) outgoing: bool,
    pub(crate) stage: Stage,
    pub(crate) local: Ipv4Addr,
    /// The peer's OPEN.
    pub(crate) open: Option<Open>,
    /// What has come and is no whole message yet.
    pub(crate) inbox: Vec<u8>,
    pub(crate) extended: bool,
    /// Agreed, or the long one before. Zero: for ever.
    pub(crate) hold: Duration,
    pub(crate) heard: Instant,
    /// Octets the kernel has not taken.
    pub(crate) outstanding: usize,
    pub(crate) progress: Instant,
}

/// RFC 4271 §8.2.2, of one connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Our OPEN waits for the peer's (RFC 4271 §8.1.1, DelayOpen).
    Delayed,
    OpenSent,
    OpenConfirm,
    Established,
}

/// What holds for a session.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) conn: ConnId,
    pub(crate) local: Ipv4Addr,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) hold: Duration,
    pub(crate) keepalive: Duration,
    pub(crate) as4: bool,
    pub(crate) extended: bool,
    pub(crate) add_path_receive: bool,
    pub(crate) capabilities: Capabilities,
}

impl Agreed {
    /// Whether the peer keeps its forwarding state over a restart, so that we keep its routes (RFC 4724 §4.2).
    pub(crate) fn restart_secs(&self) -> Option<u16> {
        let restart = self.capabilities.graceful_restart.as_ref()?;
        restart.families.iter().any(|(family, _)| *family == Family::IPV4).then_some(restart.time)
    }

    /// RFC 8538 §4: a NOTIFICATION does not end graceful restart.
    pub(crate) fn survives_notification(&self) -> bool {
        self.capabilities.graceful_restart.as_ref().is_some_and(|restart| restart.notification)
    }
}

impl Peer {
    pub(crate) fn new(address: Ipv4Addr, config: PeerConfig, kind: PeerKind, dynamic: bool) -> Self {
        Self {
            address,
            config,
            kind,
            dynamic,
            waiting: State::Idle,
            conns: Vec::new(),
            held: false,
            agreed: None,
            idle_hold: Duration::ZERO,
            last_down: None,
            attempt: None,
            up_since: None,
            epoch: 0,
            stale: false,
            end_of_rib: false,
            received: 0,
            accepted: 0,
            warned: false,
            watched: false,
            group: None,
            stats: PeerStats::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        let furthest = self.conns.iter().map(|conn| conn.stage).max();
        match furthest {
            None => self.waiting,
            Some(Stage::Delayed) => State::Active,
            Some(Stage::OpenSent) => State::OpenSent,
            Some(Stage::OpenConfirm) => State::OpenConfirm,
            Some(Stage::Established) => State::Established,
        }
    }

    pub(crate) fn conn(&self, id: ConnId) -> Option<&Conn> {
        self.conns.iter().find(|conn| conn.id == id)
    }

    pub(crate) fn conn_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|conn| conn.id == id)
    }

    /// The connection routes go over.
    pub(crate) fn session(&self) -> Option<&Conn> {
        self.conn(self.agreed.as_ref()?.conn)
    }

    pub(crate) fn update_context(&self) -> UpdateContext {
        UpdateContext {
            as4: self.agreed.as_ref().is_some_and(|agreed| agreed.as4),
            external: self.kind != PeerKind::Internal,
            confederation: self.kind == PeerKind::Confederation,
            add_path: self.agreed.as_ref().is_some_and(|agreed| agreed.add_path_receive),
            add_path_v6: false,
        }
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.config.shutdown.is_some()
    }
}

impl PeerKind {
    pub(crate) fn of(config: &Config, peer: &PeerConfig) -> Self {
        if peer.asn == config.asn {
            return Self::Internal;
        }
        match &config.confederation {
            Some(confederation) if confederation.members.contains(&peer.asn) => Self::Confederation,
            Some(_) | None => Self::External,
        }
    }
}
