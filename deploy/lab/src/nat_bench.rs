//! Address translation against the kernel's: UDP datagrams of many flows from a host inside to a server, through Millrace
//! or through nftables' masquerade, on the same veth pairs in one run.
//!
//! The sender is a socket of the kernel's stack on the same processors, so the figures are of the whole, not of the
//! translation alone: what counts is one against the other.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::topology::Home;
use crate::{Lab, Ping, Router};

/// Who translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translator {
    Millrace,
    Nftables,
}

/// Numbers of flows that are measured; a flow is a destination port.
pub const FLOWS: [u16; 4] = [1, 1000, 10_000, 50_000];

/// What arrived.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub flows: u16,
    /// Datagrams a second.
    pub sent: f64,
    pub arrived: f64,
}

/// The table that `nft` is given.
const MASQUERADE: &str = "table ip nat {\n chain post {\n  type nat hook postrouting priority 100;\n  oifname \"wan\" masquerade\n }\n}\n";
/// The server takes no part: what arrives is counted by its interface and goes no further.
const SINK: &str = "table ip sink {\n chain in {\n  type filter hook prerouting priority -300;\n  udp dport 1024-65535 drop\n }\n}\n";
/// Of which Ethernet, IPv4 and UDP headers are 42.
const PAYLOAD: [u8; 18] = [0; 18];

/// Datagrams for so long through one translator.
pub fn run(lab: &Lab, by: Translator, flows: u16, length: Duration) -> Result<Rate> {
    let home = Home::new(lab)?;
    let _router = match by {
        Translator::Millrace => Some(Router::start(&home.router, &Home::config("interface = \"wan\"", ""))?),
        Translator::Nftables => {
            home.router.forwards()?;
            rules(&home.router, MASQUERADE)?;
            None
        }
    };
    Ping::new(&home.alice, Home::SERVER).run()?;
    rules(&home.server, SINK)?;
    let socket = home.alice.within(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    // Every flow once, so that what is measured is not their making.
    send(&socket, flows, Duration::ZERO)?;
    let (before, _) = home.server.packets("eth0")?;
    let (sent, took) = send(&socket, flows, length)?;
    let (after, _) = home.server.packets("eth0")?;
    let arrived = (after - before) as f64 / took.as_secs_f64();
    Ok(Rate { flows, sent: sent as f64 / took.as_secs_f64(), arrived })
}

fn rules(node: &crate::Node, text: &str) -> Result<()> {
    let file = node.dir().join("rules.nft");
    std::fs::write(&file, text)?;
    node.run("nft", ["-f".as_ref(), file.as_os_str()]).map(|_| ())
}

/// Rounds over all flows until the time is over, one at least; datagrams sent, and how long it took.
#[expect(clippy::disallowed_methods, reason = "a rate takes a clock")]
fn send(socket: &UdpSocket, flows: u16, length: Duration) -> Result<(u64, Duration)> {
    let server = Home::SERVER.parse().context("an address")?;
    let start = Instant::now();
    let mut sent = 0;
    loop {
        for port in (1024..).take(flows.into()) {
            // A full queue is no error here: what arrives is what counts.
            sent += u64::from(socket.send_to(&PAYLOAD, SocketAddr::new(server, port)).is_ok());
        }
        if length <= start.elapsed() {
            return Ok((sent, start.elapsed()));
        }
    }
}

/// `bench/results/nat.md`.
pub fn markdown(millrace: &[Rate], nftables: &[Rate]) -> String {
    let mut out = String::from(
        "# Address translation beside nftables\n\n\
         UDP datagrams of 60 bytes from one host inside, over veth, to a server that drops them; a flow is a destination port. Sender,\n\
         router and server share the machine's processors, so the sender bounds the figures: compare the columns with each other.\n\
         `lab nat` makes this file, Millrace and nftables in turn in one run.\n\n\
         | flows | Millrace, Mpps arrived (sent) | nftables masquerade, Mpps arrived (sent) | ratio |\n|---|---|---|---|\n",
    );
    for (ours, theirs) in millrace.iter().zip(nftables) {
        let ratio = ours.arrived / theirs.arrived.max(1.0);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {:.3} ({:.3}) | {:.3} ({:.3}) | {ratio:.2} |",
            ours.flows,
            ours.arrived / 1e6,
            ours.sent / 1e6,
            theirs.arrived / 1e6,
            theirs.sent / 1e6,
        );
    }
    out
}
