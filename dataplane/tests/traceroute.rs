//! A chain of three Millrace routers, each of which shows itself to traceroute.

use std::net::Ipv4Addr;

use anyhow::Result;
use millrace_lab::topology::Chain;
use millrace_lab::{Ping, Router, Traceroute, config, test};

#[test]
fn traceroute_shows_all_three_routers() {
    test(|lab| {
        let chain = Chain::new(lab)?;
        let start = |(node, routes)| Router::start(node, &config(&["west", "east"], &Chain::statics(routes)));
        let _routers = chain.routers.iter().zip(Chain::ROUTES).map(start).collect::<Result<Vec<_>>>()?;
        let hops = Chain::HOPS.iter().chain([&Chain::SERVER]);
        let expected: Vec<Option<Ipv4Addr>> = hops.map(|hop| hop.parse().ok()).collect();
        for probes in [[].as_slice(), &["-I"], &["-T"]] {
            let trace = Traceroute::run(&chain.client, Chain::SERVER, probes)?;
            assert_eq!(trace.hops, expected, "{probes:?}\n{}", trace.text);
        }
        assert_eq!(Ping::new(&chain.client, Chain::SERVER).ttl(4).run()?.received, 3);
        assert_eq!(Ping::new(&chain.client, Chain::SERVER).ttl(3).run()?.received, 0);
        Ok(())
    });
}
