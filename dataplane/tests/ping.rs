//! ICMP echo through a router and to a router.

use millrace_lab::topology::Line;
use millrace_lab::{Ping, Router, config, test};

#[test]
fn ping_goes_through_the_workers() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        let ping = Ping::new(&line.client, Line::SERVER).count(10).run()?;
        assert_eq!((ping.sent, ping.received), (10, 10));
        // Ten requests and ten replies, and it was not the kernel that forwarded them.
        assert!(20 <= router.count("xdp", "redirected")?, "{}", router.show("counters")?);
        Ok(())
    });
}

#[test]
fn ping_of_every_size_up_to_the_mtu() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        for size in [0, 1, 17, 18, 19, 56, 1471, 1472] {
            let ping = Ping::new(&line.client, Line::SERVER).size(size).dont_fragment(true).run()?;
            assert_eq!(ping.received, 3, "{size} bytes: {ping:?}");
        }
        Ok(())
    });
}

#[test]
fn the_router_answers_on_each_of_its_addresses() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        for address in [Line::LAN, Line::WAN] {
            let ping = Ping::new(&line.client, address).run()?;
            assert_eq!(ping.received, 3, "{address}: {ping:?}");
        }
        Ok(())
    });
}

#[test]
fn ping_reaches_the_first_hop_with_ttl_one_only() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        let expired = Ping::new(&line.client, Line::SERVER).ttl(1).run()?;
        let from = Line::LAN.parse()?;
        assert_eq!(expired.errors[0], (from, "Time to live exceeded".to_owned()), "{expired:?}");
        assert_eq!(Ping::new(&line.client, Line::SERVER).ttl(2).run()?.received, 3);
        Ok(())
    });
}
