//! A neighbour, and its state machine. RFC 2328 §10.1 to §10.4.
//!
//! ```text
//!   Down ─▶ Attempt ─▶ Init ─▶ 2-Way ─▶ ExStart ─▶ Exchange ─▶ Loading ─▶ Full
//!           (NBMA)     heard   heard    who leads  headers     requests   the same
//!                              us       the talk   are told    answered   database
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

use millrace_proto::Instant;
use serde::{Deserialize, Serialize};

use crate::link::LinkId;
use crate::wire::{Description, Lsa, LsaHeader, LsaKey, Options, RouterId};

/// Neighbours are told apart by their address where many can be on a link, by their router id where there is one only
/// (RFC 2328 §10.5): either way the number of octets is the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct NeighborId {
    pub(crate) link: LinkId,
    pub(crate) key: Ipv4Addr,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighborState {
    Down,
    Attempt,
    Init,
    #[serde(rename = "2-way")]
    TwoWay,
    #[serde(rename = "exstart")]
    ExStart,
    Exchange,
    Loading,
    Full,
}

/// RFC 2328 §10.2
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NeighborEvent {
    HelloReceived,
    /// NBMA: hellos are to be sent there.
    Start,
    /// It hears us.
    TwoWayReceived,
    NegotiationDone,
    ExchangeDone,
    BadRequest,
    LoadingDone,
    /// Roles on the link have changed.
    AdjacencyQuestion,
    SequenceMismatch,
    /// It does not hear us.
    OneWay,
    /// It can not be reached.
    Kill,
    /// Silent for the dead interval.
    Inactivity,
    LinkDown,
}

impl NeighborState {
    pub const ALL: [Self; 8] = [
        Self::Down,
        Self::Attempt,
        Self::Init,
        Self::TwoWay,
        Self::ExStart,
        Self::Exchange,
        Self::Loading,
        Self::Full,
    ];

    /// As operators know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Attempt => "attempt",
            Self::Init => "init",
            Self::TwoWay => "2-way",
            Self::ExStart => "exstart",
            Self::Exchange => "exchange",
            Self::Loading => "loading",
            Self::Full => "full",
        }
    }
}

impl NeighborEvent {
    pub const ALL: [Self; 13] = [
        Self::HelloReceived,
        Self::Start,
        Self::TwoWayReceived,
        Self::NegotiationDone,
        Self::ExchangeDone,
        Self::BadRequest,
        Self::LoadingDone,
        Self::AdjacencyQuestion,
        Self::SequenceMismatch,
        Self::OneWay,
        Self::Kill,
        Self::Inactivity,
        Self::LinkDown,
    ];
}

/// What decides where a transition leads, besides state and event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// RFC 2328 §10.4
    pub adjacency_wanted: bool,
    /// The request list is not empty.
    pub requests_left: bool,
}

/// The state after `event`; None where it means nothing in `state`. RFC 2328 §10.3.
pub fn transition(state: NeighborState, event: NeighborEvent, facts: Facts) -> Option<NeighborState> {
    use NeighborEvent as E;
    use NeighborState as S;
    let meet = if facts.adjacency_wanted { S::ExStart } else { S::TwoWay };
    let load = if facts.requests_left { S::Loading } else { S::Full };
    match (event, state) {
        (E::Start, S::Down) => Some(S::Attempt),
        (E::HelloReceived, S::Down | S::Attempt) => Some(S::Init),
        (E::HelloReceived, _) => Some(state),
        (E::TwoWayReceived, S::Init) => Some(meet),
        (E::TwoWayReceived, S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full) => Some(state),
        (E::NegotiationDone, S::ExStart) => Some(S::Exchange),
        (E::ExchangeDone, S::Exchange) => Some(load),
        (E::LoadingDone, S::Loading) => Some(S::Full),
        (E::AdjacencyQuestion, S::TwoWay) => Some(meet),
        (E::AdjacencyQuestion, S::ExStart | S::Exchange | S::Loading | S::Full) => {
            Some(if facts.adjacency_wanted { state } else { S::TwoWay })
        }
        (E::SequenceMismatch | E::BadRequest, S::Exchange | S::Loading | S::Full) => Some(S::ExStart),
        (E::OneWay, S::TwoWay | S::ExStart | S::Exchange | S::Loading | S::Full) => Some(S::Init),
        (E::OneWay, S::Init) => Some(state),
        (E::Kill | E::Inactivity | E::LinkDown, _) => Some(S::Down),
        (
            E::Start
            | E::TwoWayReceived
            | E::NegotiationDone
            | E::ExchangeDone
            | E::LoadingDone
            | E::AdjacencyQuestion
            | E::SequenceMismatch
            | E::BadRequest
            | E::OneWay,
            _,
        ) => None,
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Neighbor {
    pub(crate) router: RouterId,
    /// Where packets to it go.
    pub(crate) address: Ipv4Addr,
    pub(crate) state: NeighborState,
    pub(crate) since: Instant,
    pub(crate) priority: u8,
    pub(crate) designated: Ipv4Addr,
    pub(crate) backup: Ipv4Addr,
    pub(crate) options: Options,
    /// Of the last authenticated packet.
    pub(crate) auth_sequence: Option<u32>,
    /// Whether this router leads the exchange of descriptions.
    pub(crate) master: bool,
    pub(crate) dd_sequence: u32,
    pub(crate) last_received: Option<DescriptionMark>,
    pub(crate) last_sent: Option<Description>,
    /// It has begun the exchange before this router knew that there is to be one, and when.
    pub(crate) early: Option<(Description, Instant)>,
    /// Headers still to be told.
    pub(crate) summary: VecDeque<LsaKey>,
    /// What it has and this router wants.
    pub(crate) requests: BTreeMap<LsaKey, LsaHeader>,
    /// Those asked for and not answered yet.
    pub(crate) asked: BTreeSet<LsaKey>,
    /// What it has not acknowledged, and when it was last sent.
    pub(crate) unacknowledged: BTreeMap<LsaKey, (Lsa, Instant)>,
    pub(crate) retransmissions: u64,
    /// How often it left Full.
    pub(crate) losses: u64,
    /// A BFD session was asked for.
    pub(crate) bfd: bool,
    /// It restarts and keeps forwarding; until then it counts as Full (RFC 3623 §3).
    pub(crate) helped_until: Option<Instant>,
}

/// What tells a description from the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescriptionMark {
    pub(crate) init: bool,
    pub(crate) more: bool,
    pub(crate) master: bool,
    pub(crate) options: Options,
    pub(crate) sequence: u32,
}

impl DescriptionMark {
    pub(crate) const fn of(description: &Description) -> Self {
        Self {
            init: description.init,
            more: description.more,
            master: description.master,
            options: description.options,
            sequence: description.sequence,
        }
    }
}

impl Neighbor {
    pub(crate) fn new(now: Instant, router: RouterId, address: Ipv4Addr) -> Self {
        Self {
            router,
            address,
            state: NeighborState::Down,
            since: now,
            priority: 0,
            designated: Ipv4Addr::UNSPECIFIED,
            backup: Ipv4Addr::UNSPECIFIED,
            options: Options::default(),
            auth_sequence: None,
            master: false,
            dd_sequence: 0,
            last_received: None,
            last_sent: None,
            early: None,
            summary: VecDeque::new(),
            requests: BTreeMap::new(),
            asked: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            retransmissions: 0,
            losses: 0,
            bfd: false,
            helped_until: None,
        }
    }

    /// Counts in LSAs of this router: the databases agree, or did before it restarted.
    pub(crate) fn is_adjacent(&self) -> bool {
        self.state == NeighborState::Full || self.helped_until.is_some()
    }

    /// Takes part in flooding.
    pub(crate) fn floods(&self) -> bool {
        NeighborState::Exchange <= self.state
    }

    /// Forgets what was agreed on. RFC 2328 §10.3, wherever an adjacency breaks.
    pub(crate) fn clear_lists(&mut self) {
        self.summary.clear();
        self.requests.clear();
        self.asked.clear();
        self.unacknowledged.clear();
        self.last_received = None;
        self.last_sent = None;
    }
}
