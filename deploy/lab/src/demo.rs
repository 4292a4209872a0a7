//! `lab demo`: what a newcomer sees first. A chain of three routers, real tools through it, and at the end what
//! the first router says it has forwarded and dropped, and why.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace_lab::topology::{Chain, Home};
use millrace_lab::{Child, Iperf, Lab, Ping, Router, Traceroute, config, wait_until};

use crate::paint::{Ink, Screen};

const PICTURE: &str = "
            ┌──────────┐        ┌──────────┐        ┌──────────┐
 client ────┤ Millrace ├────────┤ Millrace ├────────┤ Millrace ├──── server
 10.0.1.2   │    r1    │        │    r2    │        │    r3    │     10.0.3.2
            └──────────┘        └──────────┘        └──────────┘
            10.0.1.1            10.0.12.2           10.0.23.3
";

const HOUSEHOLD: &str = "
 alice ────┐ ┌──────────┐
 10.0.1.2  ├─┤ Millrace ├───── server
 bob   ────┘ │   NAT    │      192.0.2.2
 10.0.2.2    └──────────┘
             192.0.2.1, and its own ssh and ping live there too
";

/// Bob's web server, as the world sees it.
const FORWARD: &str =
    "[[nat.forward]]\nprotocol = \"tcp\"\noutside = \"wan:8080\"\ninside = \"10.0.2.2:80\"\n";

/// Routes of r1 that lead nowhere, each in its own way.
const NOWHERE: &str = "\
[[static]]
prefix = \"10.66.0.0/16\"
kind = \"unreachable\"
[[static]]
prefix = \"10.99.0.0/16\"
kind = \"blackhole\"
";

struct Demo {
    screen: Screen,
    net: Chain,
    routers: Vec<Router>,
}

/// False when a step failed.
#[expect(clippy::disallowed_methods, reason = "the demo says how long it took")]
pub(crate) fn run(screen: Screen) -> Result<bool> {
    let start = Instant::now();
    screen.line("");
    screen.line(&screen.ink(Ink::Blue, PICTURE));
    screen.line(&screen.ink(
        Ink::Dim,
        "Five network namespaces on this machine, joined by veth pairs. Nothing else is touched.",
    ));

    let lab = Lab::new()?;
    let net = Chain::new(&lab)?;
    let mut demo = Demo { screen, net, routers: vec![] };
    screen.head("Start");
    demo.start().context("Millrace did not start").inspect_err(|_| screen.block(&lab.logs()))?;

    type Step = fn(&mut Demo) -> Result<String>;
    let steps: [(&str, Step); 8] = [
        ("ping", Demo::ping),
        ("traceroute", Demo::traceroute),
        ("iperf3, TCP each way", Demo::tcp),
        ("an unreachable destination", Demo::unreachable),
        ("a blackhole", Demo::blackhole),
        ("kill -9 of control, under traffic", Demo::kill_control),
        ("forwarded and dropped, and why", Demo::books),
        ("a household behind one address", Demo::household),
    ];
    let mut summary = Vec::new();
    for (title, step) in steps {
        screen.head(title);
        let result = step(&mut demo).map_err(|error| format!("{error:#}"));
        screen.verdict(&result);
        summary.push((title, result));
    }
    let failed = summary.iter().filter(|(_, result)| result.is_err()).count();
    if failed != 0 {
        screen.head("Logs");
        screen.block(&lab.logs());
    }
    let packets = demo.forwarded().map(thousands);
    drop(demo);
    drop(lab);

    screen.head("That was Millrace");
    for (title, result) in &summary {
        let (Ok(said) | Err(said)) = result;
        let line = format!("{title:<32} {said}");
        screen.verdict(&result.as_ref().map(|_| line.clone()).map_err(|_| line));
    }
    let took = start.elapsed().as_secs_f64();
    screen.line("");
    screen.line(&match packets {
        Some(packets) if failed == 0 => format!(
            "  {packets} packets went through XDP and AF_XDP in {took:.0} s. The lab is gone without a trace."
        ),
        _ => format!("  {failed} of {} steps failed. The lab is gone.", summary.len()),
    });
    screen.line(
        &screen.ink(Ink::Dim, "  Next: `make lab` for one to play with; README.md for your own machine."),
    );
    Ok(failed == 0)
}

/// 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl Demo {
    #[expect(clippy::disallowed_methods, reason = "the demo says how long it took")]
    fn start(&mut self) -> Result<()> {
        let start = Instant::now();
        for (index, (node, routes)) in self.net.routers.iter().zip(Chain::ROUTES).enumerate() {
            let extra = if index == 0 { NOWHERE } else { "" };
            let text = config(&["west", "east"], &(Chain::statics(routes) + extra));
            self.routers.push(Router::launch(node, &text)?);
        }
        for router in &mut self.routers {
            router.wait_ready()?;
        }
        let took = start.elapsed().as_secs_f64();
        self.screen
            .good(&format!("three routers up, in service and with all their routes after {took:.1} s"));
        Ok(())
    }

    fn ping(&mut self) -> Result<String> {
        self.prompt("client", &format!("ping -c 5 {}", Chain::SERVER));
        // The first ones teach every router its neighbours.
        let ping = Ping::new(&self.net.client, Chain::SERVER).count(5).interval(Duration::from_millis(100));
        ping.run()?;
        let mut process = ping.spawn()?;
        let result = ping.finish(&mut process)?;
        self.screen.block(&process.out());
        ensure!(result.lost() == 0, "{} of {} were lost", result.lost(), result.sent);
        Ok(format!(
            "{} of {} answered, {:.2} ms through three routers and back",
            result.received,
            result.sent,
            result.rtt_ms.unwrap_or(0.0)
        ))
    }

    fn traceroute(&mut self) -> Result<String> {
        self.prompt("client", &format!("traceroute {}", Chain::SERVER));
        let trace = Traceroute::run(&self.net.client, Chain::SERVER, &[])?;
        self.screen.block(&trace.text);
        let expected: Vec<_> =
            Chain::HOPS.iter().chain([&Chain::SERVER]).map(|hop| hop.parse().ok()).collect();
        ensure!(trace.hops == expected, "expected {} and the server", Chain::HOPS.join(", "));
        Ok("every router shows itself, by the address the packet came in on".to_owned())
    }

    fn tcp(&mut self) -> Result<String> {
        let there = Iperf::new(&self.net.client, &self.net.server, Chain::SERVER).seconds(3);
        self.prompt("client", &format!("iperf3 -c {0}; iperf3 -R -c {0}", Chain::SERVER));
        let (up, down) = (there.run()?, there.reverse().run()?);
        for (way, result) in [("client → server", &up), ("server → client", &down)] {
            let rates: Vec<String> = result.seconds.iter().map(|rate| format!("{:.0}", rate / 1e6)).collect();
            self.screen.block(&format!("{way}   {} Mbit/s, second by second", rates.join("  ")));
        }
        Ok(format!(
            "{:.2} and {:.2} Gbit/s, with the offloads of veth as they are",
            up.mbits() / 1e3,
            down.mbits() / 1e3
        ))
    }

    fn unreachable(&mut self) -> Result<String> {
        self.prompt("client", "ping 10.66.0.1");
        let ping = Ping::new(&self.net.client, "10.66.0.1").run()?;
        let (from, words) = ping.errors.first().context("no answer came")?;
        self.screen.block(&format!("From {from}: {words}"));
        ensure!(*from == Chain::HOPS[0].parse::<std::net::Ipv4Addr>()?, "the answer is not from r1");
        ensure!(words == "Destination Host Unreachable", "not ICMP 3/1");
        Ok("r1 says so at once: ICMP type 3, code 1".to_owned())
    }

    fn blackhole(&mut self) -> Result<String> {
        self.prompt("client", "ping 10.99.0.1");
        let before = self.routers[0].count("drops", "blackhole")?;
        let ping = Ping::new(&self.net.client, "10.99.0.1").run()?;
        self.screen.block(&format!(
            "{} sent, {} answers, {} errors",
            ping.sent,
            ping.received,
            ping.errors.len()
        ));
        ensure!(ping.received == 0 && ping.errors.is_empty(), "a blackhole has answered");
        let counted = self.routers[0].count("drops", "blackhole")? - before;
        ensure!(counted == u64::from(ping.sent), "{counted} counted of {}", ping.sent);
        Ok(format!("silence on the wire, and {counted} in the counter `blackhole`"))
    }

    fn kill_control(&mut self) -> Result<String> {
        let stream = Ping::new(&self.net.client, Chain::SERVER)
            .count(1000)
            .interval(Duration::from_millis(2))
            .arg("-q");
        let mut traffic = stream.spawn()?;
        self.prompt("r1", "pkill -9 millrace-control");
        let r1 = &mut self.routers[0];
        let dead = r1.kill(Child::Control)?;
        let alive = r1.wait_successor(Child::Control, dead)?;
        r1.wait_ready()?;
        let result = stream.finish(&mut traffic)?;
        self.screen.block(&format!(
            "millrace-control {dead} killed; {alive} has taken over and found everything in place"
        ));
        ensure!(result.lost() == 0, "{} of {} packets were lost", result.lost(), result.sent);
        Ok(format!("{} pings at 500 a second meanwhile, none lost", result.sent))
    }

    fn books(&mut self) -> Result<String> {
        let r1 = &self.routers[0];
        for what in ["interfaces", "drops"] {
            self.prompt("r1", &format!("millrace show {what}"));
            self.screen.block(&r1.show_text(what)?);
        }
        wait_until("every frame to be accounted for", Duration::from_secs(5), || {
            Ok(r1.count("frames", "lost")? == 0)
        })?;
        Ok(format!("all {} frames of the UMEM are accounted for", r1.count("frames", "total")?))
    }

    /// Address translation, in a lab of its own.
    fn household(&mut self) -> Result<String> {
        let lab = Lab::new()?;
        let home = Home::new(&lab)?;
        self.screen.line(&self.screen.ink(Ink::Blue, HOUSEHOLD));
        let router = Router::start(&home.router, &Home::config("interface = \"wan\"", FORWARD))?;
        let listener = home.bob.within(|| Ok(TcpListener::bind("0.0.0.0:80")?))?;
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let Ok(peer) = stream.peer_addr() else { continue };
                let page = format!("Hello {}, this is bob.", peer.ip());
                let head = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n", page.len());
                // curl reads the answer; that its request is left unread resets nothing that matters.
                let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all((head + &page).as_bytes()));
            }
        });

        self.prompt("alice", &format!("iperf3 -c {0} & ping {0}", Home::SERVER));
        let traffic = Iperf::new(&home.alice, &home.server, Home::SERVER).seconds(2).start()?;
        let ping = Ping::new(&home.alice, Home::SERVER).run()?;
        wait_until("alice's connection", Duration::from_secs(5), || {
            Ok(router.show("nat sessions --protocol tcp")?.as_array().is_some_and(|list| !list.is_empty()))
        })?;
        self.prompt("router", "millrace show nat sessions");
        self.screen.block(&router.show_text("nat sessions")?);
        let result = traffic.finish()?;

        let url = format!("http://{}:8080/", Home::WAN);
        for node in [&home.server, &home.alice] {
            self.prompt(node.name(), &format!("curl {url}"));
            let said = node.run("curl", ["-sS", "--max-time", "5", &url])?;
            self.screen.block(&said);
            ensure!(said.ends_with("this is bob."), "the port forward does not lead to bob");
        }
        let host = Ping::new(&home.server, Home::WAN).run()?;
        ensure!(host.lost() == 0, "the router's own address does not answer pings");
        self.prompt("router", "millrace show nat pools");
        self.screen.block(&router.show_text("nat pools")?);
        ensure!(ping.lost() == 0, "{} of {} pings were lost", ping.lost(), ping.sent);
        Ok(format!(
            "{:.2} Gbit/s through one address, bob's port 8080 from both sides, and the router still answers for itself",
            result.mbits() / 1e3
        ))
    }

    /// What a person would type, and where.
    fn prompt(&self, node: &str, command: &str) {
        self.screen.line(&format!("  {} {command}", self.screen.ink(Ink::Blue, &format!("{node} $"))));
    }

    /// Packets all routers have sent.
    fn forwarded(&self) -> Option<u64> {
        let mut sum = 0;
        for router in &self.routers {
            let interfaces = router.show("interfaces").ok()?;
            sum += interfaces.as_array()?.iter().filter_map(|i| i["tx_packets"].as_u64()).sum::<u64>();
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_off() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }
}
