//! Equal-cost paths: flows spread by weight, one flow keeps to one path, and a lost path takes only its own flows.

use std::time::Duration;

use anyhow::Result;
use millrace_lab::topology::Diamond;
use millrace_lab::{Lab, Node, Ping, Router, config, test, wait_until};

const PORTS: [&str; 3] = ["lan", "upper", "lower"];

/// `flows` UDP flows of `each` datagrams, all from the client to the server.
fn send(client: &Node, flows: u32, each: u32) -> Result<()> {
    let script = format!(
        "for f in $(seq {flows}); do exec 3>/dev/udp/{}/$((20000 + f)); \
         for n in $(seq {each}); do echo >&3; done; done 2>/dev/null; true",
        Diamond::SERVER
    );
    client.run("bash", ["-c", &script]).map(drop)
}

/// Packets that have come from the router by each way.
fn carried(net: &Diamond) -> Result<(u64, u64)> {
    Ok((net.upper.packets("west")?.0, net.lower.packets("west")?.0))
}

/// What `flows` new flows of one datagram add to each way, once all have arrived.
fn spread(net: &Diamond, flows: u32, each: u32) -> Result<(u64, u64)> {
    let (upper, lower) = carried(net)?;
    send(&net.client, flows, each)?;
    let all = u64::from(flows * each);
    let mut added = (0, 0);
    wait_until("every datagram", Duration::from_secs(10), || {
        let (u, l) = carried(net)?;
        added = (u - upper, l - lower);
        Ok(all <= added.0 + added.1)
    })?;
    Ok(added)
}

fn start(lab: &Lab, via: &str) -> Result<(Diamond, Router)> {
    let net = Diamond::new(lab)?;
    let route = format!("[[static]]\nprefix = \"10.9.9.9/32\"\nvia = {via}\n");
    let router = Router::start(&net.router, &config(&PORTS, &route))?;
    // Both neighbours known, so that no datagram waits for one.
    wait_until("both ways to be open", Duration::from_secs(10), || {
        send(&net.client, 32, 1)?;
        let (upper, lower) = carried(&net)?;
        Ok(5 < upper && 5 < lower)
    })?;
    Ok((net, router))
}

#[test]
fn flows_spread_over_two_links() {
    test(|lab| {
        let (net, _router) = start(lab, r#"["10.0.11.2", "10.0.12.2"]"#)?;
        let (upper, lower) = spread(&net, 400, 1)?;
        // Four standard deviations are 40.
        assert!(upper.abs_diff(lower) < 80, "{upper} and {lower} of 400 flows");
        assert_eq!(Ping::new(&net.client, Diamond::SERVER).run()?.received, 3);
        Ok(())
    });
}

#[test]
fn weights_are_kept() {
    test(|lab| {
        let via = r#"[{ via = "10.0.11.2", weight = 3 }, { via = "10.0.12.2", weight = 1 }]"#;
        let (net, _router) = start(lab, via)?;
        let (upper, lower) = spread(&net, 400, 1)?;
        // 300 to 100, give or take five standard deviations.
        assert!((255..345).contains(&upper), "{upper} and {lower} of 400 flows");
        Ok(())
    });
}

#[test]
fn one_flow_keeps_to_one_path() {
    test(|lab| {
        let (net, _router) = start(lab, r#"["10.0.11.2", "10.0.12.2"]"#)?;
        for _ in 0..4 {
            let (upper, lower) = spread(&net, 1, 100)?;
            // An ARP request of the router may be among them.
            assert!(upper.min(lower) < 5, "{upper} and {lower} of one flow");
        }
        Ok(())
    });
}

#[test]
fn a_lost_path_gives_its_flows_to_the_other() {
    test(|lab| {
        let (net, _router) = start(lab, r#"["10.0.11.2", "10.0.12.2"]"#)?;
        net.router.ip("link set upper down")?;
        // The replies' way home was by upper, too.
        net.server.ip("route replace default via 10.0.22.1 src 10.9.9.9")?;
        wait_until("the route to have one path", Duration::from_secs(10), || {
            let (upper, lower) = carried(&net)?;
            send(&net.client, 50, 1)?;
            let now = carried(&net)?;
            Ok(now.0 == upper && lower + 50 <= now.1)
        })?;
        assert_eq!(Ping::new(&net.client, Diamond::SERVER).run()?.received, 3);
        net.router.ip("link set upper up")?;
        wait_until("both paths again", Duration::from_secs(10), || {
            let (upper, _) = carried(&net)?;
            send(&net.client, 50, 1)?;
            Ok(upper + 5 < carried(&net)?.0)
        })
    });
}
