//! Links and addresses that change under a running router.

use std::time::Duration;

use anyhow::Result;
use millrace_lab::topology::Line;
use millrace_lab::{Node, Ping, Router, config, test, wait_until};

const SOON: Duration = Duration::from_secs(15);

fn answers(from: &Node, to: &str) -> Result<bool> {
    Ok(Ping::new(from, to).count(1).run()?.received == 1)
}

fn has_route(router: &Router, prefix: &str) -> Result<bool> {
    let routes = router.show("routes")?;
    let installed = |route: &serde_json::Value| route["prefix"] == prefix && route["installed"] == true;
    Ok(routes.as_array().is_some_and(|all| all.iter().any(installed)))
}

#[test]
fn down_takes_the_routes_and_up_brings_them_back() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        assert!(answers(&line.client, Line::SERVER)?);
        for _ in 0..2 {
            line.router.ip("link set wan down")?;
            wait_until("the route to go", SOON, || Ok(!has_route(&router, "10.0.2.0/24")?))?;
            let ping = Ping::new(&line.client, Line::SERVER).count(1).run()?;
            assert_eq!(ping.received, 0);
            line.router.ip("link set wan up")?;
            wait_until("a reply after the link is up", SOON, || answers(&line.client, Line::SERVER))?;
        }
        Ok(())
    });
}

#[test]
fn a_cut_cable_is_a_link_down() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        // The far end goes down: the router's end is up but without carrier.
        line.server.ip("link set eth0 down")?;
        wait_until("the route to go", SOON, || Ok(!has_route(&router, "10.0.2.0/24")?))?;
        line.server.ip("link set eth0 up")?;
        line.server.ip("route add default via 10.0.2.1")?;
        wait_until("a reply after the cable is in", SOON, || answers(&line.client, Line::SERVER))
    });
}

#[test]
fn an_interface_that_is_deleted_and_made_again_goes_back_into_service() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        assert!(answers(&line.client, Line::SERVER)?);
        line.router.ip("link delete wan")?;
        wait_until("the route to go", SOON, || Ok(!has_route(&router, "10.0.2.0/24")?))?;
        assert!(!answers(&line.client, Line::SERVER)?);
        assert!(answers(&line.client, Line::LAN)?, "the other interface works");
        lab.link(line.router.end("wan", "10.0.2.1/24"), line.server.end("eth0", "10.0.2.2/24"))?;
        line.server.ip("route add default via 10.0.2.1")?;
        wait_until("a reply over the new link", SOON, || answers(&line.client, Line::SERVER))?;
        let before = router.count("xdp", "redirected")?;
        assert_eq!(Ping::new(&line.client, Line::SERVER).run()?.received, 3);
        wait_until("the workers to carry both ways", SOON, || {
            Ok(before + 6 <= router.count("xdp", "redirected")?)
        })?;
        assert_eq!(router.count("frames", "lost")?, 0);
        Ok(())
    });
}

#[test]
fn an_address_added_at_run_time_is_local_and_connected() {
    test(|lab| {
        let line = Line::new(lab)?;
        let router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        line.server.ip("address add 10.0.50.2/24 dev eth0")?;
        assert!(!answers(&line.client, "10.0.50.2")?);
        line.router.ip("address add 10.0.50.1/24 dev wan")?;
        wait_until("the connected route", SOON, || has_route(&router, "10.0.50.0/24"))?;
        wait_until("a reply of the new address", SOON, || answers(&line.client, "10.0.50.1"))?;
        wait_until("a reply from behind it", SOON, || answers(&line.client, "10.0.50.2"))?;
        line.router.ip("address delete 10.0.50.1/24 dev wan")?;
        wait_until("the route to go", SOON, || Ok(!has_route(&router, "10.0.50.0/24")?))?;
        wait_until("silence from behind it", SOON, || Ok(!answers(&line.client, "10.0.50.2")?))?;
        assert!(answers(&line.client, Line::SERVER)?, "the other addresses stay");
        Ok(())
    });
}

#[test]
fn addresses_of_the_configuration_are_given_to_the_kernel() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.router.ip("address delete 10.0.1.1/24 dev lan")?;
        line.router.ip("address delete 10.0.2.1/24 dev wan")?;
        let text = config(
            &["lan"],
            "addresses = [\"10.0.1.1/24\"]\n[[interface]]\nname = \"wan\"\naddresses = [\"10.0.2.1/24\"]\n",
        );
        let _router = Router::start(&line.router, &text)?;
        wait_until("a reply over configured addresses", SOON, || answers(&line.client, Line::SERVER))?;
        assert!(line.router.ip("address show dev lan")?.contains("10.0.1.1/24"));
        Ok(())
    });
}

#[test]
fn a_lower_mtu_is_followed_live() {
    test(|lab| {
        let line = Line::new(lab)?;
        let _router = Router::start(&line.router, &config(&["lan", "wan"], ""))?;
        let big = Ping::new(&line.client, Line::SERVER).size(1472).dont_fragment(true).count(1);
        assert_eq!(big.run()?.received, 1);
        line.router.ip("link set wan mtu 1300")?;
        wait_until("the new MTU to be told", SOON, || {
            Ok(big.run()?.errors.iter().any(|(_, words)| words == "Frag needed and DF set (mtu = 1300)"))
        })
    });
}
