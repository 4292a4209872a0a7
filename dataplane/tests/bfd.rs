//! BFD: next hops that fall silent while their link stays up.
//!
//! ```text
//!                              ┌─upper── [switch] ──west [upper: FRR or BIRD] east── eth1 ┐
//! client ──lan [router, ours]  ┤                                                       [server] 10.9.9.9
//!                              └─lower────────────── west [lower] east ────────────── eth2 ┘
//! ```
//! The switch stops passing frames: both its links keep their carrier, and nothing but BFD can tell.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millrace_lab::peers::{Bird, Frr, test};
use millrace_lab::{Iperf, Lab, Node, Ping, Router, config, wait_until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const SERVER: &str = "10.9.9.9";
const UPPER: &str = "10.0.11.2";

struct Net {
    client: Node,
    router: Node,
    switch: Node,
    upper: Node,
    lower: Node,
    server: Node,
}

impl Net {
    fn new(lab: &Lab) -> Result<Self> {
        let net = Self {
            client: lab.node("client")?,
            router: lab.node("router")?,
            switch: lab.node("switch")?,
            upper: lab.node("upper")?,
            lower: lab.node("lower")?,
            server: lab.node("server")?,
        };
        let Self { client, router, switch, upper, lower, server } = &net;
        lab.link(client.end("eth0", "10.0.1.2/24"), router.end("lan", "10.0.1.1/24"))?;
        lab.link(router.end("upper", "10.0.11.1/24"), switch.bare("port1"))?;
        lab.link(switch.bare("port2"), upper.end("west", "10.0.11.2/24"))?;
        lab.link(router.end("lower", "10.0.12.1/24"), lower.end("west", "10.0.12.2/24"))?;
        lab.link(upper.end("east", "10.0.21.1/24"), server.end("eth1", "10.0.21.2/24"))?;
        lab.link(lower.end("east", "10.0.22.1/24"), server.end("eth2", "10.0.22.2/24"))?;
        switch.ip("link add bridge type bridge")?;
        switch.ip("link set bridge up")?;
        net.silence(false)?;
        client.ip("route add default via 10.0.1.1")?;
        // Replies come home by the lower way, so that only requests are lost.
        server.ip("address add 10.9.9.9/32 dev lo")?;
        server.ip("route add default via 10.0.22.1 src 10.9.9.9")?;
        for (node, west, east) in [(upper, "10.0.11.1", "10.0.21.2"), (lower, "10.0.12.1", "10.0.22.2")] {
            node.forwards()?;
            node.ip(&format!("route add 10.0.1.0/24 via {west}"))?;
            for prefix in ["10.9.9.9/32", "198.18.0.0/15"] {
                node.ip(&format!("route add {prefix} via {east}"))?;
            }
        }
        Ok(net)
    }

    /// The switch passes nothing, or passes frames again. Links keep their carrier.
    fn silence(&self, silent: bool) -> Result<()> {
        for port in ["port1", "port2"] {
            let master = if silent { "nomaster" } else { "master bridge" };
            self.switch.ip(&format!("link set {port} {master}"))?;
        }
        Ok(())
    }

    /// FRR's bfdd at the far end of the upper link.
    fn frr(&self) -> Result<Frr> {
        let config = "bfd\n peer 10.0.11.1\n  receive-interval 50\n  transmit-interval 50\n exit\nexit\n";
        Frr::start(&self.upper, &["bfdd"], config)
    }

    /// Packets that have come from the router by the upper and the lower way.
    fn carried(&self) -> Result<(u64, u64)> {
        Ok((self.upper.packets("west")?.0, self.lower.packets("west")?.0))
    }
}

fn start(net: &Net, statics: &str) -> Result<Router> {
    let bfd = "[bfd]\nmin-tx = 50\nmin-rx = 50\nmultiplier = 3\n";
    Router::start(&net.router, &config(&["lan", "upper", "lower"], &format!("{bfd}{statics}")))
}

const WITH_BACKUP: &str = r#"
[[static]]
prefix = "10.9.9.9/32"
via = ["10.0.11.2"]
bfd = true
[[static]]
prefix = "10.9.9.9/32"
via = ["10.0.12.2"]
distance = 200
"#;

/// The session with the upper neighbour, as `show bfd` has it.
fn session(router: &Router) -> Result<Value> {
    let bfd = router.show("bfd")?;
    let sessions = bfd["sessions"].as_array().context("no list of sessions")?;
    let one = sessions.iter().find(|session| session["neighbor"] == UPPER);
    one.cloned().with_context(|| format!("no session with {UPPER} in {bfd}"))
}

fn wait_state(router: &Router, state: &str) -> Result<()> {
    wait_until(&format!("the session to be {state}"), SOON, || Ok(session(router)?["state"] == state))
}

/// The next hop that packets to the server follow.
fn follows(router: &Router) -> Result<String> {
    let routes = router.show(&format!("routes {SERVER}"))?;
    let selected = routes.as_array().into_iter().flatten().find(|route| route["selected"] == true);
    let gateway = selected.and_then(|route| route["nexthops"][0]["gateway"].as_str());
    Ok(gateway.unwrap_or_default().to_owned())
}

/// The upper way falls silent under a thousand datagrams a second: each that is lost is a millisecond.
fn lose_little(net: &Net) -> Result<()> {
    let probe = Iperf::new(&net.client, &net.server, SERVER).seconds(4).udp("800K", 100).start()?;
    let (upper, _) = net.carried()?;
    wait_until("the probe to be on its way", SOON, || Ok(upper + 500 < net.carried()?.0))?;
    net.silence(true)?;
    let result = probe.finish()?;
    eprintln!("{} of {} datagrams lost", result.lost, result.datagrams);
    ensure!(0 < result.lost && result.lost <= 200, "{} of {} lost", result.lost, result.datagrams);
    Ok(())
}

/// What a static route with BFD owes its users, whoever is the neighbour.
fn failover(net: &Net, router: &Router) -> Result<()> {
    wait_state(router, "up")?;
    let up = session(router)?;
    assert_eq!(
        (&up["interface"], &up["local"], &up["clients"][0]),
        (&"upper".into(), &"10.0.11.1".into(), &"static".into())
    );
    wait_until("both sides to have agreed", SOON, || {
        Ok(session(router)?["detection_time_ms"] == 150.0 && session(router)?["send_interval_ms"] == 50.0)
    })?;
    assert_eq!(follows(router)?, UPPER);
    assert_eq!(Ping::new(&net.client, SERVER).run()?.received, 3);

    lose_little(net)?;
    wait_state(router, "down")?;
    assert_eq!(follows(router)?, "10.0.12.2");
    let routes = router.show(&format!("routes {SERVER}/32"))?;
    let problems: Vec<_> =
        routes.as_array().into_iter().flatten().filter_map(|r| r["problem"].as_str()).collect();
    assert_eq!(problems, ["10.0.11.2: BFD says that it cannot be reached"]);
    assert_eq!(router.metric("millrace_bfd_session_up{interface=\"upper\",neighbor=\"10.0.11.2\"}")?, 0.0);

    net.silence(false)?;
    wait_state(router, "up")?;
    wait_until("the upper way to be taken again", SOON, || Ok(follows(router)? == UPPER))?;
    assert_eq!(Ping::new(&net.client, SERVER).run()?.received, 3);
    assert_eq!(session(router)?["downs"], 1);
    Ok(())
}

#[test]
fn a_static_route_leaves_a_silent_frr() {
    test(|lab| {
        let net = Net::new(lab)?;
        let frr = net.frr()?;
        let router = start(&net, WITH_BACKUP)?;
        failover(&net, &router)?;
        frr.wait("show bfd peers", SOON, |peers| peers[0]["status"] == "up")?;

        // Shut down on purpose: no failure, whatever becomes of the session (RFC 5882 §3.2).
        frr.configure("bfd\n peer 10.0.11.1\n  shutdown\n exit\nexit\n")?;
        wait_state(&router, "down")?;
        assert_eq!(session(&router)?["diagnostic"], "neighbour signaled session down");
        assert_eq!(follows(&router)?, UPPER);
        frr.configure("bfd\n peer 10.0.11.1\n  no shutdown\n exit\nexit\n")?;
        wait_state(&router, "up")?;

        // The router stops on purpose: the neighbour is told, and does not take it for a failure either.
        router.stop()?;
        let peers = frr.wait("show bfd peers", SOON, |peers| peers[0]["status"] == "down")?;
        assert_eq!(peers[0]["remote-diagnostic"], "administratively down", "{peers}");
        Ok(())
    });
}

#[test]
fn a_static_route_leaves_a_silent_bird() {
    test(|lab| {
        let net = Net::new(lab)?;
        let bird = Bird::start(
            &net.upper,
            "router id 10.0.11.2;\nprotocol bfd { interface \"*\" { interval 50 ms; multiplier 3; }; neighbor 10.0.11.1 dev \"west\"; }\n",
        )?;
        let router = start(&net, WITH_BACKUP)?;
        failover(&net, &router)?;
        bird.wait("show bfd sessions", "Up", SOON)?;
        Ok(())
    });
}

#[test]
fn a_member_of_many_routes_leaves_in_one_update_and_load_does_not_break_sessions() {
    test(|lab| {
        let net = Net::new(lab)?;
        let _frr = net.frr()?;
        let route =
            "[[static]]\nprefixes-from = \"table\"\nvia = [\"10.0.11.2\", \"10.0.12.2\"]\nbfd = true\n";
        let few: String = (0..100).map(|n| format!("198.18.{n}.0/24\n")).collect();
        std::fs::write(net.router.dir().join("table"), &few)?;
        let router = start(&net, route)?;
        wait_state(&router, "up")?;
        // A hundred thousand routes come while packets are to be sent every 50 ms.
        let many: String = (0..100_000)
            .map(|n| format!("198.{}.{}.{}/31\n", 18 + (n >> 15), n >> 7 & 255, (n & 127) * 2))
            .collect();
        std::fs::write(net.router.dir().join("table"), many)?;
        let applied = router.millrace(["apply"])?;
        ensure!(applied.status.success(), "apply: {}", String::from_utf8_lossy(&applied.stderr));
        wait_until("all routes to be in the FIB", SOON, || {
            Ok(router.is_synced()? && 100_000.0 <= router.metric("millrace_fib_routes")?)
        })?;
        assert_eq!(session(&router)?["downs"], 0);

        let generation = || router.metric("millrace_fib_generation{side=\"control\"}");
        let before = generation()?;
        net.silence(true)?;
        wait_state(&router, "down")?;
        wait_until("the group to have one member", SOON, || {
            let groups = router.show("nexthops")?;
            let crowd = groups.as_array().into_iter().flatten().find(|group| group["routes"] == 100_000);
            Ok(crowd.is_some_and(|group| group["paths"].as_array().is_some_and(|paths| paths.len() == 1)))
        })?;
        wait_until("the dataplane to agree", SOON, || router.is_synced())?;
        assert_eq!(generation()? - before, 1.0, "one message for a hundred thousand routes");
        Ok(())
    });
}

#[test]
fn a_rip_route_leaves_a_silent_frr() {
    test(|lab| {
        let net = Net::new(lab)?;
        let config = "bfd\n peer 10.0.11.1\n  receive-interval 50\n  transmit-interval 50\n exit\nexit\n\
                      ip route 10.9.9.9/32 10.0.21.2\n\
                      router rip\n version 2\n timers basic 5 15 10\n network west\n redistribute static\n";
        net.upper.ip("route del 10.9.9.9/32")?;
        let frr = Frr::start(&net.upper, &["ripd", "bfdd"], config)?;
        let backup = "[[static]]\nprefix = \"10.9.9.9/32\"\nvia = [\"10.0.12.2\"]\ndistance = 200\n";
        let rip = "[rip]\n[[rip.interface]]\nname = \"upper\"\nbfd = true\n";
        let router = start(&net, &format!("{backup}{rip}"))?;
        wait_until("the route by RIP", SOON, || Ok(follows(&router)? == UPPER))?;
        wait_state(&router, "up")?;
        assert_eq!(session(&router)?["clients"][0], "rip");
        wait_until(
            "both sides to have agreed",
            SOON,
            || Ok(session(&router)?["detection_time_ms"] == 150.0),
        )?;
        lose_little(&net)?;
        wait_until("the way by the static route", SOON, || Ok(follows(&router)? == "10.0.12.2"))?;
        net.silence(false)?;
        wait_until("the way by RIP again", SOON, || Ok(follows(&router)? == UPPER))?;
        wait_state(&router, "up")?;
        drop(frr);
        Ok(())
    });
}
