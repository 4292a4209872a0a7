//! Tables that may have a million rows: printed page by page, a line a route, as other routers print them.

use std::fmt::Write as _;

use millrace_api::report;
use millrace_rib::Protocol;

use super::Destination;
use crate::cli::client::Client;
use crate::cli::exit::Error;
use crate::cli::out::{Out, duration};
use crate::runtime::handle::{NexthopView, PathView, RouteKind, RouteView};

/// Candidates asked for at once.
const PAGE: usize = 2000;

pub(super) fn routes(
    client: &Client,
    destination: Option<Destination>,
    longer: bool,
    protocol: Option<Protocol>,
    json: bool,
    out: &mut Out,
) -> Result<(), Error> {
    let mut query = match destination {
        None => String::new(),
        Some(Destination::Prefix(prefix)) if longer => format!("&within={prefix}"),
        Some(Destination::Prefix(prefix)) => format!("&prefix={prefix}"),
        Some(Destination::Address(address)) if longer => format!("&within={address}/32"),
        Some(Destination::Address(address)) => format!("&address={address}"),
    };
    if let Some(protocol) = protocol {
        let _ = write!(query, "&protocol={protocol}");
    }
    if json {
        return client.copy(&format!("/api/v1/routes?{}", query.trim_start_matches('&')), out);
    }
    let mut after = String::new();
    let mut header = Some(
        "C connected, L local, S static, O OSPF, R RIP, B BGP; > packets follow it, * in the forwarding table\n",
    );
    loop {
        let page: Vec<RouteView> = client.get(&format!("/api/v1/routes?limit={PAGE}{query}{after}"))?;
        if let (Some(header), false) = (header.take(), page.is_empty()) {
            out.line(header)?;
        } else if page.is_empty() && after.is_empty() {
            return out.line("No such route.");
        }
        page.iter().try_for_each(|view| route(view, out))?;
        match page.last() {
            Some(last) if PAGE <= page.len() => after = format!("&after={}", last.prefix),
            _ => return Ok(()),
        }
    }
}

/// One candidate: a line, another for each further next hop, one for what is wrong.
fn route(view: &RouteView, out: &mut Out) -> Result<(), Error> {
    let marks = [if view.selected { '>' } else { ' ' }, if view.installed { '*' } else { ' ' }];
    let prefix = view.prefix.to_string();
    let cost = format!("[{}/{}]", view.distance, view.metric);
    let age = duration(view.age_seconds);
    let nexthops: Vec<String> = match view.kind {
        RouteKind::Forward | RouteKind::Glean => view.nexthops.iter().map(nexthop).collect(),
        RouteKind::Local => vec!["this router".to_owned()],
        RouteKind::Blackhole => vec!["blackhole".to_owned()],
        RouteKind::Unreachable => vec!["unreachable".to_owned()],
        RouteKind::Prohibit => vec!["prohibit".to_owned()],
    };
    let first = nexthops.first().map_or("no next hop", String::as_str);
    let code = view.code;
    out.line(format!("{code} {}{} {prefix:<18} {cost:<9} {age:>12}  {first}", marks[0], marks[1]))?;
    for nexthop in nexthops.iter().skip(1) {
        out.line(format!("{:48}{nexthop}", ""))?;
    }
    match &view.problem {
        Some(problem) => out.line(format!("{:48}! {problem}", "")),
        None => Ok(()),
    }
}

fn nexthop(view: &NexthopView) -> String {
    let mut text = match (view.gateway, &view.interface) {
        (Some(gateway), Some(interface)) => format!("via {gateway}, {interface}"),
        (Some(gateway), None) => format!("via {gateway}"),
        (None, Some(interface)) => format!("on {interface}"),
        (None, None) => "nowhere".to_owned(),
    };
    if view.weight != 1 {
        let _ = write!(text, ", weight {}", view.weight);
    }
    if !view.active {
        text.push_str(", inactive");
    } else if view.interface.is_none() && !view.resolved.is_empty() {
        let paths: Vec<_> = view.resolved.iter().map(path).collect();
        let _ = write!(text, " through {}", paths.join(" and "));
    }
    text
}

/// A directly connected next hop.
pub(super) fn path(view: &PathView) -> String {
    let weight = if view.weight == 1 { String::new() } else { format!(" weight {}", view.weight) };
    match view.gateway {
        Some(gateway) => format!("{gateway} {}{weight}", view.interface),
        None => format!("{}{weight}", view.interface),
    }
}

pub(super) fn fib_routes(client: &Client, json: bool, out: &mut Out) -> Result<(), Error> {
    if json {
        return client.copy("/api/v1/fib/routes", out);
    }
    let mut after = String::new();
    out.line(format_args!("{:<18} NEXTHOP GROUP", "PREFIX"))?;
    loop {
        let page: Vec<report::FibRoute> = client.get(&format!("/api/v1/fib/routes?limit={PAGE}{after}"))?;
        for route in &page {
            out.line(format_args!("{:<18} {}", route.prefix.to_string(), route.nexthop))?;
        }
        match page.last() {
            Some(last) => after = format!("&after={}", last.prefix),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_in_words() {
        let via =
            |gateway: Option<&str>, interface: Option<&str>, weight, active, resolved: &[(&str, &str)]| {
                let path = |(interface, gateway): &(&str, &str)| PathView {
                    interface: (*interface).to_owned(),
                    gateway: Some(gateway.parse().unwrap()),
                    weight: 1,
                };
                nexthop(&NexthopView {
                    gateway: gateway.map(|gateway| gateway.parse().unwrap()),
                    interface: interface.map(str::to_owned),
                    weight,
                    active,
                    resolved: resolved.iter().map(path).collect(),
                })
            };
        assert_eq!(via(Some("192.0.2.1"), Some("eth0"), 1, true, &[]), "via 192.0.2.1, eth0");
        assert_eq!(via(Some("192.0.2.1"), Some("eth0"), 2, true, &[]), "via 192.0.2.1, eth0, weight 2");
        assert_eq!(via(None, Some("eth1"), 1, true, &[]), "on eth1");
        assert_eq!(via(Some("10.9.9.9"), None, 1, false, &[]), "via 10.9.9.9, inactive");
        assert_eq!(
            via(Some("10.9.9.9"), None, 1, true, &[("eth0", "192.0.2.1"), ("eth1", "192.0.2.5")]),
            "via 10.9.9.9 through 192.0.2.1 eth0 and 192.0.2.5 eth1"
        );
    }
}
