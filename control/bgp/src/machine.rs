//! The BGP process as a [`Machine`]. What goes in and out, and what happens when; how is in the other rooms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_net::Prefix;
use millrace_policy::{Community, Protocol};
use millrace_proto::{IfIndex, Instant, Interface, InterfaceEvent, Machine, NextHop, Rng, Timers, WallClock};
use serde::{Deserialize, Serialize};

use crate::attrs::Interner;
use crate::config::Config;
use crate::groups::Groups;
use crate::import::Memo;
use crate::local::Own;
use crate::nexthops::NextHops;
use crate::peer::Peer;
use crate::table::{PeerIx, Table};
use crate::walk::Job;

/// The shell's number of a TCP connection; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConnId(pub u64);

/// What the shell tells BGP.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Input {
    /// The whole configuration; an equal one changes nothing.
    Configure(Box<Config>),
    /// A connection that [`Output::Connect`] asked for. `local` is the address of our end.
    Connected {
        peer: Ipv4Addr,
        conn: ConnId,
        local: Ipv4Addr,
    },
    ConnectFailed {
        peer: Ipv4Addr,
        reason: String,
    },
    /// Somebody called.
    Accepted {
        conn: ConnId,
        peer: Ipv4Addr,
        local: Ipv4Addr,
    },
    /// Octets as they came; a message may be spread over several.
    Data {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    /// The connection is gone; unknown ones are fine.
    Closed {
        conn: ConnId,
        reason: String,
    },
    /// So much of what was sent has been taken by the kernel.
    Written {
        conn: ConnId,
        octets: usize,
    },
    /// How far a next hop is, or that nothing leads to it. Whole states.
    NextHop {
        address: Ipv4Addr,
        metric: Option<u32>,
    },
    /// Interfaces: their addresses, and whether frames pass.
    Interface(InterfaceEvent),
    /// The calendar, of which nothing here depends.
    Clock(WallClock),
    /// A route of another protocol that is to be announced. Whole states.
    Redistribute(Redistributed),
    /// It is not to be announced; absent is fine.
    Withdraw(Prefix),
    /// The forwarding table has all routes up to this batch.
    FibAcked(u64),
    /// An operator's wish: of one peer, or of all.
    Clear {
        peer: Option<Ipv4Addr>,
        how: Clear,
    },
    /// BFD says that a peer cannot be reached.
    PeerDown(Ipv4Addr),
    /// The process ends: peers are told.
    Shutdown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Clear {
    /// The session begins anew.
    Hard,
    /// The import policy is applied to everything again, and the peer asked for its routes.
    SoftIn,
    /// Everything is sent again.
    SoftOut,
}

/// A route of another protocol, as policy left it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redistributed {
    pub prefix: Prefix,
    /// Whose it is.
    pub protocol: Protocol,
    pub med: Option<u32>,
    pub local_pref: Option<u32>,
    pub communities: Vec<Community>,
}

/// What BGP asks of the shell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Open a connection; [`Input::Connected`] or [`Input::ConnectFailed`] answers.
    Connect(Connect),
    /// The connection asked for is not wanted any more.
    CancelConnect {
        peer: Ipv4Addr,
    },
    Send {
        conn: ConnId,
        bytes: Vec<u8>,
    },
    /// After everything sent so far.
    Close {
        conn: ConnId,
    },
    /// Best routes that changed, for the routing table; [`Input::FibAcked`] answers with the number.
    Routes {
        batch: u64,
        routes: Vec<BestRoute>,
    },
    /// Follow a next hop, or stop; [`Input::NextHop`] answers.
    Track {
        address: Ipv4Addr,
        wanted: bool,
    },
    /// Watch a peer by BFD, or stop.
    Bfd {
        peer: Ipv4Addr,
        local: Ipv4Addr,
        wanted: bool,
    },
    /// Everybody has told what he knows after a restart of ours: what nobody told can go.
    Converged,
    Notice(Notice),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Connect {
    pub peer: Ipv4Addr,
    pub port: u16,
    pub local: Option<Ipv4Addr>,
    /// Of what is sent.
    pub ttl: u8,
}

/// The best route to a prefix, or the end of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BestRoute {
    pub prefix: Prefix,
    pub route: Option<Forwarding>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forwarding {
    /// Empty: packets are dropped, as for an aggregate.
    pub next_hops: Arc<[NextHop]>,
    pub external: bool,
    /// The MED.
    pub metric: u32,
}

/// What an operator may want to know. The shell logs it, at its own rate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Notice {
    #[error("neighbour {peer}: established")]
    Up { peer: Ipv4Addr },
    #[error("neighbour {peer}: down: {reason}")]
    Down { peer: Ipv4Addr, reason: String },
    #[error(
        "neighbour {peer}: UPDATE with a malformed attribute {code}: its routes are withdrawn (RFC 7606)"
    )]
    TreatedAsWithdraw { peer: Ipv4Addr, code: u8 },
    #[error("neighbour {peer}: {received} prefixes, of {limit} at most")]
    ManyPrefixes { peer: Ipv4Addr, received: u32, limit: u32 },
    #[error("{peer} called, and is no neighbour here")]
    Stranger { peer: Ipv4Addr },
    #[error("more than {limit} different ways to announce: neighbour {peer} is told nothing")]
    TooManyGroups { peer: Ipv4Addr, limit: usize },
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    ConnectRetry(PeerIx),
    IdleHold(PeerIx),
    DelayOpen(PeerIx, ConnId),
    Hold(PeerIx, ConnId),
    Keepalive(PeerIx, ConnId),
    SendHold(PeerIx, ConnId),
    /// What a peer had said before it went away is forgotten.
    Stale(PeerIx),
    /// A group may send again.
    Advertise(u8),
    /// A restarted router waits no longer.
    Defer,
}

impl Timer {
    const fn name(self) -> &'static str {
        match self {
            Self::ConnectRetry(_) => "bgp: connect retry",
            Self::IdleHold(_) => "bgp: idle hold",
            Self::DelayOpen(..) => "bgp: delay open",
            Self::Hold(..) => "bgp: hold",
            Self::Keepalive(..) => "bgp: keepalive",
            Self::SendHold(..) => "bgp: send hold",
            Self::Stale(_) => "bgp: stale routes",
            Self::Advertise(_) => "bgp: advertisement interval",
            Self::Defer => "bgp: deferred selection",
        }
    }
}

/// The process. It starts without configuration.
#[derive(Clone, Debug)]
pub struct Bgp {
    pub(crate) config: Config,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) interfaces: BTreeMap<IfIndex, Interface>,
    pub(crate) peers: Vec<Option<Peer>>,
    pub(crate) by_address: BTreeMap<Ipv4Addr, PeerIx>,
    pub(crate) by_conn: BTreeMap<ConnId, PeerIx>,
    pub(crate) attrs: Interner,
    pub(crate) table: Table,
    pub(crate) next_hops: NextHops,
    pub(crate) own: Own,
    pub(crate) groups: Groups,
    pub(crate) memo: Memo,
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) timers: Timers<Timer>,
    pub(crate) rng: Rng,
    /// False while a restarted router waits for what its peers have to say.
    pub(crate) converged: bool,
    pub(crate) routes: Vec<BestRoute>,
    /// The number of the batch of routes being gathered.
    pub(crate) batch: u64,
    pub(crate) acked: u64,
    /// Aggregates whose parts have changed.
    pub(crate) stale_aggregates: BTreeSet<Prefix>,
    pub(crate) outputs: VecDeque<Output>,
}

/// Routes of one output at most.
const BATCH: usize = 4096;

impl Bgp {
    /// `restarted`: the forwarding table still has what a process before this one put there.
    pub fn new(seed: u64, restarted: bool) -> Self {
        Self {
            config: Config::default(),
            router_id: Ipv4Addr::UNSPECIFIED,
            interfaces: BTreeMap::new(),
            peers: Vec::new(),
            by_address: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            attrs: Interner::default(),
            table: Table::default(),
            next_hops: NextHops::default(),
            own: Own::default(),
            groups: Groups::default(),
            memo: Memo::default(),
            jobs: VecDeque::new(),
            timers: Timers::new(),
            rng: Rng::new(seed),
            converged: !restarted,
            routes: Vec::new(),
            batch: 1,
            acked: 0,
            stale_aggregates: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn peer(&self, ix: PeerIx) -> Option<&Peer> {
        self.peers.get(usize::from(ix.0))?.as_ref()
    }

    pub(crate) fn peer_mut(&mut self, ix: PeerIx) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(ix.0))?.as_mut()
    }

    pub(crate) fn indexes(&self) -> Vec<PeerIx> {
        self.by_address.values().copied().collect()
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    /// A route for the routing table, numbered so that its acknowledgement can be waited for.
    pub(crate) fn push_route(&mut self, route: BestRoute) {
        self.routes.push(route);
        if BATCH <= self.routes.len() {
            self.flush_routes();
        }
    }

    pub(crate) fn flush_routes(&mut self) {
        if !self.routes.is_empty() {
            let routes = std::mem::take(&mut self.routes);
            self.outputs.push_back(Output::Routes { batch: self.batch, routes });
            self.batch += 1;
        }
    }

    fn clear(&mut self, now: Instant, peer: Option<Ipv4Addr>, how: Clear) {
        let of = |bgp: &Self| match peer {
            Some(address) => bgp.by_address.get(&address).copied().into_iter().collect(),
            None => bgp.indexes(),
        };
        for ix in of(self) {
            match how {
                Clear::Hard => self.reset_by_operator(now, ix),
                Clear::SoftIn => {
                    self.queue(Job::reimport(ix));
                    self.ask_for_refresh(now, ix);
                }
                Clear::SoftOut => self.send_everything(ix),
            }
        }
    }

    /// What follows from any call.
    fn settle(&mut self, now: Instant) {
        self.update_aggregates(now);
        self.flush_routes();
    }
}

impl Machine for Bgp {
    type Input = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Configure(config) => self.configure(now, *config),
            Input::Connected { peer, conn, local } => self.connected(now, peer, conn, local),
            Input::ConnectFailed { peer, reason } => self.connect_failed(now, peer, reason),
            Input::Accepted { conn, peer, local } => self.accepted(now, conn, peer, local),
            Input::Data { conn, bytes } => self.receive(now, conn, &bytes),
            Input::Closed { conn, reason } => self.closed(now, conn, reason),
            Input::Written { conn, octets } => self.written(now, conn, octets),
            Input::NextHop { address, metric } => {
                if self.next_hops.set(address, metric) {
                    self.queue(Job::reselect());
                }
            }
            Input::Interface(event) => self.interface(now, event),
            Input::Clock(_) => {}
            Input::Redistribute(route) => self.redistribute(now, route),
            Input::Withdraw(prefix) => self.withdraw_redistributed(prefix),
            Input::FibAcked(batch) => self.acked = self.acked.max(batch),
            Input::Clear { peer, how } => self.clear(now, peer, how),
            Input::PeerDown(address) => self.bfd_down(now, address),
            Input::Shutdown => self.shut_down(now),
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::ConnectRetry(ix) => self.connect_retry(now, ix),
                Timer::IdleHold(ix) => self.start(now, ix),
                Timer::DelayOpen(ix, conn) => self.open_delayed(now, ix, conn),
                Timer::Hold(ix, conn) => self.hold_expired(now, ix, conn),
                Timer::Keepalive(ix, conn) => self.keepalive_due(now, ix, conn),
                Timer::SendHold(ix, conn) => self.send_hold_expired(now, ix, conn),
                Timer::Stale(ix) => self.forget_stale(ix),
                // That it is over is seen when the group is looked at.
                Timer::Advertise(_) => {}
                Timer::Defer => self.stop_deferring(),
            }
        }
        self.work(now);
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.has_work() {
            return Some((Instant::ZERO, "bgp: work"));
        }
        self.timers.next().map(|(at, timer)| (at, timer.name()))
    }
}
