//! The way into the runtime task for everything beside it: HTTP, metrics, signals.
//!
//! A [`Handle`] is cheap to clone. Each call is one message to the task that owns the routing table and one answer;
//! long tables are asked for page by page, so a million routes are never one answer.

use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_api as api;
use millrace_net::Prefix;
use millrace_rib::Protocol;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};

use crate::bfd;
use crate::config::Config;
use crate::protocols::host::Change;
use crate::protocols::{Reach, RunId};

/// Reaches the runtime task.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    config: watch::Receiver<Arc<Config>>,
}

/// The runtime task has ended: the process is on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the routing process is stopping")]
pub struct Stopped;

/// Why the dataplane did not answer a query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DataplaneAway {
    /// With the reason of the last attempt to connect.
    #[error("the dataplane is not connected: {0}")]
    NotConnected(String),
    #[error("the connection to the dataplane was lost before it answered")]
    Lost,
    #[error("the dataplane answers: {0}")]
    Refused(String),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a configuration was not taken. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    /// The dataplane would not have it; its own words.
    #[error("the dataplane refuses the configuration: {0}")]
    Dataplane(String),
    /// Another configuration is still being applied.
    #[error("another configuration is being applied; try again when it is done")]
    Busy,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What became of a configuration that was taken.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ApplyReport {
    /// Whether it differs from what was running.
    pub changed: bool,
    /// Settings that take a restart of the dataplane, by their names in the file.
    pub restart: Vec<String>,
    /// False: the dataplane is away and gets the configuration when it is back.
    pub dataplane: bool,
    pub routes_added: u64,
    pub routes_removed: u64,
}

/// Which routes are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RouteFilter {
    pub select: RouteSelect,
    /// Candidates of this protocol only.
    pub protocol: Option<Protocol>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum RouteSelect {
    #[default]
    All,
    /// The candidates of exactly this prefix.
    Exact(Prefix),
    /// This prefix and everything inside it.
    Within(Prefix),
    /// The prefix a packet to this address follows: the longest match that has a usable route.
    Match(Ipv4Addr),
}

/// Part of the table in address order. All candidates of a prefix stand in one page, the selected ones first.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RoutePage {
    pub routes: Vec<RouteView>,
    /// What to pass as `after` for the next page; none: this was the last.
    pub next: Option<Prefix>,
}

/// One candidate for a prefix.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RouteView {
    pub prefix: Prefix,
    pub protocol: Protocol,
    /// `C L S B O R`, as other routers print it.
    pub code: char,
    pub distance: u8,
    pub metric: u32,
    /// Carried for policy; 0 is none.
    #[serde(default)]
    pub tag: u32,
    /// Whether packets follow it: it is the best of its prefix, or one of several equal ones.
    pub selected: bool,
    /// Selected, and acknowledged by the dataplane.
    pub installed: bool,
    /// Why a selected route is not installed, or why the route cannot be used.
    pub problem: Option<String>,
    pub kind: RouteKind,
    /// As the protocol gave them. Empty unless `kind` is forward or glean.
    pub nexthops: Vec<NexthopView>,
    /// The number of the next-hop group in [`GroupView`]; none where the route is not selected.
    pub group: Option<u32>,
    pub age_seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    Forward,
    /// Destinations are neighbours on an interface.
    Glean,
    Local,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A next hop as a protocol gave it, and what it comes to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NexthopView {
    /// None: the interface itself.
    pub gateway: Option<Ipv4Addr>,
    /// The interface, where the next hop is directly connected.
    pub interface: Option<String>,
    pub weight: u16,
    /// Whether it resolves and its interface is up.
    pub active: bool,
    /// Directly connected next hops it resolves to through other routes; empty where it is directly connected itself.
    pub resolved: Vec<PathView>,
}

/// A directly connected next hop.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PathView {
    pub interface: String,
    /// None: destinations are neighbours on the interface.
    pub gateway: Option<Ipv4Addr>,
    pub weight: u16,
}

/// A next-hop group: what all routes with the same next hops share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GroupView {
    pub id: u32,
    pub kind: RouteKind,
    /// Whether at least one of its next hops resolves.
    pub active: bool,
    /// Whether the dataplane has acknowledged it.
    pub installed: bool,
    /// Why it is not installed.
    pub problem: Option<String>,
    pub nexthops: Vec<NexthopView>,
    /// What packets follow, after resolution and merging.
    pub paths: Vec<PathView>,
    /// Candidates with these next hops, selected or not.
    pub candidates: u64,
    /// Routes of the forwarding table that use it.
    pub routes: u64,
}

/// How the routing process is. Everything `show` and the metrics need that the dataplane does not know.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub dataplane: DataplaneStatus,
    pub rib: RibStatus,
    pub fib: FibStatus,
    pub audit: AuditStatus,
    pub mirror: MirrorStatus,
    pub interfaces: Vec<InterfaceStatus>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DataplaneStatus {
    pub connected: bool,
    /// Differs after every start of the dataplane.
    pub instance: Option<u64>,
    pub pid: Option<u32>,
    pub build: Option<String>,
    /// Why it is not connected.
    pub problem: Option<String>,
    /// Settings in the file that are not in force before the dataplane is restarted.
    pub restart: Vec<String>,
    /// Connections made since this process started.
    pub connects: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RibStatus {
    /// Prefixes with at least one candidate.
    pub prefixes: u64,
    /// Every protocol, zeros included.
    pub protocols: Vec<ProtocolStatus>,
    /// Next hops that are tracked, and how many of them resolve.
    pub nexthops: u64,
    pub nexthops_resolved: u64,
    /// Whether routes of a configuration are still being read in.
    pub loading: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProtocolStatus {
    pub protocol: Protocol,
    pub candidates: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncState {
    /// No dataplane.
    #[default]
    Away,
    /// Everything is being sent again after a connection was made.
    Resync,
    /// Changes are on their way.
    Sending,
    /// The dataplane has acknowledged everything.
    Synced,
}

/// What the dataplane has been told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FibStatus {
    pub state: SyncState,
    pub generation_sent: u64,
    pub generation_acked: u64,
    /// Routes and groups the dataplane should have.
    pub routes: u64,
    pub groups: u64,
    /// Operations that are refused at present; they are tried again.
    pub refused: u64,
    pub refused_total: u64,
    /// The first few of them.
    pub refusals: Vec<RefusalView>,
    pub resyncs_total: u64,
    /// Left-over routes and groups that were removed at the end of a resync.
    pub swept_total: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusalView {
    /// The prefix, or `nexthop N`.
    pub subject: String,
    pub reason: String,
}

/// The comparison of this table with the dataplane's, which runs all the time in the background.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Complete walks through the table.
    pub rounds_total: u64,
    /// Routes and groups that were missing, left over or different. All of them were repaired.
    pub mismatches_total: u64,
    pub last_round_seconds_ago: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// "all", "igp" or "none".
    pub mode: String,
    /// Routes of ours in the kernel's main table.
    pub routes: u64,
    /// Prefixes whose last change the kernel does not have yet.
    pub pending: u64,
    /// Prefixes left alone because somebody else's route is in our place.
    pub foreign: u64,
    pub errors_total: u64,
    pub last_error: Option<String>,
}

/// A configured interface, as the kernel shows it to this process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    pub name: String,
    /// None: there is no such device at present.
    pub ifindex: Option<u32>,
    pub up: bool,
    pub addresses: Vec<(Ipv4Addr, u8)>,
    /// Why a configured address is not there.
    pub problem: Option<String>,
}

/// What the runtime task is asked for.
#[derive(Debug)]
pub enum Command {
    Routes {
        filter: RouteFilter,
        after: Option<Prefix>,
        limit: usize,
        reply: oneshot::Sender<RoutePage>,
    },
    Nexthops {
        reply: oneshot::Sender<Vec<GroupView>>,
    },
    Query {
        query: api::Query,
        reply: oneshot::Sender<Result<api::ReplyBody, DataplaneAway>>,
    },
    Apply {
        config: Box<Config>,
        reply: oneshot::Sender<Result<ApplyReport, ApplyError>>,
    },
    Bfd {
        reply: oneshot::Sender<bfd::View>,
    },
    Status {
        reply: oneshot::Sender<Status>,
    },
    /// The routing protocols that run.
    Protocols {
        reply: oneshot::Sender<Vec<Reach>>,
    },
    /// A protocol's routes have changed.
    Announce {
        run: RunId,
        changes: Vec<Change>,
        /// The protocol is told when the dataplane has these and all before.
        mark: Option<u64>,
    },
    /// Next hops a protocol wants to be told of, or not any longer.
    Track {
        run: RunId,
        gateways: Vec<(Ipv4Addr, bool)>,
    },
    /// A protocol's task has ended by itself.
    ProtocolDied {
        run: RunId,
    },
    Stop,
}

impl Handle {
    /// A handle, and the ends the runtime task keeps.
    pub(crate) fn new(config: Arc<Config>) -> (Self, mpsc::Receiver<Command>, watch::Sender<Arc<Config>>) {
        let (commands, receiver) = mpsc::channel(64);
        let (publish, config) = watch::channel(config);
        (Self { commands, config }, receiver, publish)
    }

    /// A handle whose commands a test answers itself.
    pub fn scripted(config: Config) -> (Self, mpsc::Receiver<Command>, watch::Sender<Arc<Config>>) {
        Self::new(Arc::new(config))
    }

    /// At least `limit` candidates after `after` if there are so many; a prefix is never torn apart.
    pub async fn routes(
        &self,
        filter: RouteFilter,
        after: Option<Prefix>,
        limit: usize,
    ) -> Result<RoutePage, Stopped> {
        self.ask(|reply| Command::Routes { filter, after, limit, reply }).await
    }

    /// All next-hop groups, by number.
    pub async fn nexthops(&self) -> Result<Vec<GroupView>, Stopped> {
        self.ask(|reply| Command::Nexthops { reply }).await
    }

    /// Passes a query on to the dataplane.
    pub async fn query(&self, query: api::Query) -> Result<api::ReplyBody, DataplaneAway> {
        self.ask(|reply| Command::Query { query, reply }).await?
    }

    /// Puts a configuration in force, as a whole or not at all. Returns when every route of it is in the table.
    pub async fn apply(&self, config: Config) -> Result<ApplyReport, ApplyError> {
        self.ask(|reply| Command::Apply { config: Box::new(config), reply }).await?
    }

    /// Every BFD session.
    pub async fn bfd(&self) -> Result<bfd::View, Stopped> {
        self.ask(|reply| Command::Bfd { reply }).await
    }

    pub async fn status(&self) -> Result<Status, Stopped> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// The routing protocols that run, in the order of [`crate::protocols::ROWS`].
    pub async fn protocols(&self) -> Result<Vec<Reach>, Stopped> {
        self.ask(|reply| Command::Protocols { reply }).await
    }

    /// For tasks of the runtime's own: they do not keep it alive.
    pub(crate) fn commands(&self) -> mpsc::WeakSender<Command> {
        self.commands.downgrade()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.config.borrow().clone()
    }

    /// Follows the configuration in force, for whoever must act when it changes.
    pub fn config_changes(&self) -> watch::Receiver<Arc<Config>> {
        self.config.clone()
    }

    /// Asks the task to end. The dataplane keeps forwarding.
    pub async fn stop(&self) {
        // A task that is gone has stopped already.
        let _ = self.commands.send(Command::Stop).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}
