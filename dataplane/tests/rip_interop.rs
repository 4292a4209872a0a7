//! RIP with FRR and BIRD: every authentication they have, multicast, broadcast and unicast, redistribution both ways, and
//! a neighbour that dies and returns.
//!
//! ```text
//! client ──lan 10.100.0.0/24── [router, ours] ══ l0, l1, … 10.0.N.0/24 ══ [peer] ──10.200.0.0/24── server
//! ```
//! Each link has an authentication of its own, and over each the peer announces a network of its own, so that a route
//! says that its link works. The peer's kernel forwards.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::peers::{Bird, Frr, gateways, test, wait_gateways};
use millrace_lab::{Iperf, Lab, Node, Ping, Router, wait_until};

const SOON: Duration = Duration::from_secs(30);

struct Net {
    client: Node,
    router: Node,
    peer: Node,
    server: Node,
}

impl Net {
    fn new(lab: &Lab, links: usize) -> Result<Self> {
        let net = Self {
            client: lab.node("client")?,
            router: lab.node("router")?,
            peer: lab.node("peer")?,
            server: lab.node("server")?,
        };
        let Self { client, router, peer, server } = &net;
        lab.link(client.end("eth0", "10.100.0.2/24"), router.end("lan", "10.100.0.1/24"))?;
        lab.link(peer.end("east", "10.200.0.1/24"), server.end("eth0", "10.200.0.2/24"))?;
        for n in 0..links {
            let (name, ours, theirs) = (format!("l{n}"), format!("10.0.{n}.1/24"), format!("10.0.{n}.2/24"));
            lab.link(router.end(&name, &ours), peer.end(&name, &theirs))?;
        }
        client.ip("route add default via 10.100.0.1")?;
        server.ip("route add default via 10.200.0.1")?;
        peer.forwards()?;
        Ok(net)
    }

    /// Pings and TCP reach the server behind the peer, and come back.
    fn carries(&self) -> Result<()> {
        let ping = Ping::new(&self.client, "10.200.0.2");
        wait_until("a reply from behind the peer", SOON, || Ok(ping.clone().count(1).run()?.received == 1))?;
        assert_eq!(ping.run()?.received, 3);
        let tcp = Iperf::new(&self.client, &self.server, "10.200.0.2").seconds(1).run()?;
        ensure!(0 < tcp.received_bytes, "TCP carries nothing");
        Ok(())
    }
}

/// The network that the peer announces over this link alone.
fn of_link(n: usize) -> String {
    format!("198.51.100.{}/28", n * 16)
}

/// Starts ours with RIP on these links, each with what `interfaces` says of it.
fn start(net: &Net, interfaces: &[&str]) -> Result<Router> {
    let names: Vec<String> = (0..interfaces.len()).map(|n| format!("l{n}")).collect();
    let mut ports = vec!["lan"];
    ports.extend(names.iter().map(String::as_str));
    let chains: String = ["keyed-md5", "hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"]
        .map(|algorithm| format!("[[key-chain]]\nname = \"{algorithm}\"\n[[key-chain.key]]\nid = 7\nalgorithm = \"{algorithm}\"\nsecret = \"ripkey\"\n"))
        .concat();
    let rip: String = names
        .iter()
        .zip(interfaces)
        .map(|(name, rest)| format!("[[rip.interface]]\nname = \"{name}\"\n{rest}\n"))
        .collect();
    let config = millrace_lab::config(
        &ports,
        &format!(
            "[[static]]\nprefix = \"192.0.2.0/24\"\nkind = \"blackhole\"\n{chains}\
         [rip]\nupdate = 2\ntimeout = 8\ngarbage = 3\n{rip}\
         [[rip.redistribute]]\nprotocol = \"static\"\nmetric = 3\n[[rip.redistribute]]\nprotocol = \"connected\"\n"
        ),
    );
    let config = config.replace("frames = 4096", "frames = 16384");
    Router::start(&net.router, &config)
}

/// Waits until packets to a prefix leave by this neighbour and the dataplane knows it; none: until nobody has it.
fn wait_learned(router: &Router, prefix: &str, via: Option<&str>) -> Result<()> {
    let what = format!("{prefix} by RIP via {via:?}");
    wait_until(&what, SOON, || {
        let routes = router.show(&format!("routes {prefix} --protocol rip"))?;
        let installed = routes.as_array().into_iter().flatten().find(|route| route["installed"] == true);
        Ok(installed.and_then(|route| route["nexthops"][0]["gateway"].as_str()) == via)
    })
    .with_context(|| router.show_text("routes").unwrap_or_default())
}

/// What ripd says of our addresses on each link: packets it refused.
fn refused_by_frr(frr: &Frr) -> Result<Vec<(String, u64)>> {
    let status = frr.vtysh("show ip rip status")?;
    let sources = status.lines().skip_while(|line| !line.contains("Gateway")).skip(1);
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    Ok(sources.filter_map(row).collect())
}

#[test]
fn rip_with_frr_in_every_way_it_knows() {
    test(|lab| {
        // Link by link: what FRR's interface says, and ours.
        let ways = [
            ("", ""),
            (
                " ip rip authentication mode text\n ip rip authentication string ripkey\n",
                "key-chain = \"keyed-md5\"\nauthentication = \"plain\"",
            ),
            (
                " ip rip authentication mode md5 auth-length rfc\n ip rip authentication key-chain k\n",
                "key-chain = \"keyed-md5\"",
            ),
            (
                " ip rip authentication mode md5 auth-length old-ripd\n ip rip authentication key-chain k\n",
                "key-chain = \"keyed-md5\"",
            ),
            // Unicast only, on both sides.
            ("", "passive = true\nneighbors = [\"10.0.4.2\"]"),
        ];
        let net = Net::new(lab, ways.len())?;
        let mut config = "key chain k\n key 7\n  key-string ripkey\n exit\nexit\n".to_owned();
        let mut rip =
            "router rip\n version 2\n timers basic 5 15 10\n redistribute static\n redistribute connected\n \
                       passive-interface l4\n neighbor 10.0.4.1\n"
                .to_owned();
        for (n, (interface, _)) in ways.iter().enumerate() {
            let prefix = of_link(n);
            config += &format!("ip route {prefix} blackhole\nip prefix-list p{n} permit {prefix}\n");
            config += &format!("interface l{n}\n{interface}exit\n");
            rip += &format!(" network l{n}\n distribute-list prefix p{n} out l{n}\n");
        }
        config += "ip prefix-list p0 permit 10.200.0.0/24\n";
        let frr = Frr::start(&net.peer, &["ripd"], &(config + &rip))?;
        let router = start(&net, &ways.map(|(_, ours)| ours))?;

        for n in 0..ways.len() {
            wait_learned(&router, &of_link(n), Some(&format!("10.0.{n}.2")))?;
        }
        // Static with its metric and one hop; connected; and each link's neighbour has been heard without complaint.
        frr.wait("show ip route rip", SOON, |routes| {
            routes["192.0.2.0/24"][0]["metric"] == 4 && routes["10.100.0.0/24"][0]["installed"] == true
        })?;
        let mut expected: Vec<_> = (0..ways.len()).map(|n| (format!("10.0.{n}.1"), 0)).collect();
        expected.sort();
        wait_until("FRR to have heard every link", SOON, || {
            let mut refused = refused_by_frr(&frr)?;
            refused.sort();
            Ok(refused == expected)
        })
        .with_context(|| frr.vtysh("show ip rip status").unwrap_or_default())?;
        net.carries()
    });
}

#[test]
fn rip_with_bird_in_every_way_it_knows() {
    test(|lab| {
        let key = |algorithm: &str| {
            format!("authentication cryptographic; password \"ripkey\" {{ id 7; algorithm {algorithm}; }};")
        };
        // Link by link: what BIRD's interface says, and ours.
        let ways = [
            ("".to_owned(), ""),
            ("mode broadcast;".to_owned(), "mode = \"broadcast\""),
            (
                "authentication plaintext; password \"ripkey\";".to_owned(),
                "key-chain = \"keyed-md5\"\nauthentication = \"plain\"",
            ),
            (key("keyed md5"), "key-chain = \"keyed-md5\""),
            (key("hmac sha1"), "key-chain = \"hmac-sha1\""),
            (key("hmac sha256"), "key-chain = \"hmac-sha256\""),
            (key("hmac sha384"), "key-chain = \"hmac-sha384\""),
            (key("hmac sha512"), "key-chain = \"hmac-sha512\"\nttl-security = \"send-only\""),
        ];
        let net = Net::new(lab, ways.len())?;
        let mut config =
            "router id 10.0.0.2;\nprotocol direct { ipv4; interface \"east\"; }\nprotocol static { ipv4;\n"
                .to_owned();
        for n in 0..ways.len() {
            config += &format!("route {} blackhole;\n", of_link(n));
        }
        config += "}\n";
        for (n, (interface, _)) in ways.iter().enumerate() {
            let also = if n == 0 { " || net = 10.200.0.0/24" } else { "" };
            config += &format!(
                "protocol rip r{n} {{ ipv4 {{ import all; export where net = {}{also}; }}; \
                 interface \"l{n}\" {{ version 2; update time 2; timeout time 8; {interface} }}; }}\n",
                of_link(n)
            );
        }
        let bird = Bird::start(&net.peer, &config)?;
        let router = start(&net, &ways.each_ref().map(|(_, ours)| *ours))?;
        for n in 0..ways.len() {
            wait_learned(&router, &of_link(n), Some(&format!("10.0.{n}.2")))?;
            bird.wait(&format!("show route 192.0.2.0/24 protocol r{n}"), "192.0.2.0/24", SOON)?;
        }
        net.carries()
    });
}

#[test]
fn a_neighbour_by_rip_dies_and_returns() {
    test(|lab| {
        let net = Net::new(lab, 1)?;
        let config = "ip route 198.51.100.0/28 blackhole\nrouter rip\n version 2\n timers basic 5 15 10\n network l0\n \
                      redistribute static\n redistribute connected\n";
        let frr = Frr::start(&net.peer, &["ripd"], config)?;
        let router = start(&net, &[""])?;
        wait_learned(&router, "10.200.0.0/24", Some("10.0.0.2"))?;
        wait_gateways(&net.peer, "192.0.2.0/24", &["10.0.0.1"], SOON)?;
        net.carries()?;
        frr.kill();
        wait_learned(&router, "10.200.0.0/24", None)?;
        let frr = Frr::start(&net.peer, &["ripd"], config)?;
        wait_learned(&router, "10.200.0.0/24", Some("10.0.0.2"))?;
        wait_gateways(&net.peer, "192.0.2.0/24", &["10.0.0.1"], SOON)?;
        net.carries()?;

        // An equal configuration sends nothing and changes no route.
        let count = || {
            let generation = router.metric("millrace_fib_generation{side=\"control\"}")?;
            Ok::<_, anyhow::Error>((generation, router.metric("millrace_fib_routes")?))
        };
        let before = count()?;
        ensure!(router.millrace(["apply"])?.status.success(), "apply");
        assert_eq!(count()?, before);

        // Ours takes its leave: the neighbour need not wait for its time-out of 15 s.
        router.stop()?;
        wait_until("FRR to have let go", Duration::from_secs(8), || {
            Ok(gateways(&net.peer, "192.0.2.0/24")?.is_empty())
        })?;
        drop(frr);
        Ok(())
    });
}
