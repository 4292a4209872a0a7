//! Address translation with real clients and servers: TCP, UDP, ping, traceroute, PMTUD, hairpinning, forwards.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::topology::Home;
use millrace_lab::{Iperf, Lab, Node, Ping, Router, Traceroute, test, wait_until};

const SHARED: &str = "interface = \"wan\"";
const ALONE: &str = "addresses = [\"192.0.2.8/29\"]";
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers each connection with the address it came from, and ends with the test.
fn echo_peer(node: &Node, address: &str) -> Result<()> {
    let listener = node.within(|| Ok(TcpListener::bind(address)?))?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else { continue };
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
    Ok(())
}

/// Who the server at `to` sees.
fn seen_by(node: &Node, to: &str) -> Result<SocketAddr> {
    let to: SocketAddr = to.parse()?;
    let mut stream = node.within(|| Ok(TcpStream::connect_timeout(&to, PATIENCE)?))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.parse().with_context(|| format!("the server said {text:?}"))
}

fn home(lab: &Lab, pool: &str, rest: &str) -> Result<(Home, Router)> {
    let home = Home::new(lab)?;
    let router = Router::start(&home.router, &Home::config(pool, rest))?;
    Ok((home, router))
}

#[test]
fn nat_tcp_udp_ping_and_traceroute_on_the_address_shared_with_the_host() {
    test(|lab| {
        let (home, router) = home(lab, SHARED, "")?;
        echo_peer(&home.server, "0.0.0.0:80")?;
        for node in [&home.alice, &home.bob] {
            let seen = seen_by(node, "192.0.2.2:80")?;
            assert_eq!(seen.ip(), Home::WAN.parse::<Ipv4Addr>()?);
            assert!((1024..32_768).contains(&seen.port()) || 61_000 <= seen.port(), "not the host's: {seen}");
        }
        let ping = Ping::new(&home.alice, Home::SERVER).count(5).run()?;
        assert_eq!(ping.received, 5, "{ping:?}");
        let trace = Traceroute::run(&home.alice, Home::SERVER, &[])?;
        let hops: Vec<Option<Ipv4Addr>> = vec!["10.0.1.1".parse().ok(), Home::SERVER.parse().ok()];
        assert_eq!(trace.hops, hops, "{}", trace.text);

        // The host goes on using its address: it answers pings, and speaks itself, by TCP, UDP and ICMP.
        assert_eq!(Ping::new(&home.server, Home::WAN).run()?.received, 3);
        assert_eq!(Ping::new(&home.router, Home::SERVER).run()?.received, 3);
        echo_peer(&home.router, "0.0.0.0:22")?;
        assert_eq!(seen_by(&home.server, "192.0.2.1:22")?.ip(), Home::SERVER.parse::<Ipv4Addr>()?);
        assert_eq!(seen_by(&home.router, "192.0.2.2:80")?.ip(), Home::WAN.parse::<Ipv4Addr>()?);
        assert_eq!(seen_by(&home.alice, "192.0.2.1:22")?.ip(), Home::ALICE.parse::<Ipv4Addr>()?);

        let sessions = router.show("nat sessions --protocol tcp --inside 10.0.1.2")?;
        let sessions = sessions.as_array().context("a list")?;
        assert!(sessions.iter().any(|s| s["remote"] == "192.0.2.2:80"), "{sessions:?}");
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}

#[test]
fn nat_pool_addresses_are_answered_for_by_arp_and_paired() {
    test(|lab| {
        let (home, router) = home(lab, ALONE, "")?;
        echo_peer(&home.server, "0.0.0.0:80")?;
        let mut seen: Vec<_> =
            (0..4).map(|_| Ok(seen_by(&home.alice, "192.0.2.2:80")?.ip())).collect::<Result<_>>()?;
        seen.dedup();
        assert_eq!(seen.len(), 1, "one inside address, one outside address");
        assert!((8..16).contains(&match seen[0] {
            std::net::IpAddr::V4(v4) => v4.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        }));
        let pools = router.show("nat pools")?;
        assert_eq!(pools[0]["addresses"].as_array().map(Vec::len), Some(8));
        assert_eq!(pools[0]["free"]["tcp"].as_u64(), pools[0]["ports_total"].as_u64().map(|all| all - 4));
        // Nobody inside has this endpoint: no answer, and a counter.
        let stranger = home.server.within(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        wait_until("the uninvited to be counted", PATIENCE, || {
            stranger.send_to(b"?", SocketAddr::new(seen[0], 9))?;
            Ok(1.0 <= router.metric("millrace_nat_denied_total{reason=\"no-mapping\"}")?)
        })
    });
}

#[test]
fn tcp_through_nat_is_quick_both_ways() {
    test(|lab| {
        let (home, router) = home(lab, SHARED, "")?;
        let there = Iperf::new(&home.alice, &home.server, Home::SERVER);
        for (way, run) in [("there", there.clone()), ("back", there.reverse())] {
            let result = run.run()?;
            assert!(30.0 < result.mbits(), "{way}: {result:?}");
        }
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}

#[test]
fn nat_forwards_and_statics_are_reached_from_both_sides() {
    test(|lab| {
        let rest = "[[nat.forward]]\nprotocol = \"tcp\"\noutside = \"wan:8080\"\ninside = \"10.0.2.2:80\"\n\
                    [[nat.forward]]\nprotocol = \"tcp\"\noutside = \"wan:9000-9003\"\ninside = \"10.0.2.2:7000\"\n\
                    [[nat.static]]\noutside = \"192.0.2.99\"\ninside = \"10.0.2.2\"\n";
        let (home, router) = home(lab, SHARED, rest)?;
        for port in [80, 7002] {
            echo_peer(&home.bob, &format!("0.0.0.0:{port}"))?;
        }
        for outside in ["192.0.2.1:8080", "192.0.2.1:9002", "192.0.2.99:80"] {
            let seen =
                seen_by(&home.server, outside).with_context(|| format!("from outside to {outside}"))?;
            assert_eq!(seen.ip(), Home::SERVER.parse::<Ipv4Addr>()?, "{outside}");
            // RFC 4787 REQ-9: from inside too, and with the external source address.
            let seen = seen_by(&home.alice, outside).with_context(|| format!("from inside to {outside}"))?;
            assert_eq!(seen.ip(), Home::WAN.parse::<Ipv4Addr>()?, "{outside}");
        }
        let ping = Ping::new(&home.server, "192.0.2.99").run()?;
        assert_eq!(ping.received, 3, "{ping:?}");
        let mappings = router.show("nat mappings --inside 10.0.2.2 --protocol tcp")?;
        let origins: Vec<_> =
            mappings.as_array().into_iter().flatten().filter_map(|m| m["origin"].as_str()).collect();
        assert!(origins.contains(&"forward") && origins.contains(&"static"), "{mappings}");
        Ok(())
    });
}

#[test]
fn nat_two_hosts_inside_meet_by_their_outside_endpoints() {
    test(|lab| {
        let (home, _router) = home(lab, SHARED, "")?;
        let socket = |node: &Node| {
            let socket = node.within(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            Ok::<_, anyhow::Error>(socket)
        };
        let (alice, bob, server) = (socket(&home.alice)?, socket(&home.bob)?, socket(&home.server)?);
        let rendezvous = SocketAddr::new(Home::SERVER.parse()?, server.local_addr()?.port());
        // Each tells the server, which sees the endpoint that the other is to speak to.
        let outside = |socket: &UdpSocket| -> Result<SocketAddr> {
            let mut seen = None;
            wait_until("the server to hear", PATIENCE, || {
                socket.send_to(b"here", rendezvous)?;
                seen = server.recv_from(&mut [0; 16]).ok().map(|(_, from)| from);
                Ok(seen.is_some())
            })?;
            seen.context("heard")
        };
        let (of_alice, of_bob) = (outside(&alice)?, outside(&bob)?);
        assert_eq!(of_alice.ip(), of_bob.ip());
        let mut heard = None;
        wait_until("bob to hear alice", PATIENCE, || {
            alice.send_to(b"hello", of_bob)?;
            heard = bob.recv_from(&mut [0; 16]).ok().map(|(_, from)| from);
            Ok(heard.is_some())
        })?;
        assert_eq!(heard, Some(of_alice), "RFC 4787 REQ-9: the external source address");
        Ok(())
    });
}

#[test]
fn nat_tells_the_path_mtu_and_translates_fragments() {
    test(|lab| {
        let (home, router) = home(lab, SHARED, "")?;
        // A narrow network behind the server's router is played by the server's own link.
        for size in [1472, 3000] {
            let ping = Ping::new(&home.alice, Home::SERVER).size(size).dont_fragment(false).run()?;
            assert_eq!(ping.received, 3, "{size} bytes: {ping:?}");
        }
        home.router.ip("link set wan mtu 1400")?;
        home.server.ip("link set eth0 mtu 1400")?;
        wait_until("the router to know the MTU", PATIENCE, || {
            let interfaces = router.show("interfaces")?;
            Ok(interfaces.as_array().into_iter().flatten().any(|i| i["name"] == "wan" && i["mtu"] == 1400))
        })?;
        let over = Ping::new(&home.alice, Home::SERVER).size(1400).dont_fragment(true).count(1).run()?;
        assert_eq!(
            over.errors.first().map(|(_, words)| words.as_str()),
            Some("Frag needed and DF set (mtu = 1400)"),
            "{over:?}"
        );
        let result = Iperf::new(&home.alice, &home.server, Home::SERVER).run()?;
        assert!(5.0 < result.mbits(), "{result:?}");
        Ok(())
    });
}

#[test]
fn nat_exhaustion_is_said_and_spares_who_has_a_port() {
    test(|lab| {
        let pool = "addresses = [\"192.0.2.8\"]\nports = \"2048-2111\"\nfiltering = \"address-dependent\"";
        let (home, router) = home(lab, pool, "")?;
        let server = home.server.within(|| Ok(UdpSocket::bind("0.0.0.0:5000")?))?;
        server.set_read_timeout(Some(Duration::from_millis(200)))?;
        let to: SocketAddr = "192.0.2.2:5000".parse()?;
        let sockets: Vec<UdpSocket> =
            home.alice.within(|| (0..80).map(|_| Ok(UdpSocket::bind("0.0.0.0:0")?)).collect())?;
        for socket in &sockets {
            // The neighbour is learnt on the way, and held packets are few.
            socket.send_to(b"x", to)?;
            let _ = server.recv_from(&mut [0; 8]);
        }
        let refused = router.metric("millrace_nat_refused_total{reason=\"pool-exhausted\"}")?;
        assert!(16.0 <= refused, "{refused}");
        let free = router.metric("millrace_nat_pool_ports_free{pool=\"wan\",protocol=\"udp\"}")?;
        assert!(free < 1.0, "{free}");
        sockets[0].send_to(b"still", to)?;
        let mut bytes = [0; 8];
        wait_until("the first flow to go on", PATIENCE, || {
            Ok(server.recv_from(&mut bytes).is_ok_and(|(len, _)| &bytes[..len] == b"still"))
        })?;
        Ok(())
    });
}

#[test]
fn nat_exempt_destinations_see_the_inside_address() {
    test(|lab| {
        let rest = "[[nat.static]]\noutside = \"192.0.2.99\"\ninside = \"10.0.2.2\"\n";
        let exempt = "[nat]\n[[nat.source]]\nfrom = \"10.0.0.0/16\"\nto = \"192.0.2.64/26\"\nexempt = true\n";
        let home = Home::new(lab)?;
        let config = Home::config(SHARED, rest).replace("[nat]\n", exempt);
        let router = Router::start(&home.router, &config)?;
        home.server.ip("address add 192.0.2.66/24 dev eth0")?;
        home.server.ip("route add 10.0.0.0/16 via 192.0.2.1")?;
        echo_peer(&home.server, "0.0.0.0:80")?;
        for (node, inside, outside) in
            [(&home.alice, Home::ALICE, Home::WAN), (&home.bob, Home::BOB, "192.0.2.99")]
        {
            assert_eq!(seen_by(node, "192.0.2.66:80")?.ip(), inside.parse::<Ipv4Addr>()?);
            assert_eq!(seen_by(node, "192.0.2.2:80")?.ip(), outside.parse::<Ipv4Addr>()?);
        }
        // ICMP errors about them leave as they are too: nobody listens there.
        let stranger = home.server.within(|| Ok(UdpSocket::bind("192.0.2.66:0")?))?;
        stranger.connect("10.0.1.2:9")?;
        stranger.set_read_timeout(Some(Duration::from_secs(1)))?;
        wait_until("port unreachable", PATIENCE, || {
            let refused = std::io::ErrorKind::ConnectionRefused;
            let told = stranger.send(b"?").err().or_else(|| stranger.recv(&mut [0; 8]).err());
            Ok(told.is_some_and(|error| error.kind() == refused))
        })?;
        let sessions = router.show("nat sessions --remote 192.0.2.66")?;
        assert_eq!(sessions.as_array().map(Vec::len), Some(0), "{sessions}");
        Ok(())
    });
}

#[test]
fn nat_behind_nat() {
    test(|lab| {
        // alice – router – isp – far: both translate.
        let home = Home::new(lab)?;
        let far = lab.node("far")?;
        lab.link(home.server.end("uplink", "198.51.100.1/24"), far.end("eth0", "198.51.100.2/24"))?;
        let default = "[[static]]\nprefix = \"0.0.0.0/0\"\nvia = [\"192.0.2.2\"]\n";
        let _router = Router::start(&home.router, &Home::config(SHARED, default))?;
        let isp = "[[interface]]\nname = \"eth0\"\nnat = \"inside\"\n[[interface]]\nname = \"uplink\"\nnat = \"outside\"\n\
                   [nat]\n[[nat.pool]]\nname = \"isp\"\ninterface = \"uplink\"\n\
                   [[nat.source]]\nfrom = \"192.0.2.0/24\"\npool = \"isp\"\n";
        let isp = Router::start(&home.server, &millrace_lab::config(&[], isp))?;
        echo_peer(&far, "0.0.0.0:80")?;
        let seen = seen_by(&home.alice, "198.51.100.2:80")?;
        ensure!(seen.ip() == "198.51.100.1".parse::<Ipv4Addr>()?, "{seen}");
        let mappings = isp.show("nat mappings --protocol tcp")?;
        assert!(
            mappings[0]["inside"].as_str().is_some_and(|inside| inside.starts_with("192.0.2.1:")),
            "{mappings}"
        );
        let trace = Traceroute::run(&home.alice, "198.51.100.2", &[])?;
        let expected = ["10.0.1.1", "192.0.2.2", "198.51.100.2"];
        let hops: Vec<Option<Ipv4Addr>> = expected.iter().map(|hop| hop.parse().ok()).collect();
        assert_eq!(trace.hops, hops, "{}", trace.text);
        Ok(())
    });
}

#[test]
fn nat_flows_are_handed_to_the_worker_that_owns_them() {
    test(|lab| {
        let home = Home::new(lab)?;
        let config = Home::config(SHARED, "");
        let line = config.lines().find(|line| line.starts_with("workers")).context("a line")?;
        let router = Router::start(&home.router, &config.replace(line, "workers = [0, 1]"))?;
        let server = home.server.within(|| Ok(UdpSocket::bind("0.0.0.0:5000")?))?;
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            while let Ok((len, from)) = server.recv_from(&mut bytes) {
                let _ = server.send_to(&bytes[..len], from);
            }
        });
        // A veth has one queue, so one worker receives all: the flows of every other address are the other one's.
        let to: SocketAddr = "192.0.2.2:5000".parse()?;
        for last in 10..26 {
            let address = format!("10.0.1.{last}");
            home.alice.ip(&format!("address add {address}/24 dev eth0"))?;
            let socket = home.alice.within(|| Ok(UdpSocket::bind((address.as_str(), 0))?))?;
            socket.set_read_timeout(Some(Duration::from_millis(500)))?;
            let mut bytes = [0; 64];
            wait_until("an answer", PATIENCE, || {
                socket.send_to(address.as_bytes(), to)?;
                Ok(socket.recv(&mut bytes).is_ok_and(|len| &bytes[..len] == address.as_bytes()))
            })
            .with_context(|| address.clone())?;
        }
        let sessions = router.show("nat sessions --protocol udp")?;
        let sessions = sessions.as_array().context("a list")?;
        let of = |worker: u64| sessions.iter().filter(|session| session["worker"] == worker).count();
        assert_eq!((of(0) + of(1), sessions.len()), (16, 16));
        assert!(of(0) != 0 && of(1) != 0, "{sessions:?}");
        let mut outside: Vec<_> = sessions.iter().map(|session| session["outside"].to_string()).collect();
        outside.sort_unstable();
        outside.dedup();
        assert_eq!(outside.len(), 16, "no endpoint twice");
        assert!(16 <= router.count("verdicts", "handoff")?);
        assert_eq!((router.count("drops", "nat-handoff")?, router.count("frames", "lost")?), (0, 0));
        Ok(())
    });
}

/// Sockets of a node, each of which has sent a byte to the server.
fn senders(node: &Node, count: usize, server: &UdpSocket) -> Result<Vec<UdpSocket>> {
    let to = SocketAddr::new(Home::SERVER.parse()?, server.local_addr()?.port());
    let sockets: Vec<UdpSocket> =
        node.within(|| (0..count).map(|_| Ok(UdpSocket::bind("0.0.0.0:0")?)).collect())?;
    for socket in &sockets {
        // The neighbour is learnt on the way, and held packets are few.
        let _ = socket.send_to(b"x", to);
        let _ = server.recv_from(&mut [0; 8]);
    }
    Ok(sockets)
}

fn listener(home: &Home) -> Result<UdpSocket> {
    let server = home.server.within(|| Ok(UdpSocket::bind("0.0.0.0:5000")?))?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(server)
}

#[test]
fn nat_quotas_hold_for_each_subscriber_alone() {
    test(|lab| {
        let home = Home::new(lab)?;
        let quotas = "[nat]\nsessions-per-subscriber = 20\nports-per-subscriber = 12\n";
        let router = Router::start(&home.router, &Home::config(ALONE, "").replace("[nat]\n", quotas))?;
        let server = listener(&home)?;
        let of = |who: &str, what: &str| -> Result<usize> {
            let records = router.show(&format!("nat {what} --protocol udp --inside {who}"))?;
            Ok(records.as_array().context("a list")?.len())
        };
        // Alice has many conversations of one endpoint, bob many endpoints.
        let alice = home.alice.within(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
        wait_until("alice's quota to be reached", PATIENCE, || {
            // Again, as few packets are held while the neighbour is learnt.
            for port in 6000..6030 {
                let _ = alice.send_to(b"x", SocketAddr::new(Home::SERVER.parse()?, port));
            }
            Ok(10.0 <= router.metric("millrace_nat_refused_total{reason=\"subscriber-sessions\"}")?)
        })?;
        assert_eq!((of(Home::ALICE, "sessions")?, of(Home::ALICE, "mappings")?), (20, 1));
        let bob = senders(&home.bob, 15, &server)?;
        wait_until("bob's quota to be reached", PATIENCE, || {
            Ok(3.0 <= router.metric("millrace_nat_refused_total{reason=\"subscriber-ports\"}")?)
        })?;
        assert_eq!((of(Home::BOB, "sessions")?, of(Home::BOB, "mappings")?), (12, 12));
        // What he has goes on.
        let to: SocketAddr = "192.0.2.2:5000".parse()?;
        let mut bytes = [0; 8];
        wait_until("the first flow to go on", PATIENCE, || {
            bob[0].send_to(b"still", to)?;
            Ok(server.recv_from(&mut bytes).is_ok_and(|(len, _)| &bytes[..len] == b"still"))
        })
    });
}

#[test]
fn nat_port_blocks_are_logged_by_the_block_and_go_back() {
    test(|lab| {
        let file = lab.dir().join("nat.jsonl");
        let pool = "addresses = [\"192.0.2.8\"]\nblock-size = 64\nmax-blocks = 2\nblock-idle = 0";
        let home = Home::new(lab)?;
        let config = Home::config(pool, &format!("[nat.log]\nfile = \"{}\"\n", file.display()));
        let router = Router::start(&home.router, &config.replace("[nat]\n", "[nat]\nport-quarantine = 0\n"))?;
        let server = listener(&home)?;
        let _alice = senders(&home.alice, 130, &server)?;
        let _bob = senders(&home.bob, 1, &server)?;
        wait_until("alice's blocks to be used up", PATIENCE, || {
            Ok(2.0 <= router.metric("millrace_nat_refused_total{reason=\"subscriber-ports\"}")?)
        })?;
        let events = |name: &str| -> Result<Vec<serde_json::Value>> {
            let text = std::fs::read_to_string(&file)?;
            let events: Result<Vec<serde_json::Value>, _> = text.lines().map(serde_json::from_str).collect();
            let mut events = events?;
            events.retain(|event| event["event"] == name);
            Ok(events)
        };
        let mut blocks = Vec::new();
        wait_until("the lines", PATIENCE, || {
            blocks = events("block-allocated")?;
            Ok(blocks.len() == 3)
        })?;
        assert_eq!(events("mapping-created")?.len(), 0, "one line for 64 ports");
        let mappings = router.show("nat mappings --protocol udp")?;
        let mappings = mappings.as_array().context("a list")?;
        assert_eq!(mappings.len(), 129);
        for mapping in mappings {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let (inside, outside) = (text(&mapping["inside"]), text(&mapping["outside"]));
            let port: u16 = outside.rsplit_once(':').context("a port")?.1.parse()?;
            let covered = blocks.iter().any(|block| {
                let ports = text(&block["ports"]);
                let (first, last) = ports.split_once('-').unwrap_or_default();
                inside.starts_with(&format!("{}:", text(&block["inside"])))
                    && first.parse().is_ok_and(|first: u16| first <= port)
                    && last.parse().is_ok_and(|last: u16| port <= last)
            });
            assert!(covered, "{mapping} {blocks:?}");
        }
        assert!(router.millrace(["clear", "nat", "sessions"])?.status.success());
        wait_until("the blocks to go back", PATIENCE, || Ok(events("block-released")?.len() == 3))
    });
}

#[test]
fn nat_ten_thousand_flows_at_once_have_an_endpoint_each_and_leave_nothing() {
    test(|lab| {
        const FLOWS: u16 = 10_000;
        let (home, router) = home(lab, ALONE, "")?;
        let server = listener(&home)?;
        let to: SocketAddr = "192.0.2.2:5000".parse()?;
        // (inside port, what the server sees), in rounds small enough for the queues of a veth.
        let mut seen = HashMap::new();
        let ports: Vec<u16> = (20_000..20_000 + FLOWS).collect();
        for round in ports.chunks(200) {
            wait_until("all of a round to be heard", PATIENCE, || {
                home.alice.within(|| {
                    for port in round.iter().filter(|port| !seen.contains_key(*port)) {
                        UdpSocket::bind(("0.0.0.0", *port))?.send_to(&port.to_be_bytes(), to)?;
                    }
                    Ok(())
                })?;
                let mut bytes = [0; 2];
                while !round.iter().all(|port| seen.contains_key(port)) {
                    let Ok((2, from)) = server.recv_from(&mut bytes) else { return Ok(false) };
                    let before = seen.insert(u16::from_be_bytes(bytes), from);
                    ensure!(before.is_none_or(|before| before == from), "{before:?} became {from}");
                }
                Ok(true)
            })?;
        }
        let endpoints: HashSet<&SocketAddr> = seen.values().collect();
        assert_eq!(endpoints.len(), usize::from(FLOWS), "no endpoint twice");
        let stats = router.show("nat stats")?;
        assert!(u64::from(FLOWS) <= stats["sessions"].as_u64().context("sessions")?, "{stats}");
        assert!(router.millrace(["clear", "nat", "sessions"])?.status.success());
        let stats = router.show("nat stats")?;
        assert_eq!([&stats["sessions"], &stats["mappings"], &stats["subscribers"]], [0, 0, 0], "{stats}");
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}
