//! Tables as text, for snapshots.

use std::fmt::Write as _;

use crate::network::Network;
use crate::router::Router;

/// One line a route: `r3  10.0.1.0/24  metric 4  via 10.0.2.1, 10.0.3.1`.
pub fn tables<R: Router>(network: &Network<R>) -> String {
    let mut text = String::new();
    for r in 0..network.topology().routers {
        let connected = network.connected(r);
        for (prefix, route) in network.routes(r).iter().filter(|(prefix, _)| !connected.contains(*prefix)) {
            let via: Vec<String> = route
                .next_hops
                .iter()
                .filter_map(|hop| hop.gateway)
                .map(|gateway| gateway.to_string())
                .collect();
            let _ = writeln!(text, "r{r}  {prefix}  metric {}  via {}", route.metric, via.join(", "));
        }
    }
    text
}
