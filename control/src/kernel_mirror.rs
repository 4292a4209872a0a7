//! The best routes in the kernel's main table too: for the host's own traffic, and for `on-failure = "kernel"`.
//!
//! ```text
//!   runtime ── set(prefix, target) ─▶ pending, one entry a prefix ─▶ task ── batches ─▶ rtnetlink ─▶ main table
//! ```
//! Routes carry `proto 77` and `metric 77`, so `ip route show proto 77` lists them and nobody else's route is ever
//! replaced or removed. The kernel is slow (some 38,000 routes a second), so changes are coalesced by prefix and written in
//! the background; the forwarding table never waits for it. Connected and local routes are the kernel's own business.
//!
//! The routes stay when the process ends, so that a crash or an upgrade changes nothing; the next start sweeps what is
//! not wanted any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use millrace_net::Prefix;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol, RouteScope,
    RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder, RouteNextHopBuilder};
use tokio::sync::Notify;

use crate::links::io_error;

/// The kernel's number for routes of ours (`/etc/iproute2/rt_protos` has none of this value).
pub const PROTOCOL: u8 = 77;
/// Their metric: out of the way of what people add by hand (0) and before what DHCP clients add (100 and more).
const METRIC: u32 = 77;
/// Requests under way at once.
const WINDOW: usize = 64;
/// When the kernel is asked again about what it refused.
const RETRY: Duration = Duration::from_secs(2);

/// Where the kernel is to send packets for a prefix.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Target {
    /// Sorted by interface and gateway.
    Via(Vec<Hop>),
    /// Destinations are neighbours on the link of this interface.
    Link(u32),
    Blackhole,
    Unreachable,
    Prohibit,
}

/// One way out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Hop {
    pub ifindex: u32,
    pub gateway: Ipv4Addr,
    /// 1 to 256.
    pub weight: u16,
}

/// The way to the task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KernelMirror {
    shared: Arc<Shared>,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Changes that are not in the kernel yet.
    pub pending: usize,
    /// Changes the kernel has taken since the start.
    pub written: u64,
    /// Changes it would not take and that wait to be tried again.
    pub refused: usize,
    /// Refusals since the start.
    pub errors: u64,
    /// Prefixes left alone because somebody else's route has our metric.
    pub foreign: usize,
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    pending: BTreeMap<Prefix, Change>,
    refused: BTreeMap<Prefix, Change>,
    /// What an earlier process left and nobody has spoken of yet.
    left: HashMap<Prefix, Target>,
    /// Prefixes at which somebody else's route stands where ours would.
    foreign: HashSet<Prefix>,
    written: u64,
    errors: u64,
    last_error: Option<String>,
}

/// What is to be written for a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    /// None: to be removed.
    target: Option<Arc<Target>>,
    /// The route there is ours, so it may be replaced.
    ours: bool,
}

impl KernelMirror {
    /// Reads what an earlier process has left in the kernel, and starts the task. Needs a tokio runtime.
    pub async fn start() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let (left, foreign) = present(&handle).await?;
        let state = Mutex::new(State { left, foreign, ..State::default() });
        let shared = Arc::new(Shared { state, ..Shared::default() });
        tokio::spawn(write(Arc::clone(&shared), handle));
        Ok(Self { shared })
    }

    /// Says what the kernel is to have for a prefix; `None`: nothing of ours. The last word counts. `ours`: it has been set
    /// before.
    pub fn set(&self, prefix: Prefix, target: Option<Arc<Target>>, ours: bool) {
        let mut state = self.shared.lock();
        if state.foreign.contains(&prefix) {
            return;
        }
        let left = state.left.remove(&prefix);
        let waiting = state.refused.remove(&prefix).or_else(|| state.pending.remove(&prefix));
        if left.is_some() && left.as_ref() == target.as_deref() {
            return;
        }
        // What was said before and not written yet tells whether anything of ours is there.
        let ours = left.is_some() || waiting.map_or(ours, |waiting| waiting.ours);
        state.pending.insert(prefix, Change { target, ours });
        drop(state);
        self.shared.news.notify_one();
    }

    /// Everything wanted has been set once: what is left over from before goes.
    pub fn sweep(&self) {
        let mut state = self.shared.lock();
        for (prefix, _) in std::mem::take(&mut state.left) {
            state.pending.entry(prefix).or_insert(Change { target: None, ours: true });
        }
        drop(state);
        self.shared.news.notify_one();
    }

    pub fn progress(&self) -> Progress {
        let state = self.shared.lock();
        Progress {
            pending: state.pending.len() + state.refused.len(),
            written: state.written,
            refused: state.refused.len(),
            errors: state.errors,
            foreign: state.foreign.len(),
            last_error: state.last_error.clone(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_pending(&self) -> Option<(Prefix, Change)> {
        self.lock().pending.pop_first()
    }

    fn record(&self, prefix: Prefix, change: Change, result: Result<(), io::Error>) {
        let mut state = self.lock();
        match result {
            Ok(()) => state.written += 1,
            Err(error) if !change.ours && error.kind() == io::ErrorKind::AlreadyExists => {
                state.foreign.insert(prefix);
                state.last_error =
                    Some(format!("{prefix}: somebody else's route with metric {METRIC} is left alone"));
            }
            Err(error) => {
                state.errors += 1;
                state.last_error = Some(format!("{prefix}: {error}"));
                // A newer word about the prefix makes this one void.
                if !state.pending.contains_key(&prefix) {
                    state.refused.insert(prefix, change);
                }
            }
        }
    }

    fn retry_refused(&self) {
        let mut state = self.lock();
        let refused = std::mem::take(&mut state.refused);
        for (prefix, change) in refused {
            state.pending.entry(prefix).or_insert(change);
        }
    }
}

/// Writes what is pending, [`WINDOW`] requests at a time, for ever.
async fn write(shared: Arc<Shared>, handle: Handle) {
    let mut under_way = FuturesUnordered::new();
    loop {
        while under_way.len() < WINDOW
            && let Some((prefix, change)) = shared.take_pending()
        {
            let handle = handle.clone();
            under_way.push(async move {
                let result = tell(&handle, prefix, &change).await;
                (prefix, change, result)
            });
        }
        if under_way.is_empty() {
            let refused = !shared.lock().refused.is_empty();
            tokio::select! {
                () = shared.news.notified() => {}
                () = tokio::time::sleep(RETRY), if refused => shared.retry_refused(),
            }
        } else if let Some((prefix, change, result)) = under_way.next().await {
            shared.record(prefix, change, result);
        }
    }
}

async fn tell(handle: &Handle, prefix: Prefix, change: &Change) -> io::Result<()> {
    let result = match &change.target {
        Some(target) => {
            let request = handle.route().add(message(prefix, target));
            if change.ours { request.replace() } else { request }.execute().await
        }
        None => handle.route().del(key(prefix).build()).execute().await,
    };
    match result.map_err(io_error) {
        // The route went with its interface: removing what is not there is fine.
        Err(error) if change.target.is_none() && error.raw_os_error() == Some(ESRCH) => Ok(()),
        other => other,
    }
}

/// No such route.
const ESRCH: i32 = 3;

/// What names a route of ours: prefix, metric, protocol and table.
fn key(prefix: Prefix) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(prefix.addr(), prefix.len())
        .protocol(RouteProtocol::from(PROTOCOL))
        .priority(METRIC)
}

fn message(prefix: Prefix, target: &Target) -> RouteMessage {
    let route = key(prefix);
    match target {
        Target::Via(hops) => match hops.as_slice() {
            [only] => route.output_interface(only.ifindex).gateway(only.gateway),
            several => route.multipath(
                several
                    .iter()
                    .filter_map(|hop| {
                        let next_hop = RouteNextHopBuilder::new_ipv4().interface(hop.ifindex);
                        // A gateway of the family asked for is always taken.
                        let next_hop = next_hop.via(IpAddr::V4(hop.gateway)).ok()?.build();
                        Some(weighted(next_hop, hop.weight))
                    })
                    .collect(),
            ),
        },
        Target::Link(ifindex) => route.output_interface(*ifindex).scope(RouteScope::Link),
        Target::Blackhole => route.kind(RouteType::BlackHole),
        Target::Unreachable => route.kind(RouteType::Unreachable),
        Target::Prohibit => route.kind(RouteType::Prohibit),
    }
    .build()
}

/// The kernel counts weights from 0 (`rtnh_hops` is the weight less one).
fn weighted(mut next_hop: RouteNextHop, weight: u16) -> RouteNextHop {
    next_hop.hops = u8::try_from(weight.saturating_sub(1)).unwrap_or(u8::MAX);
    next_hop
}

/// The routes of ours that are in the kernel, and the prefixes at which somebody else has taken our metric.
async fn present(handle: &Handle) -> io::Result<(HashMap<Prefix, Target>, HashSet<Prefix>)> {
    let (mut ours, mut foreign) = (HashMap::new(), HashSet::new());
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(route) = routes.try_next().await.map_err(io_error)? {
        let header = &route.header;
        if header.address_family == AddressFamily::Inet
            && header.table == RouteHeader::RT_TABLE_MAIN
            && let Some((prefix, target)) = read(&route)
        {
            if header.protocol == RouteProtocol::from(PROTOCOL) {
                ours.insert(prefix, target);
            } else if route.attributes.contains(&RouteAttribute::Priority(METRIC)) {
                foreign.insert(prefix);
            }
        }
    }
    Ok((ours, foreign))
}

/// A route as the kernel tells it; what is not understood is told apart from everything we would want.
fn read(route: &RouteMessage) -> Option<(Prefix, Target)> {
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let (mut gateway, mut ifindex, mut hops) = (None, None, Vec::new());
    for attribute in &route.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(address)) = attribute {
            destination = *address;
        } else if let RouteAttribute::Gateway(RouteAddress::Inet(address)) = attribute {
            gateway = Some(*address);
        } else if let RouteAttribute::Oif(index) = attribute {
            ifindex = Some(*index);
        } else if let RouteAttribute::MultiPath(paths) = attribute {
            for path in paths {
                let via = path.attributes.iter().find_map(|attribute| {
                    if let RouteAttribute::Gateway(RouteAddress::Inet(address)) = attribute {
                        Some(*address)
                    } else {
                        None
                    }
                });
                hops.push(Hop {
                    ifindex: path.interface_index,
                    gateway: via?,
                    weight: u16::from(path.hops) + 1,
                });
            }
        }
    }
    hops.sort_unstable();
    let prefix = Prefix::new(destination, route.header.destination_prefix_length).ok()?;
    let kind = route.header.kind;
    let target = if kind == RouteType::BlackHole {
        Target::Blackhole
    } else if kind == RouteType::Unreachable {
        Target::Unreachable
    } else if kind == RouteType::Prohibit {
        Target::Prohibit
    } else {
        match (gateway, ifindex) {
            (Some(gateway), Some(ifindex)) => Target::Via(vec![Hop { ifindex, gateway, weight: 1 }]),
            (None, Some(ifindex)) if hops.is_empty() => Target::Link(ifindex),
            (_, _) => Target::Via(hops),
        }
    };
    Some((prefix, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    /// What we write reads back as what we wrote, so that a restart finds its routes unchanged.
    #[test]
    fn every_target_reads_back() {
        let hop = |ifindex, last, weight| Hop { ifindex, gateway: Ipv4Addr::new(192, 0, 2, last), weight };
        for target in [
            Target::Via(vec![hop(2, 1, 1)]),
            Target::Via(vec![hop(2, 1, 1), hop(2, 9, 256), hop(3, 5, 7)]),
            Target::Link(4),
            Target::Blackhole,
            Target::Unreachable,
            Target::Prohibit,
        ] {
            for text in ["0.0.0.0/0", "203.0.113.0/24", "198.51.100.7/32"] {
                let written = message(prefix(text), &target);
                assert_eq!(u8::from(written.header.protocol), PROTOCOL);
                assert_eq!(read(&written), Some((prefix(text), target.clone())));
            }
        }
    }

    fn mirror(left: &[(&str, Target)]) -> KernelMirror {
        let left = left.iter().map(|(p, t)| (prefix(p), t.clone())).collect();
        let state = Mutex::new(State { left, ..State::default() });
        KernelMirror { shared: Arc::new(Shared { state, ..Shared::default() }) }
    }

    fn pending(mirror: &KernelMirror) -> Vec<(String, Option<Target>)> {
        let state = mirror.shared.lock();
        state.pending.iter().map(|(p, change)| (p.to_string(), change.target.as_deref().cloned())).collect()
    }

    #[test]
    fn a_restart_writes_what_differs_and_sweeps_the_rest() {
        let mirror = mirror(&[
            ("10.0.0.0/8", Target::Blackhole),
            ("10.1.0.0/16", Target::Blackhole),
            ("10.2.0.0/16", Target::Blackhole),
        ]);
        mirror.set(prefix("10.0.0.0/8"), Some(Arc::new(Target::Blackhole)), false);
        mirror.set(prefix("10.1.0.0/16"), Some(Arc::new(Target::Prohibit)), false);
        assert_eq!(pending(&mirror), [("10.1.0.0/16".into(), Some(Target::Prohibit))]);
        mirror.sweep();
        assert_eq!(
            pending(&mirror),
            [("10.1.0.0/16".into(), Some(Target::Prohibit)), ("10.2.0.0/16".into(), None)]
        );
        assert!(mirror.shared.lock().pending.values().all(|change| change.ours), "what was left is ours");
    }

    #[test]
    fn the_last_word_about_a_prefix_counts() {
        let mirror = mirror(&[]);
        let blackhole = || Some(Arc::new(Target::Blackhole));
        mirror.set(prefix("10.0.0.0/8"), blackhole(), false);
        mirror.set(prefix("10.0.0.0/8"), None, true);
        assert_eq!(pending(&mirror), [("10.0.0.0/8".into(), None)]);
        let (taken, change) = mirror.shared.take_pending().unwrap();
        assert!(!change.ours, "nothing was written yet");
        mirror.shared.record(taken, change, Err(io::Error::from_raw_os_error(101)));
        assert_eq!((mirror.progress().pending, mirror.progress().refused), (1, 1));
        mirror.set(prefix("10.0.0.0/8"), blackhole(), true);
        assert_eq!((mirror.progress().pending, mirror.progress().refused), (1, 0));
        mirror.shared.retry_refused();
        assert_eq!(pending(&mirror), [("10.0.0.0/8".into(), Some(Target::Blackhole))]);
    }

    #[test]
    fn somebody_elses_route_is_left_alone() {
        let mirror = mirror(&[]);
        mirror.set(prefix("10.0.0.0/8"), Some(Arc::new(Target::Blackhole)), false);
        let (taken, change) = mirror.shared.take_pending().unwrap();
        mirror.shared.record(taken, change, Err(io::Error::from_raw_os_error(17)));
        mirror.set(prefix("10.0.0.0/8"), Some(Arc::new(Target::Prohibit)), true);
        assert_eq!(pending(&mirror), []);
        assert_eq!((mirror.progress().foreign, mirror.progress().errors), (1, 0));
    }
}
