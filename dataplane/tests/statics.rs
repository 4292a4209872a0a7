//! Static routes beyond a plain gateway.

use std::time::Duration;

use millrace_lab::topology::{Diamond, Line};
use millrace_lab::{Ping, Router, config, test, wait_until};

const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_next_hop_may_be_reached_by_another_route() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.server.ip("address add 10.9.9.1/32 dev lo")?;
        let routes = r#"
[[static]]
prefix = "10.9.9.0/24"
via = ["10.8.8.8"]
[[static]]
prefix = "10.8.0.0/16"
via = ["10.7.7.7"]
[[static]]
prefix = "10.7.7.7/32"
via = ["10.0.2.2"]
"#;
        let router = Router::start(&line.router, &config(&["lan", "wan"], routes))?;
        assert_eq!(Ping::new(&line.client, "10.9.9.1").run()?.received, 3);
        // It goes with the route it stands on, and comes back with it.
        line.router.ip("link set wan down")?;
        wait_until("the recursive route to be out of the FIB", SOON, || {
            Ok(router.show("fib 10.9.9.1")?["answer"]["prefix"].is_null())
        })?;
        line.router.ip("link set wan up")?;
        wait_until("a reply after the link is up", SOON, || {
            Ok(Ping::new(&line.client, "10.9.9.1").count(1).run()?.received == 1)
        })
    });
}

#[test]
fn a_backup_with_a_higher_distance_takes_over() {
    test(|lab| {
        let net = Diamond::new(lab)?;
        let routes = r#"
[[static]]
prefix = "10.9.9.9/32"
via = ["10.0.11.2"]
[[static]]
prefix = "10.9.9.9/32"
via = ["10.0.12.2"]
distance = 200
"#;
        let _router = Router::start(&net.router, &config(&["lan", "upper", "lower"], routes))?;
        let ping = Ping::new(&net.client, Diamond::SERVER);
        assert_eq!(ping.run()?.received, 3);
        let by_lower = net.lower.packets("west")?.0;
        assert!(by_lower < 3, "{by_lower} packets by the backup");
        net.router.ip("link set upper down")?;
        net.server.ip("route replace default via 10.0.22.1 src 10.9.9.9")?;
        wait_until("a reply by the backup", SOON, || Ok(ping.clone().count(1).run()?.received == 1))?;
        assert!(by_lower < net.lower.packets("west")?.0);
        Ok(())
    });
}

#[test]
fn an_interface_as_next_hop_is_on_link() {
    test(|lab| {
        let line = Line::new(lab)?;
        line.server.ip("address add 10.5.5.5/32 dev eth0")?;
        let route = "[[static]]\nprefix = \"10.5.5.0/24\"\ninterface = \"wan\"\n";
        let _router = Router::start(&line.router, &config(&["lan", "wan"], route))?;
        assert_eq!(Ping::new(&line.client, "10.5.5.5").run()?.received, 3);
        Ok(())
    });
}
