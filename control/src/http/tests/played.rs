//! The runtime and the dataplane as these tests play them: one answer to each question.

use super::*;

/// Answers what the handle asks, as the runtime would.
pub(super) async fn perform(
    play: Play,
    mut commands: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<Config>>,
) {
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

pub(super) fn route(n: u32) -> RouteView {
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
