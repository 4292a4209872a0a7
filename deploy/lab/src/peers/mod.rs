//! Other people's routers: real daemons in a node, with a configuration of the test's and files of their own.
//!
//! ```text
//! Frr     zebra, staticd and what else is named   vtysh, with JSON where FRR has it
//! Bird    bird                                    birdc
//! Gobgp   gobgpd, without the kernel's routes     gobgp
//! Exabgp  exabgp, which has no table              what it has heard, as JSON
//! ```
//! No system service is used or touched: sockets, pid files and logs are in the node's directory, the processes are
//! children of the test and end with their value, and with the lab on every other way out. What has no helper here is a
//! [`crate::Process`] like any other: `node.spawn(PROGRAM, ARGUMENTS)`.

mod bird;
mod exabgp;
mod frr;
mod gobgp;

use std::time::Duration;

use anyhow::Result;

use crate::{Lab, Node, wait_until};

pub use bird::Bird;
pub use exabgp::Exabgp;
pub use frr::Frr;
pub use gobgp::Gobgp;

/// What a daemon gets to start or to answer: it may share two processors with a build.
const READY: Duration = Duration::from_secs(20);

/// Programs and the Debian packages they are in.
const ROUTERS: [(&str, &str); 2] = [("vtysh", "frr"), ("birdc", "bird2")];
const SPEAKERS: [(&str, &str); 2] = [("gobgpd", "gobgpd"), ("exabgp", "exabgp")];

/// [`crate::test`] where FRR and BIRD are needed as well.
pub fn test(body: impl FnOnce(&Lab) -> Result<()>) {
    crate::rights::test_with(&ROUTERS, body);
}

/// [`crate::test`] where GoBGP and ExaBGP are needed as well.
pub fn test_speakers(body: impl FnOnce(&Lab) -> Result<()>) {
    crate::rights::test_with(&SPEAKERS, body);
}

/// The gateways of a prefix in the node's kernel, where both daemons put their routes; empty where there is none.
pub fn gateways(node: &Node, prefix: &str) -> Result<Vec<String>> {
    let routes = node.ip_json(&format!("route show {prefix}"))?;
    let route = &routes[0];
    let several = route["nexthops"].as_array().into_iter().flatten();
    Ok(std::iter::once(route)
        .chain(several)
        .filter_map(|hop| Some(hop["gateway"].as_str()?.to_owned()))
        .collect())
}

/// Waits until the node's kernel routes the prefix by exactly these gateways; by none: until it has no route.
pub fn wait_gateways(node: &Node, prefix: &str, via: &[&str], deadline: Duration) -> Result<()> {
    let what = format!("{} to route {prefix} via {via:?}", node.name());
    wait_until(&what, deadline, || {
        let mut gateways = gateways(node, prefix)?;
        gateways.sort();
        Ok(gateways == via)
    })
}
