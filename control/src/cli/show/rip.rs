//! `millrace show rip …`

use clap::ValueEnum;

use super::{Json, either};
use crate::cli::client::Client;
use crate::cli::exit::Error;
use crate::cli::out::{Out, duration, number, plural, table};
use crate::protocols::rip::view::{Interface, Neighbor, Route, Summary};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum What {
    /// Routers that were heard
    Neighbors,
    /// RIP's own table: what neighbours say, and what is used of it
    Routes,
    /// Where RIP runs, and what it sends and receives there
    Interfaces,
}

pub(super) fn show(client: &Client, what: Option<What>, json: Json, out: &mut Out) -> Result<(), Error> {
    match what {
        None => either(client, "rip", json, out, summary),
        Some(What::Neighbors) => either(client, "rip/neighbors", json, out, neighbors),
        Some(What::Routes) => either(client, "rip/routes", json, out, routes),
        Some(What::Interfaces) => either(client, "rip/interfaces", json, out, interfaces),
    }
}

fn summary(view: Summary, out: &mut Out) -> Result<(), Error> {
    let (interfaces, neighbors) = (plural(view.interfaces, "interface"), plural(view.neighbors, "neighbor"));
    out.line(format_args!("RIP runs on {interfaces} and hears {neighbors}."))?;
    out.line(format_args!(
        "{}: {} learned, {} announced by this router itself.",
        plural(view.routes, "destination"),
        number(view.learned as u64),
        number(view.own as u64)
    ))?;
    if view.unsent != 0 {
        out.line(format_args!("! {} messages could not be sent", number(view.unsent)))?;
    }
    for (interface, problem) in &view.problems {
        out.line(format_args!("! {interface}: nothing is received: {problem}"))?;
    }
    Ok(())
}

fn neighbors(views: Vec<Neighbor>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("No router was heard.");
    }
    let rows = views.iter().map(|view| {
        vec![
            view.address.to_string(),
            view.interface.clone(),
            view.version.to_string(),
            duration(view.heard_seconds_ago),
            number(view.routes as u64),
            number(view.bad_packets),
            number(view.bad_routes),
            if view.bfd { "asked for" } else { "-" }.to_owned(),
        ]
    });
    let header =
        ["NEIGHBOR", "INTERFACE", "#VERSION", "#HEARD", "#ROUTES", "#BAD PACKETS", "#BAD ROUTES", "BFD"];
    out.line(table(&header, rows))
}

fn routes(views: Vec<Route>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("The table is empty.");
    }
    let rows = views.iter().map(|view| {
        let from = |path: &crate::protocols::rip::view::Path| {
            let mark = if path.in_use { '>' } else { ' ' };
            format!("{mark} {} {} metric {}", path.gateway, path.interface, path.metric)
        };
        let mut paths: Vec<String> = view.paths.iter().map(from).collect();
        paths.extend(view.origin.as_ref().map(|origin| format!("> {origin}")));
        let expires: Vec<String> = view.paths.iter().map(|path| duration(path.expires_in_seconds)).collect();
        vec![
            view.prefix.to_string(),
            if view.metric == 16 { "unreachable".to_owned() } else { view.metric.to_string() },
            view.tag.to_string(),
            paths.join("\n"),
            expires.join("\n"),
        ]
    });
    out.line(table(&["DESTINATION", "#METRIC", "#TAG", "  FROM", "#EXPIRES"], rows))
}

fn interfaces(views: Vec<Interface>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("RIP runs on no interface: none of its [[rip.interface]] is up with an address.");
    }
    let rows = views.iter().map(|view| {
        vec![
            view.name.clone(),
            view.cost.to_string(),
            number(view.neighbors as u64),
            view.next_update_in_seconds.map_or_else(|| "passive".to_owned(), |wait| format!("{wait} s")),
            number(view.requests_sent + view.updates_sent + view.triggered_sent + view.replies_sent),
            number(view.requests_received + view.responses_received),
            number(view.bad_packets.values().sum()),
            number(view.bad_routes.values().sum()),
        ]
    });
    let header = [
        "INTERFACE",
        "#COST",
        "#NEIGHBORS",
        "#NEXT UPDATE",
        "#SENT",
        "#RECEIVED",
        "#BAD PACKETS",
        "#BAD ROUTES",
    ];
    out.line(table(&header, rows))?;
    for view in &views {
        for (what, counts) in [("messages", &view.bad_packets), ("entries", &view.bad_routes)] {
            for (reason, count) in counts {
                out.line(format_args!("  {}: {} {what} ignored: {reason}", view.name, number(*count)))?;
            }
        }
        if let Some(problem) = &view.problem {
            out.line(format_args!("! {}: nothing is received: {problem}", view.name))?;
        }
    }
    Ok(())
}
