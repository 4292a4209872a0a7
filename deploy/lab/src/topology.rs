//! The networks that demo and tests are made of. Hosts get a default route; routers get addresses and no routes.

use anyhow::Result;

use crate::{Lab, Node};

/// ```text
/// client .2 ──10.0.1.0/24── .1 lan [router] wan .1 ──10.0.2.0/24── .2 server
/// ```
#[derive(Debug)]
pub struct Line {
    pub client: Node,
    pub router: Node,
    pub server: Node,
}

impl Line {
    pub const CLIENT: &str = "10.0.1.2";
    pub const LAN: &str = "10.0.1.1";
    pub const WAN: &str = "10.0.2.1";
    pub const SERVER: &str = "10.0.2.2";

    pub fn new(lab: &Lab) -> Result<Self> {
        let line =
            Self { client: lab.node("client")?, router: lab.node("router")?, server: lab.node("server")? };
        lab.link(line.client.end("eth0", "10.0.1.2/24"), line.router.end("lan", "10.0.1.1/24"))?;
        lab.link(line.router.end("wan", "10.0.2.1/24"), line.server.end("eth0", "10.0.2.2/24"))?;
        line.client.ip("route add default via 10.0.1.1")?;
        line.server.ip("route add default via 10.0.2.1")?;
        Ok(line)
    }
}

/// A router that translates. The server knows nothing of the networks inside: what reaches it untranslated gets no answer.
///
/// ```text
/// alice .2 ──10.0.1.0/24── .1 lan1 ┐
///                                  ├ [router] wan .1 ──192.0.2.0/24── .2 server
/// bob   .2 ──10.0.2.0/24── .1 lan2 ┘
/// ```
#[derive(Debug)]
pub struct Home {
    pub alice: Node,
    pub bob: Node,
    pub router: Node,
    pub server: Node,
}

impl Home {
    pub const ALICE: &str = "10.0.1.2";
    pub const BOB: &str = "10.0.2.2";
    pub const WAN: &str = "192.0.2.1";
    pub const SERVER: &str = "192.0.2.2";

    pub fn new(lab: &Lab) -> Result<Self> {
        let home = Self {
            alice: lab.node("alice")?,
            bob: lab.node("bob")?,
            router: lab.node("router")?,
            server: lab.node("server")?,
        };
        lab.link(home.alice.end("eth0", "10.0.1.2/24"), home.router.end("lan1", "10.0.1.1/24"))?;
        lab.link(home.bob.end("eth0", "10.0.2.2/24"), home.router.end("lan2", "10.0.2.1/24"))?;
        lab.link(home.router.end("wan", "192.0.2.1/24"), home.server.end("eth0", "192.0.2.2/24"))?;
        home.alice.ip("route add default via 10.0.1.1")?;
        home.bob.ip("route add default via 10.0.2.1")?;
        Ok(home)
    }

    /// A configuration whose pool has these keys; `rest` follows the pool and the rule.
    pub fn config(pool: &str, rest: &str) -> String {
        let roles = "[[interface]]\nname = \"lan1\"\nnat = \"inside\"\n\
                     [[interface]]\nname = \"lan2\"\nnat = \"inside\"\n\
                     [[interface]]\nname = \"wan\"\nnat = \"outside\"\n";
        let nat = format!(
            "[nat]\n[[nat.pool]]\nname = \"wan\"\n{pool}\n[[nat.source]]\nfrom = \"10.0.0.0/8\"\npool = \"wan\"\n"
        );
        crate::config(&[], &format!("{roles}{nat}{rest}"))
    }
}

/// ```text
/// client .2 ──10.0.1.0/24── .1 west [r1] east .1 ──10.0.12.0/24── .2 west [r2] east .2 ──10.0.23.0/24── .3 west [r3] east .1 ──10.0.3.0/24── .2 server
/// ```
#[derive(Debug)]
pub struct Chain {
    pub client: Node,
    pub routers: [Node; 3],
    pub server: Node,
}

impl Chain {
    pub const CLIENT: &str = "10.0.1.2";
    pub const SERVER: &str = "10.0.3.2";
    /// The addresses a traceroute from the client shows.
    pub const HOPS: [&str; 3] = ["10.0.1.1", "10.0.12.2", "10.0.23.3"];
    /// `(prefix, via)` of the static routes each router needs.
    pub const ROUTES: [&[(&str, &str)]; 3] = [
        &[("10.0.3.0/24", "10.0.12.2"), ("10.0.23.0/24", "10.0.12.2")],
        &[("10.0.1.0/24", "10.0.12.1"), ("10.0.3.0/24", "10.0.23.3")],
        &[("10.0.1.0/24", "10.0.23.2"), ("10.0.12.0/24", "10.0.23.2")],
    ];

    pub fn new(lab: &Lab) -> Result<Self> {
        let routers = [lab.node("r1")?, lab.node("r2")?, lab.node("r3")?];
        let chain = Self { client: lab.node("client")?, routers, server: lab.node("server")? };
        let [r1, r2, r3] = &chain.routers;
        lab.link(chain.client.end("eth0", "10.0.1.2/24"), r1.end("west", "10.0.1.1/24"))?;
        lab.link(r1.end("east", "10.0.12.1/24"), r2.end("west", "10.0.12.2/24"))?;
        lab.link(r2.end("east", "10.0.23.2/24"), r3.end("west", "10.0.23.3/24"))?;
        lab.link(r3.end("east", "10.0.3.1/24"), chain.server.end("eth0", "10.0.3.2/24"))?;
        chain.client.ip("route add default via 10.0.1.1")?;
        chain.server.ip("route add default via 10.0.3.1")?;
        Ok(chain)
    }

    /// Static routes as configuration text.
    pub fn statics(routes: &[(&str, &str)]) -> String {
        let one =
            |(prefix, via): &(&str, &str)| format!("[[static]]\nprefix = \"{prefix}\"\nvia = [\"{via}\"]\n");
        routes.iter().map(one).collect()
    }
}

/// Two ways of the same length; `upper` and `lower` are plain Linux routers.
/// ```text
///                                       ┌─10.0.11.0/24── .2 [upper] .1 ──10.0.21.0/24── .2 eth1 ┐
/// client .2 ──10.0.1.0/24── .1 lan [router]                                                  [server] 10.9.9.9
///                                       └─10.0.12.0/24── .2 [lower] .1 ──10.0.22.0/24── .2 eth2 ┘
/// ```
#[derive(Debug)]
pub struct Diamond {
    pub client: Node,
    pub router: Node,
    pub upper: Node,
    pub lower: Node,
    pub server: Node,
}

impl Diamond {
    pub const SERVER: &str = "10.9.9.9";
    pub const UPPER: &str = "10.0.11.2";
    pub const LOWER: &str = "10.0.12.2";

    pub fn new(lab: &Lab) -> Result<Self> {
        let diamond = Self {
            client: lab.node("client")?,
            router: lab.node("router")?,
            upper: lab.node("upper")?,
            lower: lab.node("lower")?,
            server: lab.node("server")?,
        };
        let Self { client, router, upper, lower, server } = &diamond;
        lab.link(client.end("eth0", "10.0.1.2/24"), router.end("lan", "10.0.1.1/24"))?;
        lab.link(router.end("upper", "10.0.11.1/24"), upper.end("west", "10.0.11.2/24"))?;
        lab.link(router.end("lower", "10.0.12.1/24"), lower.end("west", "10.0.12.2/24"))?;
        lab.link(upper.end("east", "10.0.21.1/24"), server.end("eth1", "10.0.21.2/24"))?;
        lab.link(lower.end("east", "10.0.22.1/24"), server.end("eth2", "10.0.22.2/24"))?;
        client.ip("route add default via 10.0.1.1")?;
        server.ip("address add 10.9.9.9/32 dev lo")?;
        server.ip("route add default via 10.0.21.1 src 10.9.9.9")?;
        for (node, west, east) in [(upper, "10.0.11.1", "10.0.21.2"), (lower, "10.0.12.1", "10.0.22.2")] {
            node.forwards()?;
            node.ip(&format!("route add 10.0.1.0/24 via {west}"))?;
            node.ip(&format!("route add 10.9.9.9/32 via {east}"))?;
        }
        Ok(diamond)
    }
}
