//! The API through real sockets, with a runtime that the test plays.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use millrace_api as api;
use millrace_api::{ReplyBody, report};
use millrace_net::Prefix;
use millrace_proto::{IfIndex, Instant, Machine as _};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::*;
use crate::config::{self, Config};
use crate::protocols;
use crate::runtime::Handle;
use crate::runtime::handle::{
    ApplyError, ApplyReport, Command, DataplaneAway, GroupView, InterfaceStatus, NexthopView, PathView,
    RouteKind, RoutePage, RouteSelect, RouteView, Status,
};

const CONFIG: &str = "[[interface]]\nname = \"eth0\"\n[[interface]]\nname = \"eth1\"\nacl-in = \"wan\"\n[[acl]]\nname = \"wan\"\n[[acl.rule]]\naction = \"drop\"\n";

/// The runtime as these tests play it.
#[derive(Clone, Copy, Debug)]
struct Play {
    dataplane: bool,
    routes: u32,
    /// What the dataplane says to a configuration.
    refuses: bool,
}

const PLAY: Play = Play { dataplane: true, routes: 3, refuses: false };

struct Rig {
    dir: tempfile::TempDir,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new(play: Play) -> Self {
        Self::with(play, CONFIG).await
    }

    async fn with(play: Play, text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("millrace.toml");
        std::fs::write(&file, text).unwrap();
        let config = config::load(&file).unwrap().config;
        let (handle, commands, publish) = Handle::scripted(config);
        tokio::spawn(perform(play, commands, publish));
        let server = Server::bind(dir.path()).unwrap();
        let commits = Commits::new(handle.clone(), dir.path());
        let (stop, stopped) = oneshot::channel();
        let server = server.run(handle.clone(), commits, file, async { _ = stopped.await });
        Self { dir, handle, stop: Some(stop), server: tokio::spawn(server) }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join(CONTROL_SOCKET)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.raw("GET", path, None).await;
        (status, parsed(&body))
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let (status, body) = self.raw("POST", path, Some((kind, body))).await;
        (status, parsed(&body))
    }

    async fn raw(&self, method: &str, path: &str, body: Option<(&str, &str)>) -> (u16, Bytes) {
        request(UnixStream::connect(self.socket()).await.unwrap(), method, path, body).await
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        json!({ "file": path }).to_string()
    }
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

async fn request<S>(stream: S, method: &str, path: &str, body: Option<(&str, &str)>) -> (u16, Bytes)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (kind, text) = body.unwrap_or_default();
    let request = hyper::Request::builder().method(method).uri(path).header("content-type", kind);
    let request = request.body(Full::new(Bytes::from(text.to_owned()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

/// Answers what the handle asks, as the runtime would.
async fn perform(play: Play, mut commands: mpsc::Receiver<Command>, publish: watch::Sender<Arc<Config>>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Routes { filter, after, limit, reply } => {
                let after = after.map_or(0, |prefix| prefix.bits() - FIRST + 1);
                let end = play.routes.min(after + u32::try_from(limit).unwrap());
                let mut page = RoutePage { routes: (after..end).map(route).collect(), next: None };
                page.next = (end < play.routes).then(|| route(end - 1).prefix);
                if let RouteSelect::Exact(prefix) = filter.select {
                    page.routes.retain(|route| route.prefix == prefix);
                }
                _ = reply.send(page);
            }
            Command::Nexthops { reply } => _ = reply.send(vec![group()]),
            Command::Query { reply, .. } if !play.dataplane => {
                _ = reply.send(Err(DataplaneAway::NotConnected("No such file or directory".to_owned())));
            }
            Command::Query { query, reply } => _ = reply.send(Ok(answer(&query))),
            Command::Apply { reply, .. } if play.refuses => {
                _ = reply.send(Err(ApplyError::Dataplane("eth1 has no queue 7".to_owned())));
            }
            Command::Apply { config, reply } => {
                let changed = **publish.borrow() != *config;
                publish.send_replace(Arc::new(*config));
                _ = reply.send(Ok(ApplyReport {
                    changed,
                    dataplane: play.dataplane,
                    ..ApplyReport::default()
                }));
            }
            Command::Status { reply } => {
                let mut status = Status::default();
                status.dataplane.connected = play.dataplane;
                let eth1 = InterfaceStatus {
                    name: "eth1".to_owned(),
                    ifindex: Some(5),
                    up: true,
                    addresses: vec![("10.0.0.1".parse().unwrap(), 24)],
                    problem: None,
                };
                status.interfaces = vec![eth1];
                _ = reply.send(status);
            }
            Command::Protocols { reply } => {
                let rip = protocols::ROWS.iter().find(|row| row.name == "rip").unwrap();
                _ = reply.send(vec![protocols::Reach::scripted(rip, rip_view)]);
            }
            Command::Announce { .. } | Command::Track { .. } | Command::ProtocolDied { .. } => {}
            Command::Bfd { reply } => _ = reply.send(bfd()),
            Command::Stop => return,
        }
    }
}

/// One session, just begun.
fn bfd() -> crate::bfd::View {
    let mut machine = millrace_bfd::Bfd::new(1);
    let session = millrace_bfd::SessionKey { interface: IfIndex(5), neighbor: Ipv4Addr::new(10, 0, 0, 2) };
    let client = millrace_bfd::Client::Static;
    let local = Ipv4Addr::new(10, 0, 0, 1);
    machine.handle_input(Instant::ZERO, millrace_bfd::Input::Watch { client, session, local });
    let sessions = machine.sessions(Instant::ZERO).map(|session| ("eth1".to_owned(), session)).collect();
    crate::bfd::View { sessions, ..crate::bfd::View::default() }
}

/// 10.0.0.0: the first of the host routes these tests play.
const FIRST: u32 = 10 << 24;

fn route(n: u32) -> RouteView {
    RouteView {
        prefix: Prefix::host((FIRST + n).into()),
        protocol: millrace_rib::Protocol::Static,
        code: 'S',
        distance: 1,
        metric: 0,
        tag: 0,
        selected: true,
        installed: true,
        problem: None,
        kind: RouteKind::Forward,
        nexthops: group().nexthops,
        group: Some(7),
        age_seconds: 60,
    }
}

/// RIP's views, with a value in every optional place.
fn rip_view(what: &str) -> Value {
    use protocols::rip::view;
    let address = "10.0.0.2".parse().unwrap();
    let interface = "eth1".to_owned();
    let of = |name: &str| BTreeMap::from([(name.to_owned(), 3)]);
    let view = match what {
        "neighbors" => serde_json::to_value([view::Neighbor {
            address,
            interface,
            version: 2,
            heard_seconds_ago: 7,
            routes: 3,
            bad_packets: 1,
            bad_routes: 2,
            bfd: true,
        }]),
        "routes" => serde_json::to_value([view::Route {
            prefix: "10.9.0.0/16".parse().unwrap(),
            metric: 3,
            tag: 7,
            origin: Some("redistributed".to_owned()),
            paths: vec![view::Path {
                neighbor: address,
                interface,
                gateway: address,
                metric: 4,
                tag: 7,
                in_use: true,
                heard_seconds_ago: 5,
                expires_in_seconds: 175,
            }],
        }]),
        "interfaces" => serde_json::to_value([view::Interface {
            name: interface,
            passive: false,
            cost: 1,
            neighbors: 1,
            next_update_in_seconds: Some(12),
            requests_received: 1,
            responses_received: 20,
            requests_sent: 1,
            updates_sent: 21,
            triggered_sent: 2,
            replies_sent: 1,
            unsendable: 0,
            bad_packets: of("auth-failed"),
            bad_routes: of("metric"),
            problem: Some("Operation not permitted (os error 1)".to_owned()),
        }]),
        _ => serde_json::to_value(view::Summary {
            interfaces: 1,
            neighbors: 1,
            routes: 3,
            learned: 2,
            own: 1,
            unsent: 1,
            problems: BTreeMap::from([(interface, "Operation not permitted (os error 1)".to_owned())]),
        }),
    };
    view.unwrap()
}

fn group() -> GroupView {
    let resolved =
        PathView { interface: "eth0".to_owned(), gateway: Some("192.0.2.1".parse().unwrap()), weight: 1 };
    let nexthop = NexthopView {
        gateway: Some("10.9.9.9".parse().unwrap()),
        interface: None,
        weight: 1,
        active: true,
        resolved: vec![resolved.clone()],
    };
    GroupView {
        id: 7,
        kind: RouteKind::Forward,
        active: true,
        installed: true,
        problem: None,
        nexthops: vec![nexthop],
        paths: vec![resolved],
        candidates: 3,
        routes: 3,
    }
}

/// The dataplane's answers, with a value in every optional place.
fn answer(query: &api::Query) -> ReplyBody {
    let mac = "02:00:00:00:00:01".parse().unwrap();
    let member = report::NexthopMember {
        interface: "eth0".to_owned(),
        gateway: Some("192.0.2.1".parse().unwrap()),
        weight: 1,
        buckets: 1,
        mac: Some(mac),
        state: "reachable".to_owned(),
    };
    let nexthop = report::Nexthop { id: 7, kind: "forward".to_owned(), members: vec![member], routes: 3 };
    match query {
        api::Query::Interfaces => ReplyBody::Interfaces(vec![report::Interface {
            name: "eth0".to_owned(),
            ifindex: 4,
            port: 0,
            mac,
            mtu: 1500,
            up: true,
            addresses: vec![("192.0.2.2".parse().unwrap(), 30)],
            xdp: "native".to_owned(),
            on_failure: "kernel".to_owned(),
            queues: vec![report::QueueReport {
                queue: 0,
                worker: 0,
                mode: "copy".to_owned(),
                xdp: report::XdpStatistics::default(),
                socket: report::SocketReport::default(),
            }],
            rx_packets: 1,
            rx_bytes: 2,
            tx_packets: 3,
            tx_bytes: 4,
            xdp_outcomes: vec![("redirected".to_owned(), 5)],
            device_drops: Some(report::DeviceDrops::default()),
            problem: None,
        }]),
        api::Query::Counters => ReplyBody::Counters(report::Counters {
            drops: vec![("no-route".to_owned(), 2), ("from-the-future".to_owned(), 0)],
            verdicts: vec![("tx".to_owned(), 3)],
            icmp_sent: vec![("3/0".to_owned(), 2)],
            xdp: vec![("redirected".to_owned(), 5)],
            frames: report::FrameCensus { total: 9, free: 9, ..report::FrameCensus::default() },
        }),
        api::Query::CaptureStart(order) if order.filter.contains("hots") => {
            ReplyBody::Error { reason: "\"hots\" in the filter".to_owned() }
        }
        api::Query::CaptureStart(_) => ReplyBody::CaptureStarted { id: 7 },
        api::Query::CaptureStop { .. } => ReplyBody::CaptureStopped,
        api::Query::Captured { id, .. } => ReplyBody::Captured(report::Captured {
            packets: vec![report::CapturedPacket {
                time: 1,
                interface: Some("eth0".to_owned()),
                point: "rx".to_owned(),
                reason: None,
                verdict: None,
                trace: *id,
                len: 60,
                bytes: vec![1, 2, 3],
            }],
            missed: 0,
        }),
        api::Query::Workers => ReplyBody::Workers(vec![report::Worker {
            worker: 0,
            cpu: 1,
            busy_seconds: 0.5,
            idle_seconds: 1.5,
            bursts: 2,
            packets: 3,
            wakeups: 4,
            burst_histogram: [1, 1, 0, 0, 0, 0, 0],
            frames_free: 5,
            frames_held: 6,
            scheduling: "nice".to_owned(),
            stages: vec![report::StageTime { stage: "parse".to_owned(), seconds: 0.5, packets: 3 }],
        }]),
        api::Query::Neighbors => ReplyBody::Neighbors(vec![report::Neighbor {
            interface: "eth0".to_owned(),
            address: "192.0.2.1".parse().unwrap(),
            mac: Some(mac),
            state: "reachable".to_owned(),
            used_seconds_ago: Some(1),
        }]),
        api::Query::Nexthops => ReplyBody::Nexthops(vec![nexthop]),
        api::Query::Explain(query) => ReplyBody::Explained(Box::new(report::Explanation {
            interface: "eth0".to_owned(),
            verdict: "reply".to_owned(),
            reason: Some("acl-reject".to_owned()),
            acl_in: Some(report::AclMatch { acl: "wan".to_owned(), rule: Some(1) }),
            prefix: Some(route(0).prefix),
            nexthop: Some(nexthop),
            next_hop: Some(query.destination),
            mtu: Some(query.length),
            ..report::Explanation::default()
        })),
        api::Query::Acls => ReplyBody::Acls(vec![report::AclHits {
            name: "wan".to_owned(),
            rules: vec![report::RuleHits { packets: 2, bytes: 3, policed: 1 }],
            default: report::RuleHits::default(),
            compiled_bytes: 4,
        }]),
        api::Query::Fib { address } => ReplyBody::Fib(report::Fib {
            routes: 3,
            generation: 4,
            tbl8_used: 0,
            tbl8_total: 8,
            groups_used: 1,
            groups_total: 16,
            adjacencies_used: 1,
            adjacencies_total: 32,
            refused: 0,
            answer: address.map(|address| report::FibAnswer {
                address,
                prefix: Some(route(0).prefix),
                nexthop: Some(nexthop),
            }),
        }),
        api::Query::FibRoutes { after, .. } => ReplyBody::FibRoutes(match after {
            None => vec![report::FibRoute { prefix: route(0).prefix, nexthop: 7 }],
            Some(_) => Vec::new(),
        }),
        api::Query::NatStats => ReplyBody::NatStats(api::nat::NatStats {
            configured: true,
            sessions: 2,
            refused: vec![("pool-exhausted".to_owned(), 1)],
            denied: vec![("no-mapping".to_owned(), 3)],
            ..Default::default()
        }),
        api::Query::NatPools => ReplyBody::NatPools(vec![api::nat::NatPoolReport {
            name: "wan".to_owned(),
            addresses: vec!["203.0.113.8".parse().unwrap()],
            ports: "1024-65535".to_owned(),
            shared_with: Some("eth0".to_owned()),
            allocation: "random".to_owned(),
            filtering: Default::default(),
            mappings: 1,
            sessions: 2,
            ports_total: 64512,
            free: api::nat::NatPerProtocol { tcp: 64511, udp: 64512, icmp: 64512 },
            problem: None,
        }]),
        api::Query::NatSessions { from, .. } => {
            let session = api::nat::NatSession {
                protocol: "tcp".to_owned(),
                inside: "192.168.0.5:4000".to_owned(),
                outside: "203.0.113.8:37112".to_owned(),
                remote: "198.51.100.1:443".to_owned(),
                state: "established".to_owned(),
                worker: 0,
                age_seconds: 3,
                expires_seconds: 7437,
            };
            let next = (from.position == 0).then_some(api::nat::NatCursor { worker: 0, position: 1 });
            ReplyBody::NatSessions(api::nat::NatSessions { sessions: vec![session], next })
        }
        api::Query::NatMappings { .. } => ReplyBody::NatMappings(api::nat::NatMappings {
            mappings: vec![api::nat::NatMapping {
                protocol: "tcp".to_owned(),
                inside: "192.168.0.5:4000".to_owned(),
                outside: "203.0.113.8:37112".to_owned(),
                origin: "wan".to_owned(),
                sessions: 2,
                worker: 0,
                age_seconds: 3,
            }],
            next: None,
        }),
        api::Query::NatSubscribers { .. } => ReplyBody::NatSubscribers(vec![api::nat::NatSubscriber {
            inside: "192.168.0.5".parse().unwrap(),
            sessions: 2,
            ports: 1,
            blocks: 0,
        }]),
        api::Query::NatDeterministic(question) => ReplyBody::NatDeterministic(match question {
            api::NatQuestion::Inside(inside) => Some(api::nat::NatDeterministic {
                inside: *inside,
                outside: "203.0.113.8".parse().unwrap(),
                first_port: 1024,
                last_port: 1087,
            }),
            api::NatQuestion::Outside(..) => None,
        }),
        api::Query::NatClear { .. } => ReplyBody::NatCleared { sessions: 2 },
    }
}

// -- what is described is what there is

fn document() -> Value {
    serde_json::from_str(super::api::OPENAPI).unwrap()
}

/// What of `value` the schema does not allow. The part of JSON Schema that the document uses.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let target = name.strip_prefix('#').and_then(|pointer| document.pointer(pointer)).expect(name);
        return misfit(document, target, value, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let misfits: Option<Vec<_>> =
            choices.iter().map(|choice| misfit(document, choice, value, at)).collect();
        return misfits.map(|all| all.join(" or "));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or_else(|| vec![schema["type"].clone()]);
    if !kinds.iter().any(|allowed| allowed == kind || (allowed == "number" && kind == "integer")) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{at}: {value} is none of {allowed:?}"));
    }
    if let Value::Array(items) = value
        && schema["items"].is_object()
    {
        return items.iter().find_map(|item| misfit(document, &schema["items"], item, &format!("{at}[]")));
    }
    let Value::Object(fields) = value else { return None };
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Some(format!("{at}.{required} is missing"));
        }
    }
    fields.iter().find_map(|(name, field)| {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{at} is not described")),
            (Value::Null, Value::Null) => None,
            (Value::Null, other) => misfit(document, other, field, &at),
            (described, _) => misfit(document, described, field, &at),
        }
    })
}

#[tokio::test]
async fn every_described_path_answers_as_described() {
    let document = document();
    let rig = Rig::new(PLAY).await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, toml) = (method.to_uppercase(), Some(("application/toml", CONFIG)));
            // An address as parameter, so that optional parts are there too.
            let path_and_query = match path.rsplit('/').next() {
                Some("explain") => format!("{path}?source=10.0.0.1&destination=10.0.0.0&protocol=icmp"),
                Some("fib") => format!("{path}?address=10.0.0.0"),
                // A capture ends with its count.
                Some("capture") => format!("{path}?count=1"),
                Some("deterministic") => format!("{path}?inside=10.0.0.1"),
                _ => path.clone(),
            };
            let (status, body) = rig.raw(&method, &path_and_query, toml.filter(|_| method == "POST")).await;
            let described = &operation["responses"][status.to_string()];
            assert!(described.is_object(), "{method} {path} answers {status}: {body:?}");
            assert!(
                status == 200 || path.ends_with("confirm") || path.ends_with("rollback"),
                "{method} {path}: {status}"
            );
            let schema = &described["content"]["application/json"]["schema"];
            if schema.is_object() && !path.ends_with("openapi.json") {
                assert_eq!(misfit(&document, schema, &parsed(&body), path), None);
            }
        }
    }
}

#[test]
fn the_schema_check_finds_what_is_wrong() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["integer", "null"]}}, "required": ["a"], "additionalProperties": false});
    let wrong = |value: Value| misfit(&Value::Null, &schema, &value, "").is_some();
    assert!(!wrong(json!({"a": 1})) && !wrong(json!({"a": null})));
    assert!(
        wrong(json!({})) && wrong(json!({"a": "1"})) && wrong(json!({"a": 1, "b": 2})) && wrong(json!([]))
    );
}

#[tokio::test]
async fn wrong_requests_are_answered_in_a_sentence() {
    let document = document();
    let rig = Rig::new(PLAY).await;
    for (method, path, status) in [
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/routes", 405),
        ("GET", "/api/v1/apply", 405),
        ("GET", "/api/v1/routes?prefix=10.1.2.3/8", 400),
        ("GET", "/api/v1/routes?protocol=eigrp", 400),
        ("GET", "/api/v1/routes?colour=blue", 400),
        ("GET", "/api/v1/routes?limit=-1", 400),
        ("GET", "/api/v1/routes?prefix=10.0.0.0/8&address=10.0.0.1", 400),
        ("GET", "/api/v1/fib?address=10.0.0", 400),
        ("GET", "/api/v1/nat/sessions?inside=10.1.2.3/8", 400),
        ("GET", "/api/v1/nat/sessions?protocol=sctp", 400),
        ("GET", "/api/v1/nat/mappings?remote=10.1.2.3", 400),
        ("GET", "/api/v1/nat/deterministic?outside=10.1.2.3", 400),
        ("GET", "/api/v1/nat/clear", 405),
        ("GET", "/api/v1/capture?filter=hots", 400),
        ("GET", "/api/v1/capture?points=rx,middle", 400),
        ("POST", "/api/v1/confirm", 409),
        ("POST", "/api/v1/rollback", 409),
    ] {
        let (code, body) = rig.raw(method, path, None).await;
        assert_eq!(code, status, "{method} {path}: {body:?}");
        let failure = &document["components"]["schemas"]["Failure"];
        assert_eq!(misfit(&document, failure, &parsed(&body), path), None);
    }
}

/// Each path that the page asks for is there, and it takes nothing from another host.
#[tokio::test]
async fn the_dashboard_asks_only_for_what_is_there() {
    let rig = Rig::new(PLAY).await;
    let (status, page) = rig.raw("GET", "/", None).await;
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert_eq!(status, 200);
    assert!(!page.contains("://"), "{page}");
    let list = page.split_once("Promise.all([").unwrap().1.split_once("]").unwrap().0;
    let paths: Vec<String> =
        list.split(", ").map(|name| format!("/api/v1/{}", name.trim_matches('"'))).collect();
    assert_eq!(paths.len(), 5);
    for path in &paths {
        assert_eq!(rig.get(path).await.0, 200, "{path}");
    }
}

// -- tables

#[tokio::test]
async fn a_long_table_comes_whole_and_by_pages() {
    let rig = Rig::new(Play { routes: 10_000, ..PLAY }).await;
    let prefixes = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|route| route["prefix"].as_str().unwrap().to_owned()).collect()
    };
    let all: Vec<String> = (0..10_000).map(|n| route(n).prefix.to_string()).collect();
    let (status, body) = rig.get("/api/v1/routes").await;
    assert_eq!((status, prefixes(&body)), (200, all.clone()));
    let (_, page) = rig.get("/api/v1/routes?limit=5000").await;
    assert_eq!(prefixes(&page), all[..5000]);
    let (_, page) = rig.get("/api/v1/routes?limit=3&after=10.0.0.1/32").await;
    assert_eq!(prefixes(&page), all[2..5]);
    let (_, page) = rig.get(&format!("/api/v1/routes?after={}", all[9_999])).await;
    assert_eq!(page, json!([]));
    let (_, page) = rig.get("/api/v1/routes?limit=0").await;
    assert_eq!(page, json!([]));
    // The filter leaves nothing of the first pages: what follows is looked at all the same.
    let (_, page) = rig.get(&format!("/api/v1/routes?prefix={}", all[9_000])).await;
    assert_eq!(prefixes(&page), all[9_000..9_001]);
}

#[tokio::test]
async fn interfaces_are_those_of_the_configuration() {
    let rig = Rig::new(PLAY).await;
    let (_, body) = rig.get("/api/v1/interfaces").await;
    assert_eq!(body[0]["addresses"], json!(["192.0.2.2/30"]));
    assert_eq!(body[0]["problem"], Value::Null);
    assert_eq!(body[1]["name"], "eth1");
    assert_eq!(body[1]["addresses"], json!(["10.0.0.1/24"]));
    assert_eq!(body[1]["problem"], "the dataplane has not taken the interface into service yet");
}

#[tokio::test]
async fn without_a_dataplane_the_rest_still_answers() {
    let rig = Rig::new(Play { dataplane: false, ..PLAY }).await;
    for path in ["version", "status", "config", "routes", "nexthops", "interfaces"] {
        assert_eq!(rig.get(&format!("/api/v1/{path}")).await.0, 200, "{path}");
    }
    for path in ["fib", "fib/routes", "neighbors", "counters", "drops", "workers"] {
        let (status, body) = rig.get(&format!("/api/v1/{path}")).await;
        assert_eq!(status, 503, "{path}");
        assert_eq!(body["error"], "the dataplane is not connected: No such file or directory");
    }
    let (_, body) = rig.get("/api/v1/interfaces").await;
    assert_eq!(body[1]["problem"], "the dataplane is not connected: No such file or directory");
    let (_, metrics) = rig.raw("GET", "/metrics", None).await;
    assert!(String::from_utf8_lossy(&metrics).contains("millrace_dataplane_up 0\n"));
}

// -- configurations

#[tokio::test]
async fn a_good_configuration_is_put_in_force_and_a_bad_one_is_not() {
    let rig = Rig::new(PLAY).await;
    let before = rig.handle.config();
    for (kind, body, status, error) in [
        ("application/toml", "[[interface]]\nname = 7\n".to_owned(), 422, "the configuration is not right"),
        ("application/json", rig.file("bad.toml", "[router\n"), 422, "the configuration is not right"),
        ("application/json", "{\"file\": \"relative.toml\"}".to_owned(), 400, "not an absolute path"),
        ("application/json", "{\"name\": \"x\"}".to_owned(), 400, "not {\"file\": \"/path\"}"),
        ("application/json; charset=utf-8", "[1".to_owned(), 400, "not {\"file\": \"/path\"}"),
    ] {
        let (code, answer) = rig.post("/api/v1/apply", kind, &body).await;
        assert_eq!(code, status, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(error), "{answer}");
        assert_eq!(answer["problems"].is_array(), code == 422, "{answer}");
        assert_eq!(rig.handle.config(), before);
    }
    let good = rig.file("good.toml", "[[interface]]\nname = \"eth0\"\n");
    let (code, answer) = rig.post("/api/v1/diff", "application/json", &good).await;
    assert_eq!((code, &answer["changes"][0]["setting"]), (200, &json!("interface \"eth1\"")));
    assert_eq!(rig.handle.config(), before);
    let (code, answer) = rig.post("/api/v1/apply", "application/json", &good).await;
    assert_eq!((code, &answer["result"]["changed"]), (200, &json!(true)));
    assert_eq!(rig.handle.config().interfaces.len(), 1);
    let (_, answer) = rig.post("/api/v1/apply", "application/json", &good).await;
    assert_eq!((&answer["result"]["changed"], &answer["changes"]), (&json!(false), &json!([])));
    // Back, and back again.
    assert_eq!(rig.post("/api/v1/rollback", "", "").await.0, 200);
    assert_eq!(rig.handle.config(), before);
    assert_eq!(rig.post("/api/v1/rollback", "", "").await.0, 200);
    assert_eq!(rig.handle.config().interfaces.len(), 1);
}

#[tokio::test]
async fn what_the_dataplane_refuses_is_not_in_force() {
    let rig = Rig::new(Play { refuses: true, ..PLAY }).await;
    for path in ["/api/v1/apply", "/api/v1/apply?confirm=60"] {
        let (code, answer) = rig.post(path, "application/toml", "").await;
        assert_eq!(code, 422);
        assert_eq!(answer["error"], "the dataplane refuses the configuration: eth1 has no queue 7");
    }
    assert_eq!(rig.get("/api/v1/config").await.1["confirm"], Value::Null);
    assert!(unconfirmed(rig.dir.path()).is_none());
}

#[tokio::test]
async fn relative_names_in_a_posted_text_are_beside_the_configuration() {
    let rig = Rig::new(PLAY).await;
    rig.file("table.csv", "10.1.0.0/16\n10.2.0.0/16\n");
    let text = "[[static]]\nprefixes-from = \"table.csv\"\nkind = \"blackhole\"\n";
    assert_eq!(rig.post("/api/v1/apply", "application/toml", text).await.0, 200);
    assert_eq!(rig.handle.config().statics[0].prefixes.len(), 2);
}

async fn commits() -> (tempfile::TempDir, Handle, Commits) {
    let dir = tempfile::tempdir().unwrap();
    let config = config::parse(CONFIG, Path::new("m.toml")).unwrap().config;
    let (handle, commands, publish) = Handle::scripted(config);
    tokio::spawn(perform(PLAY, commands, publish));
    let commits = Commits::new(handle.clone(), dir.path());
    (dir, handle, commits)
}

fn other(name: &str) -> Config {
    config::parse(&format!("[router]\nname = \"{name}\"\n"), Path::new("m.toml")).unwrap().config
}

#[tokio::test(start_paused = true)]
async fn an_unconfirmed_configuration_is_taken_back() {
    let (dir, handle, commits) = commits().await;
    let before = handle.config();
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(commits.pending().await.unwrap().seconds_left, 30);
    // A second change on probation still leads back to the last good one.
    commits.apply_on_probation(other("b"), 60).await.unwrap();
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(*handle.config(), other("b"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(handle.config(), before);
    assert_eq!(commits.pending().await, None);
    assert!(unconfirmed(dir.path()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_configuration_stays() {
    let (dir, handle, commits) = commits().await;
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    commits.confirm().await.unwrap();
    assert!(commits.confirm().await.is_err());
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("a"));
    assert!(unconfirmed(dir.path()).is_none());
    // So does one that is applied for good while another is on probation.
    commits.apply_on_probation(other("b"), 60).await.unwrap();
    commits.apply(other("c")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("c"));
    // And what somebody else put in force meanwhile.
    commits.apply_on_probation(other("d"), 60).await.unwrap();
    handle.apply(other("e")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(*handle.config(), other("e"));
}

#[tokio::test]
async fn a_restart_during_probation_starts_with_the_configuration_before() {
    let (dir, handle, commits) = commits().await;
    let before = handle.config();
    commits.apply_on_probation(other("a"), 60).await.unwrap();
    drop((handle, commits));
    let found = unconfirmed(dir.path()).unwrap().unwrap();
    assert_eq!(found.config, *before);
    assert!(unconfirmed(dir.path()).is_none(), "once is enough");
}

#[tokio::test]
async fn probation_has_bounds() {
    let (_dir, _handle, commits) = commits().await;
    for seconds in [0, 86_401] {
        assert!(commits.apply_on_probation(other("a"), seconds).await.is_err());
    }
}

// -- sockets

#[tokio::test]
async fn the_socket_is_for_owner_and_group_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    let mut rig = Rig::new(PLAY).await;
    let mode = std::fs::metadata(rig.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let error = Server::bind(rig.dir.path()).unwrap_err();
    assert!(error.to_string().contains(&rig.dir.path().display().to_string()), "{error}");
    rig.stop.take().unwrap().send(()).unwrap();
    (&mut rig.server).await.unwrap();
    assert!(!rig.socket().exists());
    // What a process that was killed leaves behind is in nobody's way.
    std::fs::write(rig.socket(), "").unwrap();
    Server::bind(rig.dir.path()).unwrap();
}

/// A port nobody listens on at present.
async fn free_port() -> u16 {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn listening(port: u16) -> Config {
    let text = format!("{CONFIG}[http]\nlisten = \"127.0.0.1:{port}\"\n");
    config::parse(&text, Path::new("m.toml")).unwrap().config
}

/// Without what changes from one moment to the next.
fn steady(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().filter(|line| !line.starts_with("millrace_process_")).collect::<Vec<_>>().join("\n")
}

async fn until<T, F: Future<Output = Option<T>>>(mut condition: impl FnMut() -> F) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap()
}

#[tokio::test]
async fn over_tcp_there_is_the_same_for_reading_only() {
    let rig = Rig::new(PLAY).await;
    let port = free_port().await;
    rig.handle.apply(listening(port)).await.unwrap();
    let connect = || async { TcpStream::connect(("127.0.0.1", port)).await.ok() };
    for path in ["/metrics", "/api/v1/interfaces", "/api/v1/openapi.json"] {
        let (status, body) = request(until(connect).await, "GET", path, None).await;
        let (local_status, local) = rig.raw("GET", path, None).await;
        assert_eq!((status, steady(&body)), (local_status, steady(&local)), "{path}");
    }
    let before = rig.handle.config();
    for path in ["/api/v1/apply", "/api/v1/rollback", "/api/v1/confirm", "/api/v1/diff", "/nothing"] {
        let (status, body) =
            request(until(connect).await, "POST", path, Some(("application/toml", ""))).await;
        assert_eq!(status, 403, "{path}");
        assert!(parsed(&body)["error"].as_str().unwrap().contains("for reading only"));
    }
    assert_eq!(rig.handle.config(), before);
    assert_eq!(rig.get("/api/v1/status").await.1["http"]["address"], format!("127.0.0.1:{port}"));
    // It moves with the configuration, and goes with it.
    let next = free_port().await;
    rig.handle.apply(listening(next)).await.unwrap();
    until(|| async { TcpStream::connect(("127.0.0.1", next)).await.ok() }).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    rig.handle.apply(config::parse(CONFIG, Path::new("m.toml")).unwrap().config).await.unwrap();
    until(|| async { TcpStream::connect(("127.0.0.1", next)).await.err() }).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_said() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::new(PLAY).await;
    rig.handle.apply(listening(taken.local_addr().unwrap().port())).await.unwrap();
    let problem =
        until(|| async { rig.get("/api/v1/status").await.1["http"]["problem"].as_str().map(str::to_owned) })
            .await;
    assert!(problem.contains("Address already in use"), "{problem}");
}
