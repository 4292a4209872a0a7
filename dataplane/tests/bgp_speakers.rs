//! BGP with speakers that are no routers: GoBGP and ExaBGP, to whom we are in the middle, and what each learns of the
//! other.

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::peers::{Exabgp, Gobgp, test_speakers};
use millrace_lab::{Lab, Node, Router, config, wait_until};
use serde_json::Value;

/// Daemons start, connect, and may have to try twice, on a machine that builds meanwhile.
const SOON: Duration = Duration::from_secs(60);

/// gobgp ── middle (Millrace) ── exabgp: AS 65002, 65000 and 65003.
struct Line {
    west: Node,
    middle: Node,
    east: Node,
}

impl Line {
    fn new(lab: &Lab) -> Result<Self> {
        let (west, middle, east) = (lab.node("west")?, lab.node("middle")?, lab.node("east")?);
        lab.link(west.end("eth0", "10.78.2.2/24"), middle.end("west", "10.78.2.1/24"))?;
        lab.link(east.end("eth0", "10.78.3.2/24"), middle.end("east", "10.78.3.1/24"))?;
        Ok(Self { west, middle, east })
    }

    fn gobgp(&self) -> Result<Gobgp> {
        let config = "[global.config]\nas = 65002\nrouter-id = \"10.78.2.2\"\n[[neighbors]]\n[neighbors.config]\n\
                      neighbor-address = \"10.78.2.1\"\npeer-as = 65000\n[neighbors.timers.config]\n\
                      connect-retry = 2\nhold-time = 9\n";
        Gobgp::start(&self.west, config)
    }

    fn exabgp(&self, routes: &str) -> Result<Exabgp> {
        let config = format!(
            "router-id 10.78.3.2; local-address 10.78.3.2; local-as 65003; peer-as 65000; hold-time 9;\n\
             static {{ {routes} }}\n"
        );
        Exabgp::start(&self.east, "10.78.3.1", &config)
    }

    fn router(&self) -> Result<Router> {
        let bgp = "[bgp]\nnetworks = [\"10.79.9.0/24\"]\n[[bgp.group]]\nname = \"ext\"\nimport = \"all\"\n\
                   export = \"all\"\nhold-time = 9\nconnect-retry = 2\n[[bgp.neighbor]]\naddress = \"10.78.2.2\"\n\
                   asn = 65002\ngroup = \"ext\"\n[[bgp.neighbor]]\naddress = \"10.78.3.2\"\nasn = 65003\n\
                   group = \"ext\"\n";
        let router = "[router]\nasn = 65000\nrouter-id = \"10.78.0.1\"\n";
        Router::start(&self.middle, &format!("{router}{}", config(&["west", "east"], bgp)))
    }
}

fn neighbor(router: &Router, address: &str) -> Result<Value> {
    let peers = router.show("bgp neighbors")?;
    let peers = peers.as_array().context("a list of neighbours")?;
    peers.iter().find(|peer| peer["address"] == address).cloned().context("the neighbour")
}

/// Whether ExaBGP was told of this prefix, by this path.
fn announces(heard: &Value, prefix: &str, path: &[u32]) -> bool {
    let update = &heard["neighbor"]["message"]["update"];
    let routes = update["announce"]["ipv4 unicast"]["10.78.3.1"].as_array();
    routes.is_some_and(|routes| routes.iter().any(|route| route["nlri"] == prefix))
        && update["attribute"]["as-path"] == serde_json::json!(path)
}

fn withdraws(heard: &Value, prefix: &str) -> bool {
    let routes = heard["neighbor"]["message"]["update"]["withdraw"]["ipv4 unicast"].as_array();
    routes.is_some_and(|routes| routes.iter().any(|route| route["nlri"] == prefix))
}

#[test]
fn bgp_between_gobgp_and_exabgp() {
    test_speakers(|lab| {
        let line = Line::new(lab)?;
        let gobgp = line.gobgp()?;
        let routes = "route 10.79.3.0/24 next-hop self med 30 community [ 65003:1 ] large-community [ 65003:2:3 ]; \
                      route 10.79.4.0/24 next-hop self community [ no-export ];";
        let mut exabgp = line.exabgp(routes)?;
        let router = line.router()?;
        for address in ["10.78.2.2", "10.78.3.2"] {
            wait_until(&format!("{address} to be established"), SOON, || {
                Ok(neighbor(&router, address)?["state"] == "Established")
            })?;
        }
        gobgp.gobgp("global rib add 10.79.2.0/24 community 65002:5")?;
        let heard =
            exabgp.wait("GoBGP's route", SOON, |heard| announces(heard, "10.79.2.0/24", &[65000, 65002]))?;
        let attributes = &heard["neighbor"]["message"]["update"]["attribute"];
        assert_eq!(attributes["community"], serde_json::json!([[65002, 5]]), "{attributes}");
        exabgp.wait("ours", SOON, |heard| announces(heard, "10.79.9.0/24", &[65000]))?;
        let rib = gobgp
            .wait("global rib", SOON, |rib| rib.contains("10.79.3.0/24") && rib.contains("10.79.9.0/24"))?;
        let route = rib.lines().find(|line| line.contains("10.79.3.0/24")).context("ExaBGP's route")?;
        // The MED is for us alone; communities go on.
        for (text, there) in [("65000 65003", true), ("65003:1", true), ("65003:2:3", true), ("Med", false)] {
            assert_eq!(route.contains(text), there, "{text}: {route}");
        }
        // RFC 1997: that one is not told to other ASes. Ours is in the same table and was told later.
        assert!(!rib.contains("10.79.4.0/24"), "{rib}");
        let ours = router.show("bgp routes 10.79.4.0/24")?;
        assert!(ours.to_string().contains("no-export"), "{ours}");
        gobgp.gobgp("global rib del 10.79.2.0/24")?;
        exabgp.wait("GoBGP's withdrawal", SOON, |heard| withdraws(heard, "10.79.2.0/24"))?;
        // Who is killed takes its routes along.
        drop(exabgp);
        gobgp
            .wait("global rib", SOON, |rib| !rib.contains("10.79.3.0/24") && rib.contains("10.79.9.0/24"))?;
        let peer = neighbor(&router, "10.78.3.2")?;
        assert_ne!(peer["state"], "Established", "{peer}");
        Ok(())
    });
}
