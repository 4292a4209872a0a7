//! The runtime with a played dataplane: the real protocol over a real socket, and a table that can be looked at.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millrace_api::{
    self as api, NexthopId, NexthopKind, Op, Query, Refusal, RefusalReason, ReplyBody, RequestBody,
};
use millrace_net::Prefix;
use millrace_proto::LinkKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::handle::{ApplyError, Handle, RouteFilter, RouteSelect, RouteView, Status, SyncState};
use super::task::Runtime;
use crate::config::{self, Config};
use crate::fib_client::{DATAPLANE_SOCKET, LONGEST_WAIT};
use crate::links::{Link, LinkAddress, LinkTable};

/// How long anything may take; nothing waits this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the played dataplane holds, and how it behaves.
#[derive(Debug, Default)]
struct Fib {
    instance: u64,
    nexthops: BTreeMap<u32, NexthopKind>,
    routes: BTreeMap<Prefix, u32>,
    /// Of a resync: what was mentioned.
    mentioned: Option<(Vec<u32>, Vec<Prefix>)>,
    batches: u64,
    /// Operations in them.
    ops: usize,
    refuse_config: bool,
    /// Interfaces it does not have yet.
    unknown: Vec<u32>,
    /// Groups that changed their meaning under routes that use them.
    astray: Vec<String>,
    /// A route it claims to take and then does not have, once.
    loses: Option<Prefix>,
}

impl Fib {
    fn uses_unknown(&self, kind: &NexthopKind) -> bool {
        match kind {
            NexthopKind::Forward(members) => members.iter().any(|m| self.unknown.contains(&m.via.ifindex)),
            NexthopKind::Glean { ifindex } => self.unknown.contains(ifindex),
            NexthopKind::Local
            | NexthopKind::Blackhole
            | NexthopKind::Unreachable
            | NexthopKind::Prohibit => false,
        }
    }

    fn apply(&mut self, op: &Op) -> Result<(), RefusalReason> {
        match op {
            Op::NexthopUpsert { id: NexthopId(id), kind } => {
                if self.uses_unknown(kind) {
                    return Err(RefusalReason::UnknownInterface);
                }
                let before = self.nexthops.insert(*id, kind.clone());
                if before.is_some_and(|before| before != *kind) && self.routes.values().any(|used| used == id)
                {
                    self.astray.push(format!("group {id} became {kind:?}"));
                }
                self.mentioned.iter_mut().for_each(|(groups, _)| groups.push(*id));
            }
            Op::NexthopRemove { id: NexthopId(id) } => {
                if self.routes.values().any(|used| used == id) {
                    return Err(RefusalReason::NexthopInUse);
                }
                self.nexthops.remove(id);
            }
            Op::RouteUpsert { prefix, nexthop: NexthopId(id) } => {
                if !self.nexthops.contains_key(id) {
                    return Err(RefusalReason::UnknownNexthop);
                }
                if self.loses.take_if(|lost| lost == prefix).is_none() {
                    self.routes.insert(*prefix, *id);
                }
                self.mentioned.iter_mut().for_each(|(_, routes)| routes.push(*prefix));
            }
            Op::RouteRemove { prefix } => {
                self.routes.remove(prefix);
            }
        }
        Ok(())
    }

    fn answer(&mut self, body: RequestBody) -> ReplyBody {
        match body {
            RequestBody::Hello { version } => {
                ReplyBody::Hello { version, instance: self.instance, build: "played".into(), pid: 1 }
            }
            RequestBody::Configure(_) if self.refuse_config => {
                ReplyBody::ConfigRefused { reason: "not today".into() }
            }
            RequestBody::Configure(_) => ReplyBody::Configured { restart: Vec::new() },
            RequestBody::ResyncBegin { generation } => {
                self.mentioned = Some(Default::default());
                ReplyBody::ResyncBegun { generation }
            }
            RequestBody::ResyncEnd { generation } => {
                let (groups, routes) = self.mentioned.take().expect("a resync was begun");
                let before = self.routes.len();
                self.routes.retain(|prefix, _| routes.contains(prefix));
                let swept = u32::try_from(before - self.routes.len()).expect("few");
                self.nexthops.retain(|id, _| groups.contains(id));
                ReplyBody::ResyncEnded { generation, swept }
            }
            RequestBody::Batch { generation, ops } => {
                self.batches += 1;
                self.ops += ops.len();
                let results = ops.iter().map(|op| self.apply(op)).collect::<Vec<_>>();
                let refused =
                    (0u32..).zip(results).filter_map(|(op, r)| Some(Refusal { op, reason: r.err()? }));
                ReplyBody::Ack { generation, applied: 0, refused: refused.collect() }
            }
            RequestBody::Query(Query::Nexthops) => {
                let nexthop =
                    |&id| api::report::Nexthop { id, kind: String::new(), members: vec![], routes: 0 };
                ReplyBody::Nexthops(self.nexthops.keys().map(nexthop).collect())
            }
            RequestBody::Query(Query::FibRoutes { after, limit }) => {
                let behind =
                    self.routes.iter().filter(|(prefix, _)| after.is_none_or(|after| after < **prefix));
                let route = |(&prefix, &nexthop): (&Prefix, &u32)| api::report::FibRoute { prefix, nexthop };
                ReplyBody::FibRoutes(behind.take(limit as usize).map(route).collect())
            }
            RequestBody::Query(other) => ReplyBody::Error { reason: format!("{other:?} is not played") },
        }
    }
}

/// A dataplane that serves one connection after another until it is dropped.
struct Dataplane {
    task: tokio::task::JoinHandle<()>,
}

impl Dataplane {
    fn start(run_dir: &std::path::Path, fib: Arc<Mutex<Fib>>) -> Self {
        let socket = run_dir.join(DATAPLANE_SOCKET);
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, &fib).await;
            }
        });
        Self { task }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: UnixStream, fib: &Mutex<Fib>) {
    let mut buffer = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        while let Some((request, len)) = api::decode::<api::Request>(&buffer).unwrap() {
            buffer.drain(..len);
            let body = fib.lock().unwrap().answer(request.body);
            let reply = api::encode(&api::Reply { seq: request.seq, body }).unwrap();
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

/// A runtime with played interfaces and its dataplane.
struct Bed {
    dir: tempfile::TempDir,
    handle: Handle,
    links: watch::Sender<Arc<LinkTable>>,
    fib: Arc<Mutex<Fib>>,
    dataplane: Option<Dataplane>,
}

fn link(index: u32, name: &str, up: bool, address: [u8; 4]) -> Link {
    let address = LinkAddress { address: address.into(), prefix_len: 24, peer: None };
    Link { index, name: name.into(), kind: LinkKind::Broadcast, up, mtu: 1500, addresses: vec![address] }
}

fn links(east_up: bool) -> Arc<LinkTable> {
    Arc::new(LinkTable::from_iter([
        link(2, "west", true, [10, 0, 1, 1]),
        link(3, "east", east_up, [10, 0, 2, 1]),
        link(4, "mgmt", true, [10, 9, 0, 1]),
    ]))
}

fn configuration(statics: &str) -> Config {
    let text = format!("[[interface]]\nname = \"west\"\n[[interface]]\nname = \"east\"\n{statics}");
    config::parse_bytes(text.into_bytes(), &PathBuf::from("test.toml")).unwrap().config
}

const DEFAULT_ROUTE: &str = "[[static]]\nprefix = \"0.0.0.0/0\"\nvia = [\"10.0.2.9\"]\n";

impl Bed {
    fn new(statics: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (links, receiver) = watch::channel(links(true));
        let (handle, runtime) = Runtime::new(dir.path(), configuration(statics), receiver, None);
        tokio::spawn(runtime.run());
        Self { dir, handle, links, fib: Arc::default(), dataplane: None }
    }

    async fn with_dataplane(statics: &str) -> Self {
        let mut bed = Self::new(statics);
        bed.start_dataplane();
        bed.until(|status| status.fib.state == SyncState::Synced && status.fib.refused == 0).await;
        bed
    }

    fn start_dataplane(&mut self) {
        self.dataplane = Some(Dataplane::start(self.dir.path(), Arc::clone(&self.fib)));
    }

    async fn until(&self, condition: impl Fn(&Status) -> bool) -> Status {
        let wait = async {
            loop {
                let status = self.handle.status().await.unwrap();
                if condition(&status) {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(status) => status,
            Err(_) => panic!("waited in vain; {:#?}", self.handle.status().await.unwrap()),
        }
    }

    /// What the dataplane does for a prefix.
    fn kind(&self, prefix: &str) -> Option<NexthopKind> {
        let fib = self.fib.lock().unwrap();
        let id = fib.routes.get(&prefix.parse().unwrap())?;
        Some(fib.nexthops[id].clone())
    }

    async fn until_kind(&self, prefix: &str, expected: Option<NexthopKind>) {
        let wait = async {
            while self.kind(prefix) != expected {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{prefix} is {:?}, not {expected:?}", self.kind(prefix));
        }
    }

    async fn route(&self, prefix: &str) -> RouteView {
        let select = RouteSelect::Exact(prefix.parse().unwrap());
        let page = self.handle.routes(RouteFilter { select, protocol: None }, None, 10).await.unwrap();
        page.routes.into_iter().next().unwrap()
    }
}

fn via(ifindex: u32, gateway: [u8; 4]) -> NexthopKind {
    NexthopKind::Forward(vec![api::Member { via: api::Via { ifindex, gateway: gateway.into() }, weight: 1 }])
}

#[tokio::test]
async fn everything_reaches_the_dataplane_and_is_shown_as_installed_then() {
    let mut bed = Bed::new(DEFAULT_ROUTE);
    let before = bed.route("0.0.0.0/0").await;
    assert!(before.selected && !before.installed);
    assert_eq!(before.problem.as_deref(), Some("the dataplane is not connected"));
    bed.start_dataplane();
    let status = bed.until(|status| status.fib.state == SyncState::Synced).await;
    assert_eq!((status.fib.routes, status.fib.refused, status.dataplane.connects), (6, 0, 1));
    for (prefix, kind) in [
        ("10.0.1.0/24", NexthopKind::Glean { ifindex: 2 }),
        ("10.0.2.0/24", NexthopKind::Glean { ifindex: 3 }),
        ("10.0.1.1/32", NexthopKind::Local),
        ("10.0.2.1/32", NexthopKind::Local),
        ("10.9.0.1/32", NexthopKind::Local),
        ("0.0.0.0/0", via(3, [10, 0, 2, 9])),
    ] {
        assert_eq!(bed.kind(prefix), Some(kind), "{prefix}");
    }
    assert_eq!(bed.kind("10.9.0.0/24"), None, "an interface that is not configured");
    let after = bed.route("0.0.0.0/0").await;
    assert!(after.installed && after.problem.is_none());
    assert_eq!(after.nexthops[0].interface.as_deref(), Some("east"));
}

#[tokio::test]
async fn a_dataplane_that_comes_back_empty_is_told_everything() {
    let mut bed = Bed::with_dataplane(DEFAULT_ROUTE).await;
    bed.dataplane = None;
    bed.until(|status| status.fib.state == SyncState::Away).await;
    *bed.fib.lock().unwrap() = Fib { instance: 1, ..Fib::default() };
    bed.start_dataplane();
    bed.until(|status| status.fib.state == SyncState::Synced && status.dataplane.instance == Some(1)).await;
    assert_eq!(bed.kind("0.0.0.0/0"), Some(via(3, [10, 0, 2, 9])));
}

/// As after `kill -9` of control: another process with other group numbers finds the table of the first.
#[tokio::test]
async fn a_control_that_comes_back_leads_no_packet_astray_and_sweeps() {
    let first = Bed::with_dataplane(
        "[[static]]\nprefix = \"192.0.2.0/24\"\nkind = \"blackhole\"\n\
         [[static]]\nprefix = \"198.51.100.0/24\"\nvia = [\"10.0.1.9\"]\n",
    )
    .await;
    first.handle.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let (links, receiver) = watch::channel(links(true));
    let (handle, runtime) = Runtime::new(dir.path(), configuration(DEFAULT_ROUTE), receiver, None);
    let second = Bed { dir, handle, links, fib: Arc::clone(&first.fib), dataplane: None };
    let second =
        Bed { dataplane: Some(Dataplane::start(second.dir.path(), Arc::clone(&second.fib))), ..second };
    tokio::spawn(runtime.run());
    let status = second.until(|status| status.fib.state == SyncState::Synced).await;
    assert_eq!(status.fib.swept_total, 2);
    assert_eq!(second.kind("192.0.2.0/24"), None);
    assert_eq!(second.kind("0.0.0.0/0"), Some(via(3, [10, 0, 2, 9])));
    assert_eq!(second.fib.lock().unwrap().astray, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_refused_is_shown_and_tried_again() {
    let mut bed = Bed::new(DEFAULT_ROUTE);
    bed.fib.lock().unwrap().unknown = vec![3];
    bed.start_dataplane();
    let status = bed.until(|status| status.fib.refused == 4).await;
    assert!(status.fib.refusals.iter().any(|r| r.reason.contains("interface")), "{:?}", status.fib.refusals);
    let route = bed.route("0.0.0.0/0").await;
    assert!(!route.installed);
    assert!(route.problem.unwrap().starts_with("the dataplane refuses it"));
    bed.fib.lock().unwrap().unknown.clear();
    bed.until(|status| status.fib.refused == 0 && status.fib.state == SyncState::Synced).await;
    assert_eq!(bed.kind("0.0.0.0/0"), Some(via(3, [10, 0, 2, 9])));
}

#[tokio::test]
async fn an_interface_that_goes_down_takes_its_routes_along_and_brings_them_back() {
    let bed = Bed::with_dataplane(
        "[[static]]\nprefix = \"0.0.0.0/0\"\nvia = [\"10.0.2.9\"]\n\
         [[static]]\nprefix = \"0.0.0.0/0\"\nvia = [\"10.0.1.9\"]\ndistance = 5\n",
    )
    .await;
    assert_eq!(bed.kind("0.0.0.0/0"), Some(via(3, [10, 0, 2, 9])));
    bed.links.send_replace(links(false));
    bed.until_kind("0.0.0.0/0", Some(via(2, [10, 0, 1, 9]))).await;
    bed.until_kind("10.0.2.0/24", None).await;
    bed.links.send_replace(links(true));
    bed.until_kind("0.0.0.0/0", Some(via(3, [10, 0, 2, 9]))).await;
}

#[tokio::test]
async fn a_new_configuration_changes_only_what_differs() {
    let bed = Bed::with_dataplane(DEFAULT_ROUTE).await;
    let batches = bed.fib.lock().unwrap().batches;
    let same = bed.handle.apply(configuration(DEFAULT_ROUTE)).await.unwrap();
    assert!(!same.changed);
    assert_eq!(bed.fib.lock().unwrap().batches, batches, "an equal configuration says nothing");
    let more = format!("{DEFAULT_ROUTE}[[static]]\nprefix = \"192.0.2.0/24\"\nkind = \"prohibit\"\n");
    let report = bed.handle.apply(configuration(&more)).await.unwrap();
    assert_eq!((report.changed, report.routes_added, report.routes_removed), (true, 1, 0));
    bed.until_kind("192.0.2.0/24", Some(NexthopKind::Prohibit)).await;
    let report = bed.handle.apply(configuration("")).await.unwrap();
    assert_eq!((report.routes_added, report.routes_removed), (0, 2));
    bed.until_kind("192.0.2.0/24", None).await;
    bed.until_kind("0.0.0.0/0", None).await;
}

#[tokio::test]
async fn a_configuration_the_dataplane_refuses_changes_nothing() {
    let bed = Bed::with_dataplane(DEFAULT_ROUTE).await;
    bed.fib.lock().unwrap().refuse_config = true;
    let refused = bed.handle.apply(configuration("")).await;
    assert_eq!(refused, Err(ApplyError::Dataplane("not today".into())));
    assert_eq!(*bed.handle.config(), configuration(DEFAULT_ROUTE));
    assert_eq!(bed.kind("0.0.0.0/0"), Some(via(3, [10, 0, 2, 9])));
}

#[tokio::test]
async fn the_audit_finds_and_repairs_what_the_dataplane_lost() {
    let mut bed = Bed::new(DEFAULT_ROUTE);
    bed.fib.lock().unwrap().loses = Some(Prefix::DEFAULT);
    bed.start_dataplane();
    let status = bed.until(|status| status.audit.rounds_total == 1).await;
    assert_eq!(status.audit.mismatches_total, 1);
    bed.until_kind("0.0.0.0/0", Some(via(3, [10, 0, 2, 9]))).await;
}

/// The routes behind a next hop that changes are not told again, however many they are.
#[tokio::test]
async fn a_next_hop_that_changes_under_many_routes_is_one_message() {
    const ROUTES: u32 = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prefixes");
    let lines: String =
        (0..ROUTES).map(|n| format!("{}/24\n", std::net::Ipv4Addr::from((20 << 24) + (n << 8)))).collect();
    std::fs::write(&file, lines).unwrap();
    let statics = |gateway: &str| {
        format!(
            "[[static]]\nprefixes-from = \"{}\"\nvia = [\"10.77.0.1\"]\n\
             [[static]]\nprefix = \"10.77.0.0/16\"\nvia = [\"{gateway}\"]\n",
            file.display()
        )
    };
    let bed = Bed::with_dataplane(&statics("10.0.2.9")).await;
    bed.until(|status| status.fib.routes > u64::from(ROUTES) && status.fib.state == SyncState::Synced).await;
    let before = {
        let fib = bed.fib.lock().unwrap();
        (fib.batches, fib.ops)
    };
    bed.handle.apply(configuration(&statics("10.0.2.10"))).await.unwrap();
    bed.until_kind("20.0.0.0/24", Some(via(3, [10, 0, 2, 10]))).await;
    bed.until(|status| status.fib.state == SyncState::Synced).await;
    let fib = bed.fib.lock().unwrap();
    // The group of the many, and the group and the route of the one the change is about.
    assert_eq!(fib.batches - before.0, 1);
    assert!(fib.ops - before.1 <= 4, "{} operations", fib.ops - before.1);
}

/// Such as another build: control does not run at it.
#[tokio::test]
async fn a_dataplane_that_hangs_up_on_the_greeting_is_asked_again_after_a_pause() {
    let bed = Bed::new("");
    let listener = UnixListener::bind(bed.dir.path().join(DATAPLANE_SOCKET)).unwrap();
    let three = async {
        listener.accept().await.unwrap();
        let first = tokio::time::Instant::now();
        listener.accept().await.unwrap();
        listener.accept().await.unwrap();
        first.elapsed()
    };
    let took = tokio::time::timeout(PATIENCE, three).await.expect("it is asked again");
    assert!(2 * LONGEST_WAIT <= took + Duration::from_millis(100), "{took:?}");
}
