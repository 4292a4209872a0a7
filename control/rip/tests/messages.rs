//! Requests and responses: what is asked, what is answered, what is believed, what is refused and counted as what.
//! RFC 2453 §3.9, §4; RFC 4822 §2.3.2; RFC 5082.

mod common;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use common::{
    A, B, C, ETH0, ETH1, Router, chain, config, datagram, entries, interface, key, prefix, response, route,
    said, sent, show, tagged,
};
use millrace_proto::{Algorithm, Datagram, InterfaceAddress, InterfaceEvent};
use millrace_rip::config::{Authentication, Mode, Offset, SplitHorizon, TtlSecurity};
use millrace_rip::wire::{Command, Entry, Packet, Protection, Version, encode};
use millrace_rip::{
    BadPacket, BadRoute, Config, Cost, Input, InterfaceConfig, Metric, Output, Redistributed,
};

const NET: &str = "192.0.2.0/24";

fn both(eth: InterfaceConfig) -> Config {
    config(eth.clone(), eth)
}

fn redistribute(net: &str, metric: u8, tag: u16, next_hop: Option<Ipv4Addr>) -> Input {
    Input::Redistribute(Redistributed {
        protocol: millrace_policy::Protocol::Static,
        prefix: prefix(net),
        metric: Metric::new(metric),
        tag,
        next_hop,
    })
}

fn request(entries: &[Entry]) -> Vec<u8> {
    encode(Command::Request, Version::V2, entries, Protection::None)
}

fn bad_packets(router: &Router) -> Vec<(BadPacket, u64)> {
    let eth0 = router.rip.interfaces(router.now).next().expect("eth0");
    eth0.stats.bad_packets.iter().filter(|(_, count)| *count != 0).collect()
}

fn bad_routes(router: &Router) -> Vec<(BadRoute, u64)> {
    let eth0 = router.rip.interfaces(router.now).next().expect("eth0");
    eth0.stats.bad_routes.iter().filter(|(_, count)| *count != 0).collect()
}

fn learned(router: &Router) -> Vec<String> {
    let routes = router.rip.routes(router.now).filter(|view| view.paths.iter().any(|path| path.in_use));
    routes.map(|view| format!("{} {}", view.prefix, view.metric)).collect()
}

/// RFC 2453 §3.9.1: on every network, from the RIP port, to the multicast group, with TTL 1.
#[test]
fn a_router_that_comes_up_asks_for_tables() {
    let mut router = Router { rip: millrace_rip::Rip::new(7), now: millrace_proto::Instant::ZERO };
    assert!(router.tell(Input::Configure(both(InterfaceConfig::default()))).is_empty());
    for index in [ETH0, ETH1] {
        let outputs = router.tell(Input::Interface(InterfaceEvent::Upsert(interface(index))));
        assert_eq!(outputs[0], Output::Listen(index));
        let Output::Send(first) = &outputs[1] else { panic!("{outputs:?}") };
        assert_eq!((first.interface, first.ttl), (index, 1));
        assert_eq!(first.source, SocketAddrV4::new(interface(index).addresses[0].address, 520));
        assert_eq!(first.destination, SocketAddrV4::new([224, 0, 0, 9].into(), 520));
        assert_eq!(Packet::decode(&first.payload).unwrap().command, Command::Request);
        assert_eq!(entries(&first.payload), [Entry::WHOLE_TABLE]);
    }
    // The first regular update follows within a second; what a new network needs to know does not wait for 30.
    let outputs = router.pass(Duration::from_secs(1));
    assert!(said(&outputs, ETH0).contains(&"10.0.1.0/24 metric 1".into()), "{outputs:?}");
}

/// RFC 2453 §3.9.1: the whole table goes where the request came from, with split horizon.
#[test]
fn a_request_for_everything() {
    let mut router = Router::quiet();
    router.hear(A, &[route(NET, 3)]);
    router.hear(C, &[route("198.51.100.0/24", 5)]);
    router.pass(Duration::from_secs(9));
    for port in [520, 4242] {
        let ask = Datagram {
            source: SocketAddrV4::new(B, port),
            ..datagram(ETH0, B, request(&[Entry::WHOLE_TABLE]))
        };
        let outputs = router.tell(Input::Datagram(ask));
        let answers = sent(&outputs);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].destination, SocketAddrV4::new(B, port));
        assert_eq!(answers[0].source, SocketAddrV4::new([10, 0, 0, 1].into(), 520));
        assert_eq!(
            said(&outputs, ETH0),
            ["10.0.1.0/24 metric 1", "192.0.2.0/24 metric 16", "198.51.100.0/24 metric 6"]
        );
    }
}

/// RFC 2453 §3.9.1: each entry is filled in, in order, as the table has it, without split horizon.
#[test]
fn a_request_for_some_entries() {
    let mut router = Router::quiet();
    router.hear(A, &[route(NET, 3)]);
    router.pass(Duration::from_secs(9));
    let unknown_family = Entry { family: 7, ..route(NET, 1) };
    let asked = [route("203.0.113.0/24", 0), route(NET, 0), route("10.0.0.0/24", 0), unknown_family];
    let outputs = router.tell(Input::Datagram(datagram(ETH0, A, request(&asked))));
    let answers = entries(&sent(&outputs)[0].payload);
    assert_eq!(answers.iter().map(|entry| entry.metric).collect::<Vec<_>>(), [16, 4, 1, 16]);
    assert_eq!(answers.iter().map(|entry| entry.family).collect::<Vec<_>>(), [2, 2, 2, 7]);
    // Nothing asked, nothing answered.
    assert!(router.tell(Input::Datagram(datagram(ETH0, A, request(&[])))).is_empty());
}

/// A router that only listens answers monitors, which ask from other ports, and not routers (RFC 1058 §3.4.1).
#[test]
fn a_passive_interface_listens() {
    let passive = InterfaceConfig { passive: true, ..InterfaceConfig::default() };
    let mut router = Router::new(config(passive, InterfaceConfig::default()));
    let outputs = router.hear(A, &[route(NET, 3)]);
    assert_eq!(learned(&router), ["192.0.2.0/24 4"]);
    assert_eq!((said(&outputs, ETH0), said(&outputs, ETH1)), (vec![], vec!["192.0.2.0/24 metric 4".into()]));
    assert!(said(&router.pass(Duration::from_secs(100)), ETH0).is_empty());
    let ask = datagram(ETH0, A, request(&[Entry::WHOLE_TABLE]));
    assert!(router.tell(Input::Datagram(ask.clone())).is_empty());
    let monitor = Datagram { source: SocketAddrV4::new(A, 4242), ..ask };
    assert!(!router.tell(Input::Datagram(monitor)).is_empty());
}

/// Listed neighbours are sent to one by one, on passive interfaces too; those of other networks are not.
#[test]
fn unicast_neighbours() {
    let neighbors = vec![A, Ipv4Addr::new(10, 9, 9, 9)];
    for (passive, expected) in [(true, vec![A]), (false, vec![Ipv4Addr::new(224, 0, 0, 9), A])] {
        let eth0 = InterfaceConfig { passive, neighbors: neighbors.clone(), ..InterfaceConfig::default() };
        let mut router = Router::new(config(eth0, InterfaceConfig::default()));
        let outputs = router.pass(Duration::from_secs(36));
        let to: Vec<Ipv4Addr> =
            sent(&outputs).iter().filter(|t| t.interface == ETH0).map(|t| *t.destination.ip()).collect();
        assert_eq!(to[..expected.len()], expected);
        assert!(to.iter().all(|address| expected.contains(address)));
    }
}

#[test]
fn broadcast_mode_sends_to_the_subnet() {
    let mut router =
        Router::new(both(InterfaceConfig { mode: Mode::Broadcast, ..InterfaceConfig::default() }));
    let outputs = router.pass(Duration::from_secs(36));
    assert!(sent(&outputs).iter().all(|t| t.destination.ip().octets()[3] == 255));
}

/// RFC 2453 §3.9.2, §4.1, §4.6: every reason to ignore a message, one counter each, and nothing believed.
#[test]
fn messages_that_are_refused() {
    let net = || response(&[route(NET, 1)]);
    let plain = Authentication::Plain(chain(&[key(1, Algorithm::KeyedMd5, "secret")]));
    let md5 = key(5, Algorithm::KeyedMd5, "secret");
    let crypto = Authentication::Cryptographic(chain(std::slice::from_ref(&md5)));
    let with = |protection| encode(Command::Response, Version::V2, &[route(NET, 1)], protection);
    let wrong = key(5, Algorithm::KeyedMd5, "secreT");
    let other_id = key(6, Algorithm::KeyedMd5, "secret");
    let longer = key(5, Algorithm::HmacSha256, "secret");
    let mut off_by_one = with(Protection::Cryptographic { key: &md5, sequence: 1 });
    off_by_one[9] += 1;
    let v1 = encode(Command::Response, Version::V1, &[route("192.0.2.0/24", 1)], Protection::None);
    let mut v1_tagged = v1.clone();
    v1_tagged[6] = 1;
    let none = Authentication::None;
    let change = |at: usize, to: u8| {
        let mut octets = net();
        octets[at] = to;
        octets
    };
    let cases: Vec<(BadPacket, &Authentication, Datagram)> = vec![
        (BadPacket::Truncated, &none, datagram(ETH0, A, vec![2, 2, 0])),
        (BadPacket::Length, &none, datagram(ETH0, A, net()[..23].to_vec())),
        (BadPacket::Command, &none, datagram(ETH0, A, change(0, 9))),
        (BadPacket::Version, &none, datagram(ETH0, A, change(1, 0))),
        (BadPacket::VersionOne, &none, datagram(ETH0, A, v1.clone())),
        (BadPacket::VersionOne, &plain, datagram(ETH0, A, v1)),
        (BadPacket::MustBeZero, &none, datagram(ETH0, A, v1_tagged)),
        (
            BadPacket::SourcePort,
            &none,
            Datagram { source: SocketAddrV4::new(A, 521), ..datagram(ETH0, A, net()) },
        ),
        (BadPacket::NotNeighbor, &none, datagram(ETH0, C, net())),
        (BadPacket::Own, &none, datagram(ETH0, [10, 0, 0, 1].into(), net())),
        (BadPacket::Own, &none, datagram(ETH0, [10, 0, 1, 1].into(), net())),
        (BadPacket::AuthMissing, &plain, datagram(ETH0, A, net())),
        (BadPacket::AuthMissing, &crypto, datagram(ETH0, A, net())),
        (BadPacket::AuthType, &none, datagram(ETH0, A, with(Protection::Plain(&md5.secret)))),
        (BadPacket::AuthType, &crypto, datagram(ETH0, A, with(Protection::Plain(&md5.secret)))),
        (
            BadPacket::AuthType,
            &plain,
            datagram(ETH0, A, with(Protection::Cryptographic { key: &md5, sequence: 1 })),
        ),
        (BadPacket::AuthLength, &crypto, datagram(ETH0, A, off_by_one)),
        (
            BadPacket::AuthLength,
            &crypto,
            datagram(ETH0, A, with(Protection::Cryptographic { key: &longer, sequence: 1 })),
        ),
        (
            BadPacket::AuthKey,
            &crypto,
            datagram(ETH0, A, with(Protection::Cryptographic { key: &other_id, sequence: 1 })),
        ),
        (
            BadPacket::AuthFailed,
            &crypto,
            datagram(ETH0, A, with(Protection::Cryptographic { key: &wrong, sequence: 1 })),
        ),
        (BadPacket::AuthFailed, &plain, datagram(ETH0, A, with(Protection::Plain(&wrong.secret)))),
    ];
    for (reason, authentication, datagram) in cases {
        let eth0 = InterfaceConfig { authentication: authentication.clone(), ..InterfaceConfig::default() };
        let mut router = Router::new(config(eth0, InterfaceConfig::default()));
        router.tell(Input::Datagram(datagram));
        assert_eq!(bad_packets(&router), [(reason, 1)]);
        assert!(learned(&router).is_empty() && router.rip.neighbors(router.now).is_empty(), "{reason:?}");
    }
}

/// A version over 2 is read as 2 (RFC 2453 §4.6); interfaces without RIP hear nothing.
#[test]
fn what_is_taken_and_what_is_not_heard() {
    let mut router = Router::quiet();
    let mut later = response(&[route(NET, 1)]);
    later[1] = 3;
    router.tell(Input::Datagram(datagram(ETH0, A, later)));
    assert_eq!(learned(&router), ["192.0.2.0/24 2"]);
    let elsewhere = datagram(millrace_proto::IfIndex(99), A, response(&[route("10.7.0.0/16", 1)]));
    assert!(router.tell(Input::Datagram(elsewhere)).is_empty());
    assert!(bad_packets(&router).is_empty());
}

/// RFC 2453 §3.9.2: a bad entry is skipped and counted, the ones around it count.
#[test]
fn entries_that_are_refused() {
    let entry = |address: [u8; 4], mask: u32, metric| Entry {
        family: 2,
        tag: 0,
        address: address.into(),
        mask: mask.into(),
        next_hop: Ipv4Addr::UNSPECIFIED,
        metric,
    };
    let mut router = Router::quiet();
    for (reason, bad) in [
        (BadRoute::Family, Entry { family: 3, ..route(NET, 1) }),
        (BadRoute::Family, Entry { family: 0xffff, ..route(NET, 1) }),
        (BadRoute::Metric, route("198.51.100.0/24", 0)),
        (BadRoute::Metric, route("198.51.100.0/24", 17)),
        (BadRoute::Metric, route("198.51.100.0/24", 257)),
        (BadRoute::Mask, entry([198, 51, 100, 0], 0xffff_00ff, 1)),
        (BadRoute::HostBits, entry([198, 51, 100, 1], 0xffff_ff00, 1)),
        (BadRoute::Address, entry([0, 0, 0, 0], 0xff00_0000, 1)),
        (BadRoute::Address, entry([0, 1, 0, 0], 0xffff_0000, 1)),
        (BadRoute::Address, entry([127, 0, 0, 0], 0xff00_0000, 1)),
        (BadRoute::Address, entry([224, 0, 0, 0], 0xff00_0000, 1)),
        (BadRoute::Address, entry([255, 255, 255, 255], 0xffff_ffff, 1)),
    ] {
        let before = bad_routes(&router).iter().map(|(_, count)| count).sum::<u64>();
        // An authentication entry may only come first.
        router.hear(A, &[route(NET, 1), bad, route("203.0.113.0/24", 2)]);
        let count =
            bad_routes(&router).iter().find(|(counted, _)| *counted == reason).map(|(_, count)| *count);
        assert!(count.is_some(), "{reason:?} {}", show(&bad));
        assert_eq!(bad_routes(&router).iter().map(|(_, count)| count).sum::<u64>(), before + 1);
        assert_eq!(learned(&router), ["192.0.2.0/24 2", "203.0.113.0/24 3"], "{}", show(&bad));
    }
    // The default route is a destination like any other.
    router.hear(A, &[route("0.0.0.0/0", 4)]);
    assert_eq!(learned(&router)[0], "0.0.0.0/0 5");
}

/// RFC 2453 §4.4: a next hop that can be reached directly is used, any other is the sender; the tag travels along.
#[test]
fn next_hops_and_tags() {
    let mut router = Router::quiet();
    let near = Ipv4Addr::new(10, 0, 0, 77);
    for (named, gateway) in [(near, near), (C, A), (A, A), (Ipv4Addr::UNSPECIFIED, A)] {
        router.hear(A, &[route(NET, 16)]);
        let outputs = router.hear(A, &[tagged(NET, 3, 4660, named)]);
        let told =
            common::routes(&outputs).first().map(|route| (route.next_hops[0].gateway.unwrap(), route.tag));
        assert_eq!(told, Some((gateway, 4660)), "{named}");
    }
    router.pass(Duration::from_secs(9));
    let everything = router.tell(Input::Datagram(datagram(ETH1, C, request(&[Entry::WHOLE_TABLE]))));
    assert!(said(&everything, ETH1).contains(&"192.0.2.0/24 metric 4 tag 4660".into()));
    // A neighbour that would send packets for it here is no way to it.
    let back = router.hear(A, &[tagged(NET, 3, 4660, [10, 0, 0, 1].into())]);
    assert_eq!(said(&back, ETH1), ["192.0.2.0/24 metric 16 tag 4660"]);
    assert!(bad_routes(&router).is_empty());
    router.pass(Duration::from_secs(9));
    // A static route by way of a router on eth0: those on eth0 are told that router, those on eth1 are not.
    let outputs = router.tell(redistribute("198.51.100.0/24", 2, 9, Some(near)));
    assert_eq!(said(&outputs, ETH0), ["198.51.100.0/24 metric 2 tag 9 via 10.0.0.77"]);
    assert_eq!(said(&outputs, ETH1), ["198.51.100.0/24 metric 2 tag 9"]);
}

/// RFC 2453 §3.7, §4.3, §5.1: a mask that is not given is that of the class, of the receiving network, or of a host.
#[test]
fn masks_that_are_not_given() {
    let eth = InterfaceConfig { receive_version_1: true, ..InterfaceConfig::default() };
    for (address, expected) in [
        ([0, 0, 0, 0], "0.0.0.0/0"),
        ([20, 0, 0, 0], "20.0.0.0/8"),
        ([172, 16, 0, 0], "172.16.0.0/16"),
        ([192, 0, 2, 0], "192.0.2.0/24"),
        ([192, 0, 2, 5], "192.0.2.5/32"),
        ([10, 7, 3, 0], "10.7.3.0/24"),
        ([10, 7, 3, 1], "10.7.3.1/32"),
    ] {
        for version in [Version::V1, Version::V2] {
            let bare = Entry { address: address.into(), mask: 0.into(), ..route(NET, 3) };
            let mut router = Router::new(both(eth.clone()));
            router.tell(Input::Datagram(datagram(
                ETH0,
                A,
                encode(Command::Response, version, &[bare], Protection::None),
            )));
            assert_eq!(learned(&router), [format!("{expected} 4")], "{version:?}");
        }
    }
}

/// RFC 2453 §5.1: a version 1 request is answered in version 1, with what version 1 can say.
#[test]
fn version_1_requests() {
    let eth = InterfaceConfig { receive_version_1: true, ..InterfaceConfig::default() };
    let mut router = Router::new(both(eth));
    router.hear(C, &[route("192.0.2.0/24", 1), route("198.51.100.0/25", 1), route("172.16.0.0/16", 1)]);
    router.pass(Duration::from_secs(9));
    let ask = encode(Command::Request, Version::V1, &[Entry::WHOLE_TABLE], Protection::None);
    let outputs = router.tell(Input::Datagram(datagram(ETH0, A, ask)));
    let answers = sent(&outputs);
    assert_eq!(Packet::decode(&answers[0].payload).unwrap().version, Version::V1);
    assert_eq!(
        said(&outputs, ETH0),
        ["10.0.1.0/0 metric 1", "172.16.0.0/0 metric 2", "192.0.2.0/0 metric 2"]
    );
}

/// RFC 4822: messages of every algorithm are signed and believed; two of our own routers understand each other.
#[test]
fn authenticated_exchange() {
    let plain = Authentication::Plain(chain(&[key(1, Algorithm::KeyedMd5, "secret")]));
    let cryptographic = Algorithm::ALL.map(|a| Authentication::Cryptographic(chain(&[key(3, a, "secret")])));
    for authentication in cryptographic.into_iter().chain([plain]) {
        let eth = InterfaceConfig { authentication, ..InterfaceConfig::default() };
        let mut teacher = Router::new(both(eth.clone()));
        let mut pupil = Router::new(both(eth.clone()));
        let many: Vec<String> = (0..60).map(|i| format!("10.200.{i}.0/24")).collect();
        let mut messages = Vec::new();
        for net in &many {
            messages.extend(teacher.tell(redistribute(net, 1, 0, None)));
        }
        messages.extend(teacher.pass(Duration::from_secs(6)));
        for transmit in sent(&messages).into_iter().filter(|transmit| transmit.interface == ETH0) {
            assert!(transmit.payload.len() <= 512);
            pupil.tell(Input::Datagram(datagram(ETH0, A, transmit.payload.clone())));
        }
        assert_eq!(learned(&pupil).len(), 60, "{:?}", eth.authentication);
        assert!(bad_packets(&pupil).is_empty());
    }
}

/// RFC 4822 §2.3.2: older sequence numbers are refused, equal ones are not, and silence for a time-out forgets.
#[test]
fn replayed_messages() {
    let md5 = key(5, Algorithm::KeyedMd5, "secret");
    let sha = key(6, Algorithm::HmacSha256, "secret");
    let authentication = Authentication::Cryptographic(chain(&[md5.clone(), sha.clone()]));
    let eth0 = InterfaceConfig { authentication, ..InterfaceConfig::default() };
    let mut router = Router::new(config(eth0, InterfaceConfig::default()));
    let say = |router: &mut Router, key, sequence, metric| {
        let payload = encode(
            Command::Response,
            Version::V2,
            &[route(NET, metric)],
            Protection::Cryptographic { key, sequence },
        );
        router.tell(Input::Datagram(datagram(ETH0, A, payload)));
        learned(router)
    };
    assert_eq!(say(&mut router, &md5, 100, 3), ["192.0.2.0/24 4"]);
    assert_eq!(say(&mut router, &md5, 99, 9), ["192.0.2.0/24 4"]);
    assert_eq!(say(&mut router, &md5, 0, 9), ["192.0.2.0/24 4"]);
    assert_eq!(bad_packets(&router), [(BadPacket::AuthReplay, 2)]);
    assert_eq!(say(&mut router, &md5, 100, 5), ["192.0.2.0/24 6"]);
    // Numbers are counted for each key.
    assert_eq!(say(&mut router, &sha, 1, 6), ["192.0.2.0/24 7"]);
    router.pass(Duration::from_secs(181));
    assert_eq!(say(&mut router, &md5, 1, 2), ["192.0.2.0/24 3"]);
}

/// Our own numbers grow from message to message, and from one life of the process to the next.
#[test]
fn our_sequence_numbers_grow() {
    let md5 = key(5, Algorithm::KeyedMd5, "secret");
    let eth = InterfaceConfig {
        authentication: Authentication::Cryptographic(chain(&[md5])),
        ..InterfaceConfig::default()
    };
    let mut router = Router::new(both(eth));
    let outputs = router.pass(Duration::from_secs(120));
    let numbers: Vec<u32> = sent(&outputs)
        .iter()
        .map(|transmit| {
            let packet = Packet::decode(&transmit.payload).unwrap();
            let millrace_rip::wire::Authentication::Cryptographic { sequence, .. } = packet.authentication
            else {
                panic!("{:?}", packet.authentication)
            };
            sequence
        })
        .collect();
    assert!(numbers.len() > 4 && numbers.is_sorted(), "{numbers:?}");
    assert!(u64::from(numbers[0]) >= common::EPOCH.0);
}

/// RFC 5082: messages leave with TTL 255, and with `On` any other TTL is refused.
#[test]
fn ttl_security() {
    for (setting, ttl, reached) in [
        (TtlSecurity::Off, 1, vec![1, 254, 255]),
        (TtlSecurity::SendOnly, 255, vec![1, 254, 255]),
        (TtlSecurity::On, 255, vec![255]),
    ] {
        let eth = InterfaceConfig { ttl_security: setting, ..InterfaceConfig::default() };
        for seen in [1, 254, 255] {
            let mut router = Router::new(both(eth.clone()));
            router.tell(Input::Datagram(Datagram {
                ttl: Some(seen),
                ..datagram(ETH0, A, response(&[route(NET, 1)]))
            }));
            assert_eq!(!learned(&router).is_empty(), reached.contains(&seen), "{setting:?} {seen}");
        }
        let mut router = Router::new(both(eth));
        assert!(sent(&router.pass(Duration::from_secs(36))).iter().all(|transmit| transmit.ttl == ttl));
    }
}

/// RFC 2453 §3.4.3: what is said back on the link a route was learned on, in regular, triggered and asked-for updates.
#[test]
fn split_horizon() {
    for (setting, regular, triggered) in [
        (SplitHorizon::Off, Some(4), Some(4)),
        (SplitHorizon::Simple, None, Some(16)),
        (SplitHorizon::PoisonedReverse, Some(16), Some(16)),
    ] {
        let mut router =
            Router::new(both(InterfaceConfig { split_horizon: setting, ..InterfaceConfig::default() }));
        let metric = |said: Vec<String>| {
            let text =
                said.into_iter().find_map(|text| text.strip_prefix("192.0.2.0/24 metric ").map(String::from));
            text.map(|text| text.split(' ').next().unwrap().parse::<u32>().unwrap())
        };
        let outputs = router.hear(A, &[route(NET, 3)]);
        assert_eq!(
            (metric(said(&outputs, ETH0)), metric(said(&outputs, ETH1))),
            (triggered, Some(4)),
            "{setting:?}"
        );
        let outputs = router.pass(Duration::from_secs(36));
        assert_eq!(
            (metric(said(&outputs, ETH0)), metric(said(&outputs, ETH1))),
            (regular, Some(4)),
            "{setting:?}"
        );
        let asked = router.tell(Input::Datagram(datagram(ETH0, B, request(&[Entry::WHOLE_TABLE]))));
        assert_eq!(metric(said(&asked, ETH0)), regular, "{setting:?}");
        // The link's own network is not news to those on it.
        assert_eq!(said(&asked, ETH0).contains(&"10.0.0.0/24 metric 1".into()), setting == SplitHorizon::Off);
    }
}

/// Cost, and offsets in and out (RFC 2453 §3.5).
#[test]
fn costs_and_offsets() {
    let offset = |within: &str, add| Offset { within: vec![prefix(within)], add };
    let eth0 = InterfaceConfig {
        cost: Cost::new(3).unwrap(),
        offset_in: vec![offset("192.0.0.0/8", 2)],
        ..InterfaceConfig::default()
    };
    let eth1 = InterfaceConfig { offset_out: vec![offset(NET, 4)], ..InterfaceConfig::default() };
    let mut router = Router::new(config(eth0, eth1));
    let outputs = router.hear(A, &[route(NET, 1), route("20.0.0.0/8", 1), route("192.1.0.0/16", 11)]);
    assert_eq!(learned(&router), ["20.0.0.0/8 4", "192.0.2.0/24 6"]);
    assert_eq!(said(&outputs, ETH1), ["20.0.0.0/8 metric 4", "192.0.2.0/24 metric 10"]);
    let everything = router.tell(Input::Datagram(datagram(ETH1, C, request(&[Entry::WHOLE_TABLE]))));
    assert!(
        said(&everything, ETH1).contains(&"10.0.0.0/24 metric 3".into()),
        "a network costs what it costs"
    );
}

/// Two networks on one interface: each is told of the other, from its own address.
#[test]
fn several_networks_on_one_interface() {
    let mut router = Router::quiet();
    let mut eth0 = interface(ETH0);
    let more = |octets: [u8; 4]| InterfaceAddress { address: octets.into(), prefix_len: 24, peer: None };
    eth0.addresses.extend([more([10, 0, 5, 1]), more([10, 0, 0, 200])]);
    let mut outputs = router.tell(Input::Interface(InterfaceEvent::Upsert(eth0)));
    outputs.extend(router.pass(Duration::from_secs(6)));
    let from = |last: Ipv4Addr| -> Vec<String> {
        let messages = sent(&outputs).into_iter().filter(|t| t.interface == ETH0 && *t.source.ip() == last);
        messages.flat_map(|t| entries(&t.payload)).map(|entry| show(&entry)).collect()
    };
    // A request and a triggered update at once, a whole table soon after: each subnet is new to the other's routers.
    let (near, far) = ("10.0.0.0/24 metric 1", "10.0.5.0/24 metric 1");
    assert_eq!(from([10, 0, 0, 1].into()), ["everything?", far, "10.0.1.0/24 metric 1", far]);
    assert_eq!(from([10, 0, 5, 1].into()), ["everything?", near, "10.0.1.0/24 metric 1"]);
    assert_eq!(from([10, 0, 0, 200].into()), [""; 0]);
    router.tell(Input::Datagram(datagram(ETH0, [10, 0, 5, 9].into(), response(&[route(NET, 1)]))));
    assert_eq!(learned(&router), ["192.0.2.0/24 2"]);
}
