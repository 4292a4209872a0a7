//! OSPF with FRR ospfd and BIRD 2 as neighbours: every kind of authentication on broadcast and point-to-point links, areas,
//! external routes, neighbours that die and come back.
//!
//! ```text
//!                               ┌─b0 broadcast────── eth0 ┐
//! client ──lan [router, ours] ──┤                         [peer 0: none]    10.9.0.1
//!                               ├─p0 point-to-point─ eth1 ┘
//!                               ├─b1, p1 ─────────── eth0, eth1 [peer 1: simple] 10.9.1.1
//!                               └─ …                            md5, sha256
//! ```

use std::time::Duration;

use anyhow::{Context, Result};
use millrace_lab::peers::{Bird, Frr, test, wait_gateways};
use millrace_lab::{Lab, Node, Ping, Router, config, wait_until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(40);

/// Name, settings of our interface, of FRR's, and BIRD's.
type Authentication = (&'static str, &'static str, Option<&'static str>, &'static str);

const NONE: Authentication = ("none", "", Some(""), "");
const SIMPLE: Authentication = (
    "simple",
    "authentication = \"simple\"\nkey-chain = \"simple\"\n",
    Some(" ip ospf authentication\n ip ospf authentication-key ospfkey\n"),
    "authentication simple; password \"ospfkey\";",
);
const MD5: Authentication = (
    "md5",
    "key-chain = \"md5\"\n",
    Some(" ip ospf authentication message-digest\n ip ospf message-digest-key 7 md5 ospfkey\n"),
    "authentication cryptographic; password \"ospfkey\" { id 7; algorithm keyed md5; };",
);
/// FRR 8.4 has no HMAC-SHA for OSPF.
const SHA: Authentication = (
    "sha256",
    "key-chain = \"sha256\"\n",
    None,
    "authentication cryptographic; password \"ospfkey\" { id 9; algorithm hmac sha256; };",
);

const KEY_CHAINS: &str = r#"
[[key-chain]]
name = "simple"
[[key-chain.key]]
id = 1
secret = "ospfkey"
[[key-chain]]
name = "md5"
[[key-chain.key]]
id = 7
secret = "ospfkey"
[[key-chain]]
name = "sha256"
[[key-chain.key]]
id = 9
algorithm = "hmac-sha256"
secret = "ospfkey"
"#;

struct Star {
    client: Node,
    router: Node,
    peers: Vec<Node>,
}

impl Star {
    fn new(lab: &Lab, peers: usize) -> Result<Self> {
        let (client, router) = (lab.node("client")?, lab.node("router")?);
        lab.link(client.end("eth0", "10.0.1.2/24"), router.end("lan", "10.0.1.1/24"))?;
        client.ip("route add default via 10.0.1.1")?;
        let mut star = Self { client, router, peers: Vec::new() };
        for n in 0..peers {
            let peer = lab.node(&format!("peer{n}"))?;
            for (kind, third, interface) in [("b", 10, "eth0"), ("p", 20, "eth1")] {
                let (ours, theirs) = (format!("10.0.{}.1/24", third + n), format!("10.0.{}.2/24", third + n));
                lab.link(star.router.end(&format!("{kind}{n}"), &ours), peer.end(interface, &theirs))?;
            }
            peer.ip(&format!("address add 10.9.{n}.1/32 dev lo"))?;
            peer.forwards()?;
            star.peers.push(peer);
        }
        Ok(star)
    }

    fn config(&self, authentications: &[Authentication]) -> String {
        let names: Vec<String> =
            (0..authentications.len()).flat_map(|n| [format!("b{n}"), format!("p{n}")]).collect();
        let mut interfaces = vec!["lan"];
        interfaces.extend(names.iter().map(String::as_str));
        let mut rest = format!("{KEY_CHAINS}[ospf]\nrouter-id = \"10.255.0.1\"\n");
        rest += "[[ospf.interface]]\nname = \"lan\"\narea = 0\npassive = true\n";
        for (n, (_, ours, ..)) in authentications.iter().enumerate() {
            for (kind, network) in [("b", "broadcast"), ("p", "point-to-point")] {
                rest += &format!(
                    "[[ospf.interface]]\nname = \"{kind}{n}\"\narea = 0\nnetwork = \"{network}\"\n\
                     hello-interval = 1\ndead-interval = 4\n{ours}"
                );
            }
        }
        config(&interfaces, &rest)
    }

    /// Every neighbour is Full, both ways lead to each peer's own address, and packets go through.
    fn check(&self, router: &Router, authentications: &[Authentication]) -> Result<()> {
        let wanted = 2 * authentications.len();
        wait_full(router, wanted)?;
        for (n, (name, ..)) in authentications.iter().enumerate() {
            let (host, broadcast, point) =
                (format!("10.9.{n}.1"), format!("10.0.{}.2", 10 + n), format!("10.0.{}.2", 20 + n));
            wait_routes(router, &format!("{host}/32"), &[&broadcast, &point]).context(*name)?;
            wait_gateways(
                &self.peers[n],
                "10.0.1.0/24",
                &[&format!("10.0.{}.1", 10 + n), &format!("10.0.{}.1", 20 + n)],
                SOON,
            )
            .context(*name)?;
            assert_eq!(Ping::new(&self.client, &host).count(3).run()?.received, 3, "{name}");
        }
        let bad: f64 = router
            .get("/metrics")?
            .lines()
            .filter(|line| line.starts_with("millrace_ospf_bad_packets_total"))
            .filter(|line| !line.contains("unknown-neighbor"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        assert_eq!(bad, 0.0, "{}", router.show_text("ospf interfaces")?);
        Ok(())
    }
}

fn wait_full(router: &Router, wanted: usize) -> Result<()> {
    let mut last = Value::Null;
    let waited = wait_until(&format!("{wanted} full neighbours"), SOON, || {
        last = router.show("ospf neighbors")?;
        let full = last.as_array().into_iter().flatten().filter(|neighbor| neighbor["state"] == "full");
        Ok(full.count() == wanted)
    });
    waited.with_context(|| format!("{last:#}\n{}", router.log()))
}

/// Waits until OSPF leads to the prefix by exactly these gateways; by none: until it does not know it.
fn wait_routes(router: &Router, prefix: &str, via: &[&str]) -> Result<()> {
    let mut last = Value::Null;
    let waited = wait_until(&format!("OSPF to lead to {prefix} by {via:?}"), SOON, || {
        last = router.show("ospf routes")?;
        let route = last.as_array().into_iter().flatten().find(|route| route["prefix"] == prefix);
        let hops = route.and_then(|route| route["next_hops"].as_array()).into_iter().flatten();
        let mut gateways: Vec<&str> = hops.filter_map(|hop| hop["gateway"].as_str()).collect();
        gateways.sort_unstable();
        Ok(gateways == via)
    });
    waited.with_context(|| format!("{last:#}"))
}

fn route(router: &Router, prefix: &str) -> Result<Value> {
    let routes = router.show("ospf routes")?;
    let found = routes.as_array().into_iter().flatten().find(|route| route["prefix"] == prefix);
    found.cloned().with_context(|| format!("no route to {prefix} in {routes:#}"))
}

fn frr(n: usize, authentication: &str) -> String {
    let link = |interface: &str, more: &str| {
        format!(
            "interface {interface}\n ip ospf area 0\n ip ospf hello-interval 1\n ip ospf dead-interval 4\n{authentication}{more}exit\n"
        )
    };
    link("eth0", "")
        + &link("eth1", " ip ospf network point-to-point\n")
        + &format!("interface lo\n ip ospf area 0\nexit\nrouter ospf\n ospf router-id 10.255.1.{n}\nexit\n")
}

fn bird(n: usize, authentication: &str) -> String {
    format!(
        "router id 10.255.2.{n};\nprotocol ospf v2 {{ ipv4 {{ import all; export none; }}; ecmp yes; area 0 {{ stubnet 10.9.{n}.1/32;\n\
         interface \"eth0\" {{ type bcast; hello 1; dead 4; wait 4; {authentication} }};\n\
         interface \"eth1\" {{ type ptp; hello 1; dead 4; {authentication} }}; }}; }}\n"
    )
}

#[test]
fn ospf_with_bird_under_every_authentication() {
    test(|lab| {
        let authentications = [NONE, SIMPLE, MD5, SHA];
        let star = Star::new(lab, authentications.len())?;
        let started = authentications
            .iter()
            .enumerate()
            .map(|(n, (_, _, _, bird_has))| Bird::start(&star.peers[n], &bird(n, bird_has)));
        let _birds = started.collect::<Result<Vec<_>>>()?;
        let router = Router::start(&star.router, &star.config(&authentications))?;
        star.check(&router, &authentications)
    });
}

#[test]
fn ospf_with_frr_under_every_authentication() {
    test(|lab| {
        let authentications = [NONE, SIMPLE, MD5];
        let star = Star::new(lab, authentications.len())?;
        let started = authentications.iter().enumerate().map(|(n, (_, _, frr_has, _))| {
            Frr::start(&star.peers[n], &["ospfd"], &frr(n, frr_has.unwrap_or_default()))
        });
        let _frrs = started.collect::<Result<Vec<_>>>()?;
        let router = Router::start(&star.router, &star.config(&authentications))?;
        star.check(&router, &authentications)
    });
}

/// Ours is the border router between FRR in the backbone and BIRD in a stub area or an NSSA: networks of one area are told to
/// the other, external routes of both types and tags pass or not as the kind of area wants it. BIRD is killed and comes back.
#[test]
fn ospf_between_areas_of_frr_and_bird() {
    test(|lab| {
        let (client, router) = (lab.node("client")?, lab.node("router")?);
        let (frr_node, bird_node) = (lab.node("frr")?, lab.node("bird")?);
        lab.link(client.end("eth0", "10.0.1.2/24"), frr_node.end("lan", "10.0.1.1/24"))?;
        lab.link(frr_node.end("eth0", "10.0.12.1/24"), router.end("west", "10.0.12.2/24"))?;
        lab.link(router.end("east", "10.0.23.2/24"), bird_node.end("eth0", "10.0.23.3/24"))?;
        client.ip("route add default via 10.0.1.1")?;
        bird_node.ip("address add 10.9.3.1/32 dev lo")?;
        for node in [&frr_node, &bird_node] {
            node.forwards()?;
        }
        let frr = "ip route 198.51.100.0/24 blackhole\nip route 198.51.101.0/24 blackhole\n\
            ip prefix-list one permit 198.51.100.0/24\n\
            route-map out permit 10\n match ip address prefix-list one\n set metric-type type-1\n set metric 7\n set tag 11\nexit\n\
            route-map out permit 20\n set metric-type type-2\n set metric 9\n set tag 12\nexit\n\
            interface eth0\n ip ospf area 0\n ip ospf hello-interval 1\n ip ospf dead-interval 4\nexit\n\
            interface lan\n ip ospf area 0\n ip ospf passive\nexit\n\
            router ospf\n ospf router-id 10.255.0.1\n redistribute static route-map out\nexit\n";
        let _frr = Frr::start(&frr_node, &["ospfd"], frr)?;
        let bird = "router id 10.255.0.3;\nprotocol static { ipv4; route 203.0.113.0/24 blackhole; }\n\
            protocol ospf v2 { ipv4 { import all; export filter { if source != RTS_STATIC then reject; ospf_metric2 = 33; ospf_tag = 77; accept; }; };\n\
            area 1 { nssa; summary; stubnet 10.9.3.1/32; interface \"eth0\" { hello 1; dead 4; wait 4; }; }; }\n";
        let bird_daemon = Bird::start(&bird_node, bird)?;
        let rest = "[ospf]\nrouter-id = \"10.255.0.2\"\n[[ospf.area]]\nid = 1\ntype = \"nssa\"\n\
            [[ospf.interface]]\nname = \"west\"\narea = 0\nhello-interval = 1\ndead-interval = 4\n\
            [[ospf.interface]]\nname = \"east\"\narea = 1\nhello-interval = 1\ndead-interval = 4\n\
            [[ospf.redistribute]]\nprotocol = \"static\"\nmetric = 5\nmetric-type = \"e1\"\ntag = 99\n\
            [[static]]\nprefix = \"192.0.2.0/24\"\nkind = \"blackhole\"\n";
        let ours = Router::start(&router, &config(&["west", "east"], rest))?;
        wait_full(&ours, 2)?;
        wait_routes(&ours, "198.51.100.0/24", &["10.0.12.1"])?;
        wait_routes(&ours, "198.51.101.0/24", &["10.0.12.1"])?;
        wait_routes(&ours, "203.0.113.0/24", &["10.0.23.3"])?;
        let of_frr = route(&ours, "198.51.100.0/24")?;
        assert_eq!(
            (&of_frr["kind"], &of_frr["cost"], &of_frr["tag"]),
            (&"external1".into(), &17.into(), &11.into())
        );
        let of_frr = route(&ours, "198.51.101.0/24")?;
        assert_eq!(
            (&of_frr["kind"], &of_frr["type_2_cost"], &of_frr["tag"]),
            (&"external2".into(), &9.into(), &12.into())
        );
        let of_bird = route(&ours, "203.0.113.0/24")?;
        assert_eq!((&of_bird["type_2_cost"], &of_bird["tag"]), (&33.into(), &77.into()));
        // FRR is told of area 1, of ours, and of BIRD's external route, which ours translates.
        for prefix in ["10.9.3.1/32", "10.0.23.0/24", "192.0.2.0/24", "203.0.113.0/24"] {
            wait_gateways(&frr_node, prefix, &["10.0.12.2"], SOON).context(prefix)?;
        }
        // BIRD is told of area 0 and of a default, and not of FRR's external routes.
        for prefix in ["10.0.1.0/24", "default"] {
            wait_gateways(&bird_node, prefix, &["10.0.23.2"], SOON).context(prefix)?;
        }
        wait_gateways(&bird_node, "198.51.100.0/24", &[], SOON)?;
        assert_eq!(Ping::new(&client, "10.9.3.1").count(3).run()?.received, 3);
        let database = ours.show("ospf database nssa-external")?;
        assert!(database.as_array().is_some_and(|lsas| 2 <= lsas.len()), "{database:#}");

        bird_daemon.kill();
        wait_full(&ours, 1)?;
        wait_gateways(&frr_node, "10.9.3.1/32", &[], SOON)?;
        let _bird = Bird::start(&bird_node, bird)?;
        wait_full(&ours, 2)?;
        wait_gateways(&frr_node, "10.9.3.1/32", &["10.0.12.2"], SOON)?;
        assert_eq!(Ping::new(&client, "10.9.3.1").count(3).run()?.received, 3);
        Ok(())
    });
}
