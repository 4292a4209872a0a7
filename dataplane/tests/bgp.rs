//! BGP with other people's speakers: sessions, routes both ways, traffic over them, and what becomes of both when
//! sessions end or the routing process dies.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::peers::{Bird, Frr, test};
use millrace_lab::{Child, Lab, Node, Ping, Router, config, wait_until};
use serde_json::Value;

/// Daemons start, connect, and may have to try twice, on a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(60);

/// bird ── middle (Millrace) ── frr: AS 65001, 65000 and 65002; each end has a network of its own.
struct Line {
    west: Node,
    middle: Node,
    east: Node,
}

impl Line {
    fn new(lab: &Lab) -> Result<Self> {
        let (west, middle, east) = (lab.node("west")?, lab.node("middle")?, lab.node("east")?);
        lab.link(west.end("eth0", "10.70.1.2/24"), middle.end("west", "10.70.1.1/24"))?;
        lab.link(east.end("eth0", "10.70.2.2/24"), middle.end("east", "10.70.2.1/24"))?;
        west.ip("address add 10.71.1.1/24 dev lo")?;
        east.ip("address add 10.71.2.1/24 dev lo")?;
        Ok(Self { west, middle, east })
    }

    fn bird(&self) -> Result<Bird> {
        let config = "router id 10.70.1.2;\nprotocol direct { ipv4; interface \"lo\"; }\n\
                      protocol bgp millrace { local as 65001; neighbor 10.70.1.1 as 65000; hold time 9; \
                      connect retry time 2; connect delay time 1; graceful restart on; \
                      ipv4 { import all; export filter { bgp_community.add((65001, 7)); accept; }; }; }\n";
        Bird::start(&self.west, config)
    }

    fn frr(&self, rest: &str) -> Result<Frr> {
        let config = format!(
            "router bgp 65002\n bgp router-id 10.70.2.2\n no bgp ebgp-requires-policy\n bgp graceful-restart\n \
             neighbor 10.70.2.1 remote-as 65000\n neighbor 10.70.2.1 timers 3 9\n \
             neighbor 10.70.2.1 timers connect 2\n{rest} address-family ipv4 unicast\n  network 10.71.2.0/24\n \
             exit-address-family\n"
        );
        Frr::start(&self.east, &["bgpd"], &config)
    }

    fn router(&self, rest: &str) -> Result<Router> {
        let bgp = format!(
            "[bgp]\nnetworks = [\"10.72.0.0/16\"]\n[[bgp.group]]\nname = \"ext\"\nimport = \"all\"\nexport = \"all\"\n\
             hold-time = 9\nconnect-retry = 2\n[[bgp.neighbor]]\naddress = \"10.70.1.2\"\nasn = 65001\n\
             group = \"ext\"\n[[bgp.neighbor]]\naddress = \"10.70.2.2\"\nasn = 65002\ngroup = \"ext\"\n{rest}"
        );
        let router = "[router]\nasn = 65000\nrouter-id = \"10.70.0.1\"\n";
        let text = format!("{router}{}", config(&["west", "east"], &bgp));
        Router::start(&self.middle, &text)
    }
}

fn neighbor(router: &Router, address: &str) -> Result<Value> {
    let peers = router.show("bgp neighbors")?;
    let peers = peers.as_array().context("a list of neighbours")?;
    peers.iter().find(|peer| peer["address"] == address).cloned().context("the neighbour")
}

fn wait_state(router: &Router, address: &str, state: &str) -> Result<()> {
    wait_until(&format!("{address} to be {state}"), SOON, || Ok(neighbor(router, address)?["state"] == state))
}

/// Whether BIRD has a route with this in it; birdc fails where there is none.
fn has(bird: &Bird, prefix: &str, text: &str) -> bool {
    bird.birdc(&format!("show route all {prefix}")).is_ok_and(|answer| answer.contains(text))
}

/// Whether packets from one end reach the other end's network.
fn passes(line: &Line) -> Result<bool> {
    let ping = Ping::new(&line.west, "10.71.2.1").run();
    Ok(ping.is_ok_and(|ping| ping.received == 3))
}

#[test]
fn bgp_routes_of_bird_and_frr_carry_traffic() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (bird, frr) = (line.bird()?, line.frr("")?);
        let router = line.router("")?;
        wait_state(&router, "10.70.1.2", "Established")?;
        wait_state(&router, "10.70.2.2", "Established")?;
        wait_until("BIRD to have FRR's route", SOON, || {
            Ok(has(&bird, "10.71.2.0/24", "BGP.as_path: 65000 65002"))
        })?;
        wait_until("BIRD to have ours", SOON, || Ok(has(&bird, "10.72.0.0/16", "BGP.as_path: 65000")))?;
        let route = frr.wait("show bgp ipv4 unicast 10.71.1.0/24", SOON, |route| {
            route["paths"][0]["aspath"]["string"] == "65000 65001"
        })?;
        assert_eq!(route["paths"][0]["community"]["string"], "65001:7", "{route}");
        line.west.ip("route replace default via 10.70.1.1")?;
        line.east.ip("route replace default via 10.70.2.1")?;
        wait_until("traffic over the learned routes", SOON, || passes(&line))?;
        // Who goes takes its routes along, and it is said why.
        frr.configure("router bgp 65002\n neighbor 10.70.2.1 shutdown message maintenance\n")?;
        wait_until("FRR to be down", SOON, || Ok(neighbor(&router, "10.70.2.2")?["state"] != "Established"))?;
        let why = neighbor(&router, "10.70.2.2")?["last_down"].to_string();
        assert!(why.contains("administrative shutdown") && why.contains("maintenance"), "{why}");
        wait_until("the route to be withdrawn", SOON, || Ok(!has(&bird, "10.71.2.0/24", "BGP.as_path")))
    });
}

#[test]
fn bgp_survives_the_death_of_the_routing_process() {
    test(|lab| {
        let line = Line::new(lab)?;
        let (_bird, _frr) = (line.bird()?, line.frr("")?);
        let router = line.router("")?;
        wait_state(&router, "10.70.1.2", "Established")?;
        wait_state(&router, "10.70.2.2", "Established")?;
        line.west.ip("route replace default via 10.70.1.1")?;
        line.east.ip("route replace default via 10.70.2.1")?;
        wait_until("traffic over the learned routes", SOON, || passes(&line))?;
        let mut ping = line.west.spawn("ping", ["-i", "0.02", "-w", "12", "-I", "10.71.1.1", "10.71.2.1"])?;
        ping.wait_for_output("bytes from", SOON)?;
        let before = router.pid(Child::Control)?;
        router.kill(Child::Control)?;
        router.wait_successor(Child::Control, before)?;
        wait_until("a routing process that answers", SOON, || Ok(neighbor(&router, "10.70.2.2").is_ok()))?;
        wait_state(&router, "10.70.1.2", "Established")?;
        wait_state(&router, "10.70.2.2", "Established")?;
        let out = ping.finish(SOON)?;
        assert!(out.contains(" 0% packet loss"), "{out}");
        assert!(passes(&line)?);
        Ok(())
    });
}

#[test]
fn bgp_limits_and_clears() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _frr = line.frr("")?;
        let router = line.router("")?;
        wait_state(&router, "10.70.2.2", "Established")?;
        let before = neighbor(&router, "10.70.2.2")?["stats"]["established"].clone();
        router.millrace(["clear", "bgp", "10.70.2.2", "soft", "in"])?;
        router.millrace(["clear", "bgp", "10.70.2.2", "soft", "out"])?;
        assert_eq!(neighbor(&router, "10.70.2.2")?["stats"]["established"], before);
        router.millrace(["clear", "bgp", "10.70.2.2"])?;
        wait_until("another session", SOON, || {
            let peer = neighbor(&router, "10.70.2.2")?;
            Ok(peer["state"] == "Established" && peer["stats"]["established"] != before)
        })
    });
}
