//! BGP in the living process: TCP port 179, a connection or two for each neighbour.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use millrace_bfd::{self as bfd, SessionKey};
use millrace_bgp::{Bgp, Clear, Config as BgpConfig, ConnId, Connect, Input, Notice, Output, Redistributed};
use millrace_net::{Instant, Prefix};
use millrace_proto::{InterfaceEvent, Route, RouteChange, WallClock};
use millrace_rib::Protocol;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::driver;
use super::host::{Announcement, Cx, Hosted, Query, Refusal, Sample, Seen, json};
use super::tcp::{self, Connection, Events};
use super::{Row, driver::Start};
use crate::config::Config;

/// In the list of protocols.
pub const ROW: Row = Row {
    name: "bgp",
    routes: &[Protocol::Ebgp, Protocol::Ibgp],
    views: &["neighbors", "routes", "received", "advertised", "nexthops"],
    // As long as a restarted router waits for its neighbours (RFC 4724 §4.1).
    grace: Duration::from_secs(120),
    wanted: |config| config.bgp.is_some(),
    redistributes: |config| config.bgp.as_ref().map_or(&[], |bgp| &bgp.redistribute),
    start: |start: Start| driver::start(BgpHost::default(), &ROW, start),
};

/// Routes of one answer, where the question names no number.
const PAGE: usize = 1000;
const LONGEST_PAGE: usize = 10_000;
/// Between two complaints about callers nobody knows.
const QUIET: Duration = Duration::from_secs(10);

/// Connections the kernel numbers are given to by whoever makes them.
static NEXT_CONNECTION: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

#[derive(Debug, Default)]
pub struct BgpHost {
    config: BgpConfig,
    port: u16,
    listener: Option<AbortHandle>,
    listen_problem: Option<String>,
    /// Calls under way.
    calls: BTreeMap<Ipv4Addr, AbortHandle>,
    connections: BTreeMap<ConnId, Connection>,
    /// Streams that the machine has been told of, and that are not started yet.
    arrived: Arrivals,
    complained: Option<Instant>,
}

/// Streams on their way from the task that made them to the host.
type Arrivals = std::sync::Arc<std::sync::Mutex<BTreeMap<ConnId, tokio::net::TcpStream>>>;

#[derive(Clone, Copy, Debug)]
struct Of(ConnId);

impl Events for Of {
    type Input = Input;

    fn data(&self, bytes: Vec<u8>) -> Input {
        Input::Data { conn: self.0, bytes }
    }

    fn written(&self, octets: usize) -> Input {
        Input::Written { conn: self.0, octets }
    }

    fn closed(&self, reason: String) -> Input {
        Input::Closed { conn: self.0, reason }
    }
}

impl Drop for BgpHost {
    fn drop(&mut self) {
        for task in self.listener.iter().chain(self.calls.values()) {
            task.abort();
        }
    }
}

impl Hosted for BgpHost {
    type Machine = Bgp;

    const NAME: &'static str = "bgp";

    fn machine(seed: u64) -> Bgp {
        Bgp::new(seed, true)
    }

    fn clock(clock: WallClock) -> Input {
        Input::Clock(clock)
    }

    fn interface(event: InterfaceEvent) -> Input {
        Input::Interface(event)
    }

    fn configure(&mut self, config: &Config) -> Vec<Input> {
        let Some(bgp) = &config.bgp else { return Vec::new() };
        self.port = bgp.port;
        self.config = bgp.machine.clone();
        vec![Input::Configure(Box::new(bgp.machine.clone()))]
    }

    fn announce(&mut self, announcement: Announcement) -> Option<Input> {
        let Announcement { route, .. } = announcement;
        let communities = route.bgp.map(|bgp| bgp.communities.to_vec()).unwrap_or_default();
        Some(Input::Redistribute(Redistributed {
            prefix: route.prefix,
            protocol: route.protocol,
            med: route.metric,
            local_pref: route.preference,
            communities,
        }))
    }

    fn withdraw(&mut self, prefix: Prefix) -> Option<Input> {
        Some(Input::Withdraw(prefix))
    }

    const BFD: Option<bfd::Client> = Some(bfd::Client::Bgp);

    /// A neighbour that cannot be reached is down at once; one that shuts its session down is none.
    fn session(change: &bfd::Change) -> Option<Input> {
        change.is_failure().then_some(Input::PeerDown(change.session.neighbor))
    }

    fn next_hop(address: Ipv4Addr, metric: Option<u32>) -> Option<Input> {
        Some(Input::NextHop { address, metric })
    }

    fn installed(mark: u64) -> Option<Input> {
        Some(Input::FibAcked(mark))
    }

    fn carry_out(&mut self, output: Output, cx: &mut Cx<'_, Input>) {
        match output {
            Output::Connect(connect) => self.call(&connect, cx.inbox),
            Output::CancelConnect { peer } => {
                if let Some(call) = self.calls.remove(&peer) {
                    call.abort();
                }
            }
            Output::Send { conn, bytes } => {
                if let Some(connection) = self.connection(conn, cx.inbox) {
                    connection.send(bytes);
                }
            }
            Output::Close { conn } => {
                self.connections.remove(&conn);
                self.arrivals().remove(&conn);
            }
            Output::Routes { batch, routes } => {
                for best in routes {
                    let Some(forwarding) = best.route else {
                        cx.route(Protocol::Ebgp, RouteChange::Remove(best.prefix));
                        continue;
                    };
                    let protocol = if forwarding.external { Protocol::Ebgp } else { Protocol::Ibgp };
                    cx.route(
                        protocol,
                        RouteChange::Upsert(Route {
                            prefix: best.prefix,
                            next_hops: forwarding.next_hops.to_vec(),
                            metric: forwarding.metric,
                            tag: 0,
                            distance: None,
                        }),
                    );
                }
                cx.mark(batch);
            }
            Output::Track { address, wanted } => cx.track(address, wanted),
            Output::Bfd { peer, local, wanted } => {
                let mut links = cx.interfaces.values();
                let on = links.find(|interface| interface.address_towards(peer).is_some());
                let (Some(watcher), Some(on)) = (cx.watcher, on) else { return };
                let session = SessionKey { interface: on.index, neighbor: peer };
                if wanted { watcher.watch(session, local) } else { watcher.unwatch(session) }
            }
            Output::Converged => tracing::info!("bgp: all neighbours have told what they know"),
            Output::Notice(notice) => self.notice(&notice, cx.now),
        }
    }

    fn look_after(&mut self, cx: &mut Cx<'_, Input>) {
        if self.listener.is_none() {
            self.listen(cx.inbox);
        }
    }

    fn show(&self, machine: &Bgp, query: &Query, seen: &Seen<'_>) -> Result<serde_json::Value, Refusal> {
        let now = seen.now;
        let after: Option<Prefix> = query.parsed("after", "a prefix such as 192.0.2.0/24")?;
        let limit = query.parsed::<usize>("limit", "a number")?.unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
        let peer = query.address("neighbor")?;
        let needed = || peer.ok_or_else(|| Refusal::BadRequest("neighbor is missing: which one?".into()));
        match query.what.as_str() {
            "" => {
                let mut summary = machine.summary(now, true);
                summary.peers.clear();
                let mut value = json(summary)?;
                if let (Some(object), Some(problem)) = (value.as_object_mut(), &self.listen_problem) {
                    object.insert("listen_problem".into(), problem.clone().into());
                }
                Ok(value)
            }
            "neighbors" => {
                let mut peers = machine.summary(now, true).peers;
                peers.retain(|view| peer.is_none_or(|peer| view.address == peer));
                json(peers)
            }
            "routes" => match query.parsed::<Prefix>("prefix", "a prefix such as 192.0.2.0/24")? {
                Some(prefix) => json(machine.route(now, prefix).into_iter().collect::<Vec<_>>()),
                None => json(machine.routes_after(now, after).take(limit).collect::<Vec<_>>()),
            },
            "received" => json(machine.received(now, needed()?, after).take(limit).collect::<Vec<_>>()),
            "advertised" => {
                let routes = machine.advertised(needed()?, after, limit).into_iter();
                let view =
                    |(prefix, attributes)| serde_json::json!({ "prefix": prefix, "attributes": attributes });
                json(routes.map(view).collect::<Vec<_>>())
            }
            "nexthops" => {
                let view = |(address, users, metric): (Ipv4Addr, u32, Option<u32>)| serde_json::json!({ "address": address, "paths": users, "reachable": metric.is_some(), "metric": metric });
                json(machine.next_hops().map(view).collect::<Vec<_>>())
            }
            other => Err(Refusal::NotFound(other.to_owned())),
        }
    }

    fn act(&mut self, machine: &Bgp, query: &Query) -> Result<(Vec<Input>, serde_json::Value), Refusal> {
        if query.what != "clear" {
            return Err(Refusal::NotFound(query.what.clone()));
        }
        let peer = query.address("neighbor")?;
        let how = match query.parameters.get("how").map_or("hard", String::as_str) {
            "hard" => Clear::Hard,
            "soft-in" => Clear::SoftIn,
            "soft-out" => Clear::SoftOut,
            other => {
                let problem = format!("how cannot be {other:?}: expected hard, soft-in or soft-out");
                return Err(Refusal::BadRequest(problem));
            }
        };
        let known = machine.addresses().filter(|address| peer.is_none_or(|peer| peer == *address)).count();
        if let (Some(peer), 0) = (peer, known) {
            return Err(Refusal::NotFound(format!("neighbour {peer}")));
        }
        Ok((vec![Input::Clear { peer, how }], serde_json::json!({ "neighbors": known })))
    }

    fn metrics(&self, machine: &Bgp, seen: &Seen<'_>) -> Vec<Sample> {
        let summary = machine.summary(seen.now, true);
        let mut samples = vec![
            Sample::count("millrace_bgp_prefixes", &[], summary.prefixes as u64),
            Sample::count("millrace_bgp_attribute_sets", &[], summary.attribute_sets as u64),
            Sample::count("millrace_bgp_memory_bytes", &[], summary.memory_bytes as u64),
        ];
        for peer in summary.peers {
            let address = peer.address.to_string();
            let up = peer.state == millrace_bgp::State::Established;
            let uptime = peer.since.filter(|_| up).map_or(0, |since| since.as_secs());
            for (metric, value) in [
                ("millrace_bgp_peer_state", u64::from(up)),
                ("millrace_bgp_peer_uptime_seconds", uptime),
                ("millrace_bgp_peer_prefixes_received", peer.prefixes_received.into()),
                ("millrace_bgp_peer_prefixes_accepted", peer.prefixes_accepted.into()),
                ("millrace_bgp_peer_prefixes_advertised", peer.prefixes_advertised as u64),
                ("millrace_bgp_peer_messages_received_total", peer.stats.received.iter().sum()),
                ("millrace_bgp_peer_messages_sent_total", peer.stats.sent.iter().sum()),
                ("millrace_bgp_peer_flaps_total", peer.stats.dropped),
            ] {
                samples.push(Sample::count(metric, &[&address], value));
            }
        }
        samples
    }

    fn farewell() -> Option<Input> {
        Some(Input::Shutdown)
    }
}

impl BgpHost {
    fn arrivals(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnId, tokio::net::TcpStream>> {
        // Whoever held it has put whole entries in.
        self.arrived.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The connection of this number; begun with the first that is sent over it.
    fn connection(&mut self, conn: ConnId, inbox: &mpsc::Sender<Input>) -> Option<&Connection> {
        let arrived = self.arrivals().remove(&conn);
        if let Some(stream) = arrived {
            self.connections.insert(conn, Connection::start(stream, Of(conn), inbox.clone()));
        }
        self.connections.get(&conn)
    }

    fn call(&mut self, connect: &Connect, inbox: &mpsc::Sender<Input>) {
        let Connect { peer, port, local, ttl } = *connect;
        let (inbox, arrived) = (inbox.clone(), std::sync::Arc::clone(&self.arrived));
        let call = tokio::spawn(async move {
            let address = SocketAddrV4::new(peer, port);
            let connected = tcp::connect(address, local, ttl).await;
            let input = match connected.and_then(|stream| tcp::ends(&stream).map(|ends| (stream, ends))) {
                Ok((stream, (local, _))) => {
                    let conn = keep(&arrived, stream);
                    Input::Connected { peer, conn, local }
                }
                Err(error) => Input::ConnectFailed { peer, reason: error.to_string() },
            };
            // The protocol may have ended.
            let _ = inbox.send(input).await;
        });
        if let Some(before) = self.calls.insert(peer, call.abort_handle()) {
            before.abort();
        }
    }

    fn listen(&mut self, inbox: &mpsc::Sender<Input>) {
        let listener = match tcp::listen(self.port) {
            Ok(listener) => listener,
            Err(error) => {
                let problem = format!("cannot listen on TCP port {}: {error}", self.port);
                tracing::error!(%problem, "bgp; it is tried again");
                self.listen_problem = Some(problem);
                return;
            }
        };
        self.listen_problem = None;
        let (inbox, arrived) = (inbox.clone(), std::sync::Arc::clone(&self.arrived));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely: others must be closed first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let ends = tcp::prepare(&stream, None).and_then(|()| tcp::ends(&stream));
                let Ok((local, peer)) = ends else { continue };
                let conn = keep(&arrived, stream);
                if inbox.send(Input::Accepted { conn, peer, local }).await.is_err() {
                    return;
                }
            }
        });
        self.listener = Some(task.abort_handle());
    }

    fn notice(&mut self, notice: &Notice, now: Instant) {
        match notice {
            Notice::Up { .. } => tracing::info!("bgp: {notice}"),
            Notice::Down { .. } | Notice::ManyPrefixes { .. } | Notice::TooManyGroups { .. } => {
                tracing::warn!("bgp: {notice}");
            }
            // Whoever floods the router with rubbish does not fill its log.
            Notice::TreatedAsWithdraw { .. } | Notice::Stranger { .. } => {
                if self.complained.is_none_or(|at| QUIET <= now.since(at)) {
                    self.complained = Some(now);
                    tracing::warn!("bgp: {notice}");
                }
            }
        }
    }
}

/// Numbers a stream, and keeps it until the machine has decided about it.
fn keep(arrived: &Arrivals, stream: tokio::net::TcpStream) -> ConnId {
    let conn = ConnId(NEXT_CONNECTION.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let mut arrived = arrived.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    arrived.insert(conn, stream);
    conn
}
